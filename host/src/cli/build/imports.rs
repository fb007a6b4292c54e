//! What a component imports, for those who build it: the names of the interfaces, read from its type.

use wit_component::DecodedWasm;

/// The package of the contract, whose interfaces are shown without it.
const CONTRACT: &str = "roost:edge/";

/// The imports of a component, in the order of their names: `clock` for an interface of the contract, the full name for
/// anything else.
pub(super) fn of_component(component: &[u8]) -> Result<Vec<String>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = &decoded else {
        return Err("it is the text of an interface and not a component".to_owned());
    };
    let world = resolve.worlds.get(*world).ok_or("it has no world")?;
    let mut names: Vec<String> = world.imports.keys().map(|key| shortened(resolve.name_world_key(key))).collect();
    names.sort_unstable();
    Ok(names)
}

fn shortened(name: String) -> String {
    let of_contract = name.strip_prefix(CONTRACT).and_then(|rest| rest.split_once('@'));
    of_contract.map(|(interface, _)| interface.to_owned()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_of_the_contract_are_shortened() {
        assert_eq!(shortened("roost:edge/key-value@0.1.0".into()), "key-value");
        assert_eq!(shortened("wasi:sockets/tcp@0.2.0".into()), "wasi:sockets/tcp@0.2.0");
    }

    #[test]
    fn an_empty_component_imports_nothing_and_other_bytes_are_refused() {
        assert_eq!(of_component(b"\0asm\x0d\0\x01\0"), Ok(Vec::new()));
        assert!(of_component(b"no component").is_err());
    }
}
