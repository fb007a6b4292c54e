//! `docs/deployments.md` names every code with which a component, or a change of deployments, is refused.

use std::fs;

use roost_tests::sources::root;

/// The piece of a source file from one text to the next other one.
fn piece(file: &str, begin: &str, end: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    rest.split_once(end).unwrap_or_else(|| panic!("{file} has no end of {begin}")).0.to_owned()
}

#[test]
fn every_code_of_a_refusal_is_described() {
    let of_components = piece("host/src/runtime/loader.rs", "pub const fn code(&self)", "\n    }\n");
    let mut codes: Vec<&str> = of_components.split('"').skip(1).step_by(2).collect();
    let of_changes = piece("host/src/ops/admin/functions.rs", "fn api_error(", "\n}\n");
    let named = of_changes.split("with_code(").skip(1).filter_map(|call| call.split('"').nth(1));
    // The title, where the code is that of the component.
    codes.extend(named.filter(|code| !code.contains(' ')));
    assert!(codes.len() > 20 && codes.contains(&"route_taken") && codes.contains(&"superseded"), "{codes:?}");
    let page = fs::read_to_string(root().join("docs/deployments.md")).unwrap();
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "docs/deployments.md does not describe {code}");
    }
}
