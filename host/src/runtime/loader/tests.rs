//! What is refused before a component is compiled: other bytes than a component, and imports of another contract.

use super::*;

#[test]
fn bytes_that_are_no_component_are_refused_before_any_work() {
    assert_eq!(check_kind(b""), Err(DeployFailure::NotWasm));
    assert_eq!(check_kind(b"(component)"), Err(DeployFailure::NotWasm));
    assert_eq!(check_kind(b"\0asm\x01\0\0\0"), Err(DeployFailure::CoreModule));
    assert_eq!(check_kind(b"\0asm\x0d\0\x01\0"), Ok(()));
    let giant = vec![0; COMPONENT_BYTES_MAX + 1];
    assert_eq!(check_kind(&giant), Err(DeployFailure::TooLarge(giant.len())));
}

#[test]
fn only_this_version_of_the_contract_may_be_imported() {
    for name in INTERFACES {
        assert_eq!(check_import(&format!("roost:edge/{name}@0.1.0")), Ok(()));
    }
    for import in ["wasi:clocks/wall-clock@0.2.0", "roost:edge/handler@0.1.0", "env", "roost:edge/clock"] {
        let failure = check_import(import).unwrap_err();
        assert!(failure.to_string().starts_with(&format!("it imports {import}, ")), "{failure}");
    }
    assert_eq!(
        check_import("roost:edge/clock@0.2.0").unwrap_err().to_string(),
        "it was built for roost:edge@0.2.0, but this host supports roost:edge@0.1.0; build it with the sdk of this version"
    );
}
