//! `GET /v1/openapi.json`: the OpenAPI document, composed from the built-in routes and from what the functions say of
//! theirs. It is composed once for each generation of the live functions.

use std::sync::{Arc, Mutex, PoisonError};

use roost_core::feed::Position;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Access, Documented, host_paths};
use crate::server::problem::ProblemDocument;
use crate::server::sync::SyncAnswer;

/// The document, and the generation of the functions that it describes.
#[derive(Debug, Default)]
pub(crate) struct DocumentCache(Mutex<Option<(u64, Arc<str>)>>);

impl DocumentCache {
    /// The current document.
    pub(crate) fn get(&self, functions: &impl Dispatcher) -> Arc<str> {
        // The generation is read first: if the functions change meanwhile, the document is composed once more.
        let generation = *functions.changes().borrow();
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

/// Composes the whole document.
fn compose(documented: Vec<Documented>) -> Value {
    let mut paths = builtin_paths();
    for route in documented {
        let path = paths.entry(route.path.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    describe_head(&mut paths);
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
            "schemas": { "Problem": schema::<ProblemDocument<'_>>() },
            "responses": { "Problem": {
                "description": "What was wrong, with a stable code.",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
        },
    })
}

/// The operation as the function describes it, with what the host adds.
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

/// Every `GET` is answered as `HEAD` too, without a body.
fn describe_head(paths: &mut Map<String, Value>) {
    for methods in paths.values_mut().filter_map(Value::as_object_mut) {
        let Some(mut head) = methods.get("get").cloned() else { continue };
        if let Some(responses) = head.get_mut("responses").and_then(Value::as_object_mut) {
            for response in responses.values_mut() {
                *response = json!({ "description": "As for `GET`, without a body." });
            }
        }
        methods.insert("head".to_owned(), head);
    }
}

/// How a type is written as JSON.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().subschema_for::<T>().to_value()
}

/// The host's own paths.
fn builtin_paths() -> Map<String, Value> {
    host_paths::ALL.into_iter().map(|path| (path.to_owned(), json!({ "get": builtin_operation(path) }))).collect()
}

fn builtin_operation(path: &str) -> Value {
    let since = query_parameter::<Position>("since", "The position of the last event that the client has.");
    let token = query_parameter::<String>("token", "The user's token, for clients that cannot set headers.");
    let (summary, parameters, status, response) = match path {
        host_paths::SOCKET => (
            "WebSocket with the subprotocol roost.v1",
            json!([since, token]),
            "101",
            json!({ "description": "The socket is open." }),
        ),
        host_paths::EVENTS => (
            "The same events as Server-Sent Events; Last-Event-ID resumes",
            json!([since, token]),
            "200",
            json!({ "description": "The stream.", "content": { "text/event-stream": {} } }),
        ),
        host_paths::SYNC => (
            "The current state, and what was missed since a position",
            json!([since]),
            "200",
            json_response("Position, state, and `events` or `resync`.", &schema::<SyncAnswer>()),
        ),
        _ => (
            "The description of this API",
            json!([]),
            "200",
            json_response("This document.", &json!({ "type": "object" })),
        ),
    };
    let public = path == host_paths::OPENAPI;
    json!({
        "tags": ["host"],
        "summary": summary,
        "parameters": parameters,
        "responses": { status: response, "default": problem() },
        "security": if public { json!([]) } else { json!([{ "bearer": [] }]) },
    })
}

fn query_parameter<T: JsonSchema>(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema::<T>(), "description": description })
}

fn json_response(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::fake::FakeFunctions;

    #[test]
    fn the_document_and_the_documentation_have_every_path_of_the_host() {
        let document = compose(Vec::new());
        let mut paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = host_paths::ALL.to_vec();
        paths.sort_unstable();
        expected.sort_unstable();
        assert_eq!(paths, expected);
        let summary = |path: &str| document["paths"][path]["get"]["summary"].as_str().unwrap().to_owned();
        let summaries: BTreeSet<String> = paths.iter().map(|path| summary(path)).collect();
        assert_eq!(summaries.len(), paths.len(), "every path has a description of its own");
        let documentation = include_str!("../../../docs/api.md");
        for path in host_paths::ALL {
            assert!(documentation.contains(&format!("`GET {path}")), "docs/api.md does not describe GET {path}");
        }
    }

    #[test]
    fn the_document_is_composed_again_when_the_functions_change() {
        let (cache, functions) = (DocumentCache::default(), FakeFunctions::new());
        let first = cache.get(functions.as_ref());
        assert!(Arc::ptr_eq(&first, &cache.get(functions.as_ref())), "composed once");
        functions.changes.send_replace(2);
        let second = cache.get(functions.as_ref());
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(first, second);
    }
}
