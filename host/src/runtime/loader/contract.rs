//! Checks a component against the contract, before time goes into compiling it and before any of its code runs.

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;

use super::DeployFailure;
use crate::runtime::engine::Engine;

/// The contract of this host.
pub(super) const CONTRACT: &str = "roost:edge";
pub(super) const CONTRACT_VERSION: &str = "0.1.0";
/// The interfaces that a function may import.
pub(super) const INTERFACES: [&str; 6] = ["clock", "key-value", "pub-sub", "records", "telemetry", "types"];
/// The largest component, in bytes.
pub(crate) const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// Checks the size, the magic number and the layer, before any work is done.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), DeployFailure> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_LAYER: [u8; 2] = [0, 0];
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(DeployFailure::TooLarge(bytes.len()));
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(DeployFailure::NotWasm);
    };
    match rest.get(2..4) {
        Some(layer) if layer == CORE_LAYER => Err(DeployFailure::CoreModule),
        _ => Ok(()),
    }
}

/// Checks the names of the imports. What cannot be read is left to the compiler, which says what is wrong with it.
pub(super) fn check_imports(bytes: &[u8]) -> Result<(), DeployFailure> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Those of the component itself, and not of the modules and components in it.
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports.into_iter().map_while(Result::ok) {
                    check_import(import.name.name)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks the name of the export against the contract.
pub(super) fn check_contract(engine: &Engine, component: &Component) -> Result<(), DeployFailure> {
    let ty = component.component_type();
    let mut exports = ty.exports(engine.wasm()).map(|(name, _)| name);
    let handler = exports.find(|name| name.starts_with("roost:edge/handler"));
    match handler.and_then(interface) {
        Some(("handler", CONTRACT_VERSION)) => Ok(()),
        Some((_, version)) => Err(DeployFailure::OtherContract { found: format!("{CONTRACT}@{version}") }),
        None => Err(DeployFailure::NoHandler),
    }
}

fn check_import(import: &str) -> Result<(), DeployFailure> {
    match interface(import) {
        Some((name, CONTRACT_VERSION)) if INTERFACES.contains(&name) => Ok(()),
        Some((_, version)) if version != CONTRACT_VERSION => {
            Err(DeployFailure::OtherContract { found: format!("{CONTRACT}@{version}") })
        }
        _ => Err(DeployFailure::ForeignImport { import: import.to_owned() }),
    }
}

/// The interface and the version in a name of the contract's package; `None` for any other name.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(CONTRACT)?.strip_prefix('/')?.split_once('@')
}

#[cfg(test)]
mod tests {
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
}
