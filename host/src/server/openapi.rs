//! `GET /v1/openapi.json`: the OpenAPI document, composed from the built-in routes and from what the functions say of
//! theirs.

use roost_core::feed::Position;
use roost_core::ids::UserId;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{Access, Documented, Method, SocketDescription, host_paths};
use crate::server::http::connections::DisconnectBody;
use crate::server::problem::ProblemDocument;
use crate::server::schema;

/// Composes the whole document.
pub(crate) fn compose(functions: &impl Dispatcher) -> Value {
    document(functions.documented(), &functions.socket_descriptions())
}

fn document(documented: Vec<Documented>, described: &[SocketDescription]) -> Value {
    let mut paths = Map::new();
    for route in builtin(described).chain(documented) {
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
            "schemas": { "Problem": schema::written::<ProblemDocument<'_>>() },
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

/// The host's own routes.
fn builtin(described: &[SocketDescription]) -> impl Iterator<Item = Documented> {
    host_paths::ALL.into_iter().filter_map(move |path| {
        Some(Documented {
            function: "host".to_owned(),
            method: Method::parse(host_paths::method(path))?,
            path: path.to_owned(),
            access: match path {
                host_paths::OPENAPI | host_paths::ASYNCAPI => Access::Public,
                host_paths::CONNECTIONS => Access::Service,
                _ => Access::User,
            },
            operation: builtin_operation(path, described),
        })
    })
}

/// An operation without what all operations have.
fn builtin_operation(path: &str, described: &[SocketDescription]) -> Value {
    let since = query_parameter::<Position>("since", "The position of the last event that the client has.");
    let token = query_parameter::<String>("token", "The user's token, for clients that cannot set headers.");
    match path {
        host_paths::SOCKET => json!({
            "summary": "WebSocket with the subprotocol roost.v1; /v1/asyncapi.json describes its frames",
            "parameters": [since, token],
            "responses": { "101": { "description": "The socket is open." } },
        }),
        host_paths::EVENTS => json!({
            "summary": "The same events as Server-Sent Events; Last-Event-ID resumes",
            "parameters": [since, token],
            "responses": { "200": { "description": "The stream.", "content": { "text/event-stream": {} } } },
        }),
        host_paths::SYNC => json!({
            "summary": "The current state, and what was missed since a position",
            "parameters": [since],
            "responses": {
                "200": json_response("Position, state, and `events` or `resync`.", &schema::current_state(described)),
            },
        }),
        host_paths::CONNECTIONS => json!({
            "summary": "Closes every connection of a user on every host",
            "parameters": [path_parameter::<UserId>("user")],
            "requestBody": { "content": { "application/json": { "schema": schema::read::<DisconnectBody>() } } },
            "responses": { "202": { "description": "The hosts close the connections." } },
        }),
        host_paths::ASYNCAPI => json!({
            "summary": "The description of the socket's frames and events",
            "parameters": [],
            "responses": { "200": json_response("An AsyncAPI document.", &json!({ "type": "object" })) },
        }),
        _ => json!({
            "summary": "The description of this API",
            "parameters": [],
            "responses": { "200": json_response("This document.", &json!({ "type": "object" })) },
        }),
    }
}

fn path_parameter<T: JsonSchema>(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": schema::read::<T>() })
}

fn query_parameter<T: JsonSchema>(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema::written::<T>(), "description": description })
}

fn json_response(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_and_the_documentation_have_every_path_of_the_host() {
        let document = document(Vec::new(), &[]);
        let mut paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = host_paths::ALL.to_vec();
        paths.sort_unstable();
        expected.sort_unstable();
        assert_eq!(paths, expected);
        let summary = |path: &str| {
            let method = host_paths::method(path).to_ascii_lowercase();
            document["paths"][path][method]["summary"].as_str().unwrap().to_owned()
        };
        let summaries: BTreeSet<String> = paths.iter().map(|path| summary(path)).collect();
        assert_eq!(summaries.len(), paths.len(), "every path has a description of its own");
        let documentation = include_str!("../../../docs/api.md");
        for path in host_paths::ALL {
            let route = format!("`{} {path}", host_paths::method(path));
            assert!(documentation.contains(&route), "docs/api.md does not describe {route}`");
        }
    }
}
