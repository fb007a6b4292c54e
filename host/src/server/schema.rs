//! JSON Schemas of what the listener reads and writes, for the OpenAPI and the AsyncAPI document. They are made from
//! the very types that serde reads and writes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::runtime::SocketDescription;
use crate::server::session::Hello;
use crate::server::sync::SyncAnswer;

/// How a type is written as JSON.
pub(crate) fn written<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// How a type is read from JSON.
pub(crate) fn read<T: JsonSchema>() -> Value {
    schema::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

fn schema<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings.with(|settings| settings.inline_subschemas = true).into_generator().subschema_for::<T>().to_value()
}

/// The payload of `hello`: what the host writes, and what the functions add.
pub(crate) fn hello(described: &[SocketDescription]) -> Value {
    let mut hello = written::<Hello<'_>>();
    for added in described.iter().filter_map(|function| function.hello.as_ref()) {
        add_members(&mut hello, added);
        add_required(&mut hello, added);
    }
    hello
}

/// The current state, which answers `sync`. While the store is unavailable, it can lack what the functions add.
pub(crate) fn current_state(described: &[SocketDescription]) -> Value {
    let mut state = written::<SyncAnswer<'_>>();
    for added in described.iter().filter_map(|function| function.sync.as_ref()) {
        add_members(&mut state, added);
    }
    state
}

/// Adds the members that another schema of an object describes. A member that is described already is left as it is.
fn add_members(schema: &mut Value, added: &Value) {
    let Some(added) = added.get("properties").and_then(Value::as_object) else { return };
    if let Some(known) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, member) in added {
            known.entry(name.clone()).or_insert_with(|| member.clone());
        }
    }
}

/// Adds the members that another schema requires. Each is named once, as JSON Schema demands.
fn add_required(schema: &mut Value, added: &Value) {
    let Some(added) = added.get("required").and_then(Value::as_array) else { return };
    if let Some(known) = schema.get_mut("required").and_then(Value::as_array_mut) {
        for name in added {
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn functions() -> Vec<SocketDescription> {
        let added = json!({
            "type": "object",
            "properties": { "unread": { "type": "object" }, "epoch": { "type": "boolean" } },
            "required": ["unread", "epoch"],
        });
        vec![SocketDescription { hello: Some(added.clone()), sync: Some(added), ..SocketDescription::default() }]
    }

    #[test]
    fn hello_has_the_members_of_the_host_and_of_the_functions() {
        let hello = hello(&functions());
        assert_eq!(hello["properties"]["unread"], json!({ "type": "object" }));
        assert_eq!(hello["properties"]["epoch"]["type"], "string", "the host's own members are its own");
        let required = hello["required"].as_array().unwrap();
        assert!(required.contains(&json!("connection")) && required.contains(&json!("unread")), "{required:?}");
        let epochs = required.iter().filter(|name| **name == json!("epoch")).count();
        assert_eq!(epochs, 1, "a schema names a required member once: {required:?}");
    }

    #[test]
    fn the_current_state_can_lack_what_functions_add() {
        let state = current_state(&functions());
        assert_eq!(state["properties"]["unread"], json!({ "type": "object" }));
        let required = state["required"].as_array().unwrap();
        assert!(required.contains(&json!("offset")) && !required.contains(&json!("unread")), "{required:?}");
    }
}
