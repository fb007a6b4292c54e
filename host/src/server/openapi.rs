//! `/v1/openapi.json`: the API described, from the host's own routes and what the functions say of theirs.
//!
//! Composed once for each state of the functions.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Access, Documented};

/// The document, and the generation of the functions that it describes.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Option<(u64, Arc<str>)>>);

impl Cache {
    /// The document as it is now.
    pub(crate) fn document(&self, functions: &impl Dispatcher) -> Arc<str> {
        // Read first: a change meanwhile makes the document newer than its number, and it is composed again.
        let generation = functions.generation();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cached {
            Some((known, document)) if *known == generation => document.clone(),
            _ => {
                let document: Arc<str> = compose(functions.documented()).to_string().into();
                *cached = Some((generation, document.clone()));
                document
            }
        }
    }
}

/// The whole document.
pub fn compose(documented: Vec<Documented>) -> Value {
    let mut paths = own_paths();
    for route in documented {
        let path = paths.entry(route.path.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Presence, unread counters, last messages and messaging, pushed to every device.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A user's token, or a service key." },
            },
            "schemas": { "Problem": problem_schema() },
            "responses": { "Problem": {
                "description": "What went wrong, with a stable code.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
        },
    })
}

/// What the function says, with what the host knows better.
fn operation(route: Documented) -> Value {
    let mut operation = match route.operation {
        Value::Object(operation) => operation,
        _ => Map::new(),
    };
    operation.entry("tags").or_insert_with(|| json!([route.function]));
    operation.entry("parameters").or_insert_with(|| path_parameters(&route.path));
    let responses = operation.entry("responses").or_insert_with(|| json!({ "200": { "description": "Done." } }));
    if let Value::Object(responses) = responses {
        responses.entry("default").or_insert_with(problem);
    }
    operation.insert("security".into(), security(route.access));
    Value::Object(operation)
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::User | Access::ServiceOrUser | Access::Service => json!([{ "bearer": [] }]),
    }
}

fn path_parameters(path: &str) -> Value {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect()
}

fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "trace", "retry"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable; what a client branches on." },
            "detail": { "type": "string" },
            "trace": { "type": "string", "description": "Also in the header Roost-Trace and in the host's log." },
            "retry": { "type": "boolean", "description": "Trying the same again can help." },
            "retry_after_ms": { "type": "integer" },
        },
    })
}

fn own_paths() -> Map<String, Value> {
    let query = |name: &str, description: &str| {
        json!({
            "name": name, "in": "query", "required": false, "schema": { "type": "string" }, "description": description,
        })
    };
    let since = query("since", "The last position that the client saw: `<epoch>:<offset>`.");
    let token = query("token", "The user's token, where headers cannot be set.");
    let get = |summary: &str, parameters: Value, responses: Value, open: bool| {
        json!({ "get": {
        "tags": ["host"],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
        "security": if open { json!([]) } else { json!([{ "bearer": [] }]) },
    } })
    };
    let mut paths = Map::new();
    paths.insert(
        "/v1/socket".into(),
        get(
            "WebSocket with the subprotocol roost.v1",
            json!([since, token]),
            json!({ "101": { "description": "The socket is open." }, "default": problem() }),
            false,
        ),
    );
    paths.insert(
        "/v1/events".into(),
        get(
            "The same events as Server-Sent Events; Last-Event-ID resumes",
            json!([since, token]),
            json!({
                "200": { "description": "The stream.", "content": { "text/event-stream": {} } },
                "default": problem(),
            }),
            false,
        ),
    );
    paths.insert(
        "/v1/sync".into(),
        get(
            "The present state, and what was missed since a position",
            json!([since]),
            json!({ "200": json_object("Position, state, and `events` or `resync`."), "default": problem() }),
            false,
        ),
    );
    let described = json!({ "200": json_object("This document.") });
    paths.insert("/v1/openapi.json".into(), get("The API described", json!([]), described, true));
    paths
}

fn json_object(description: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": { "type": "object" } } } })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::server::fake::FakeFunctions;

    #[test]
    fn the_document_is_composed_again_when_the_functions_change() {
        let (cache, functions) = (Cache::default(), FakeFunctions::new());
        let first = cache.document(functions.as_ref());
        assert!(Arc::ptr_eq(&first, &cache.document(functions.as_ref())), "composed once");
        functions.generation.store(2, Ordering::SeqCst);
        let second = cache.document(functions.as_ref());
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(first, second);
    }
}
