//! `GET /v1/asyncapi.json`: the AsyncAPI document of the socket and of the event stream, composed from the host's own
//! frames and from what the functions say of theirs.
//!
//! A message of the document is a whole frame of the socket. Its name says which: `request.TYPE` is a client's frame,
//! `ok.TYPE` its answer, `event.TYPE` what is pushed, and `error` answers any frame, or none. An event stream has the
//! pushed ones, in parts.

use std::collections::BTreeMap;

use roost_core::event::ResyncPayload;
use roost_core::feed::Position;
use serde_json::{Map, Value, json};

use crate::delivery::event::{DRAINING, Draining, HELLO, RESYNC, Resync, SYNC};
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::{DescribedEvent, DescribedMessage, SocketDescription, host_paths};
use crate::server::schema;
use crate::server::websocket::frame::{ErrorFrame, ID_BYTES_MAX};
use crate::server::websocket::renewal::{TOKEN, TokenAnswer, TokenPayload};
use crate::server::websocket::{SyncPayload, close};

/// The operations that send. Types of frames, which are the names of the others, have no capitals.
const PUSH: &str = "pushOverSocket";
const STREAM: &str = "pushOverStream";
/// How a message becomes an event of a stream.
const STREAMED: &str = "The same events as Server-Sent Events: `event` is the `type` of a message, `data` its `payload`, \
    and `id`, which only durable events and `hello` have, the position `epoch:offset`. The `data` of `error`, after \
    which the stream ends, is the `error` of the message. Its code is `token_expired`, `draining`, `disconnected` or \
    `slow_client`, or that of a refusal that can pass.";
/// The parts of the position of a durable event.
const POSITION: &str = "A part of the position, which durable events have.";
const EPOCH: &str = "A part of the position, which durable events have. It can change: the first event after a position \
    `n<milliseconds>:0`, that of a user without any durable event, has another epoch and the offset 1.";

/// Composes the whole document.
pub(crate) fn compose(functions: &impl Dispatcher) -> Value {
    document(&functions.socket_descriptions())
}

fn document(described: &[SocketDescription]) -> Value {
    let (requests, events) = (requests(described), events(described));
    let messages = messages(&requests, &events);
    let in_channel: Map<String, Value> =
        messages.keys().map(|name| (name.clone(), reference("components", name))).collect();
    let is_pushed = |name: &str| name.starts_with("event.") || name == "error";
    let in_stream: Map<String, Value> = in_channel
        .iter()
        .filter(|(name, _)| is_pushed(name))
        .map(|(name, reference)| (name.clone(), reference.clone()))
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Roost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The socket roost.v1: frames of clients with their answers, and events that are pushed, also \
                as an event stream.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": host_paths::SOCKET,
                "description": socket_description(),
                "messages": in_channel,
                "bindings": { "ws": { "method": "GET", "query": query(), "bindingVersion": "0.1.0" } },
            },
            "events": { "address": host_paths::EVENTS, "description": STREAMED, "messages": in_stream },
        },
        "operations": operations(requests.keys(), events.keys()),
        "components": { "messages": messages },
    })
}

/// What the socket is, and how the host closes it. AsyncAPI has no other place for close codes.
fn socket_description() -> String {
    let codes = close::ALL.map(|close| format!("\n- {} {}: {}", close.code, close.described(), close.advice));
    format!(
        "A WebSocket with the subprotocol roost.v1. Every message is a JSON text frame. The host closes it with one of \
         these codes and reasons:\n{}",
        codes.concat()
    )
}

/// The frames of clients: the host's own, and those of the functions.
fn requests(described: &[SocketDescription]) -> BTreeMap<String, DescribedMessage> {
    let sync = DescribedMessage {
        summary: "Asks for the current state, and for what was missed since a position.".to_owned(),
        payload: schema::read::<SyncPayload>(),
        answer: schema::current_state(described),
    };
    let token = DescribedMessage {
        summary: "Renews the token: of the same user, and with a later end.".to_owned(),
        payload: schema::read::<TokenPayload>(),
        answer: schema::written::<TokenAnswer>(),
    };
    let mut requests = BTreeMap::from([(SYNC.to_owned(), sync), (TOKEN.to_owned(), token)]);
    for (name, message) in described.iter().flat_map(|function| &function.messages) {
        requests.entry(name.clone()).or_insert_with(|| message.clone());
    }
    requests
}

/// The events: the host's own, and those of the functions.
fn events(described: &[SocketDescription]) -> BTreeMap<String, DescribedEvent> {
    let resync = json!({ "anyOf": [schema::written::<Resync<'_>>(), schema::written::<ResyncPayload>()] });
    let of_host = [
        (HELLO, false, "The first frame of the socket.", schema::hello(described)),
        (RESYNC, true, "Events were missed that cannot be sent again: ask for the current state.", resync),
        (
            SYNC,
            false,
            "The current state, because ephemeral events may have been missed.",
            schema::current_state(described),
        ),
        (DRAINING, false, "The host is stopping, and closes the socket.", schema::written::<Draining>()),
    ];
    let mut events: BTreeMap<_, _> = of_host
        .map(|(name, durable, summary, payload)| {
            (name.to_owned(), DescribedEvent { summary: summary.to_owned(), durable, payload })
        })
        .into();
    for (name, event) in described.iter().flat_map(|function| &function.events) {
        events.entry(name.clone()).or_insert_with(|| event.clone());
    }
    events
}

fn messages(
    requests: &BTreeMap<String, DescribedMessage>,
    events: &BTreeMap<String, DescribedEvent>,
) -> Map<String, Value> {
    let mut messages = Map::new();
    let mut add = |name: String, summary: &str, frame: Value| {
        let mut message = Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("summary".to_owned(), json!(summary)),
            ("payload".to_owned(), frame),
        ]);
        if !name.starts_with("event.") {
            message.insert("correlationId".to_owned(), json!({ "location": "$message.payload#/id" }));
        }
        messages.insert(name, message.into());
    };
    for (name, request) in requests {
        add(format!("request.{name}"), &request.summary, request_frame(name, &request.payload));
        add(format!("ok.{name}"), &format!("The answer to `{name}`."), answer_frame(&request.answer));
    }
    for (name, event) in events {
        add(format!("event.{name}"), &event.summary, event_frame(name, event));
    }
    add(
        "error".to_owned(),
        "Refuses a frame, or announces the end of the socket.",
        schema::written::<ErrorFrame<'_>>(),
    );
    messages
}

fn request_frame(name: &str, payload: &Value) -> Value {
    let id = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": ID_BYTES_MAX,
        "description": "Chosen by the client; the answer repeats it.",
    });
    let mut required = vec!["id", "type"];
    if payload.get("required").is_some() {
        required.push("payload");
    }
    json!({
        "type": "object",
        "properties": { "id": id, "type": { "const": name }, "payload": payload },
        "required": required,
    })
}

fn answer_frame(payload: &Value) -> Value {
    json!({
        "type": "object",
        "properties": { "id": { "type": "string" }, "type": { "const": "ok" }, "payload": payload },
        "required": ["id", "type", "payload"],
        "additionalProperties": false,
    })
}

fn event_frame(name: &str, event: &DescribedEvent) -> Value {
    let mut properties =
        Map::from_iter([("type".to_owned(), json!({ "const": name })), ("payload".to_owned(), event.payload.clone())]);
    if event.durable {
        let epoch = json!({ "type": "string", "pattern": "^[a-z0-9]{1,32}$", "description": EPOCH });
        properties.insert("epoch".to_owned(), epoch);
        properties.insert("offset".to_owned(), json!({ "type": "integer", "minimum": 0, "description": POSITION }));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["type", "payload"],
        "additionalProperties": false,
    })
}

/// What clients may send is received, and answered by `ok` or `error`; the events are sent, over a socket or a stream.
fn operations<'a>(requests: impl Iterator<Item = &'a String>, events: impl Iterator<Item = &'a String>) -> Value {
    let (channel, stream) = (json!({ "$ref": "#/channels/socket" }), json!({ "$ref": "#/channels/events" }));
    let of_channel = |name: &str| reference("channels/socket", name);
    let mut operations: Map<String, Value> = requests
        .map(|name| {
            let reply = [of_channel(&format!("ok.{name}")), of_channel("error")];
            let operation = json!({
                "action": "receive",
                "channel": channel,
                "messages": [of_channel(&format!("request.{name}"))],
                "reply": { "channel": channel, "messages": reply },
            });
            (name.clone(), operation)
        })
        .collect();
    let pushed: Vec<String> = events.map(|name| format!("event.{name}")).chain(["error".to_owned()]).collect();
    let of = |owner: &str| pushed.iter().map(|name| reference(owner, name)).collect::<Vec<_>>();
    let push = json!({ "action": "send", "channel": channel, "messages": of("channels/socket") });
    operations.insert(PUSH.to_owned(), push);
    let stream = json!({
        "action": "send",
        "channel": stream,
        "messages": of("channels/events"),
        "bindings": { "http": { "method": "GET", "query": query(), "bindingVersion": "0.3.0" } },
    });
    operations.insert(STREAM.to_owned(), stream);
    operations.into()
}

fn reference(owner: &str, message: &str) -> Value {
    json!({ "$ref": format!("#/{owner}/messages/{message}") })
}

/// The query of the handshake.
fn query() -> Value {
    json!({
        "type": "object",
        "properties": { "since": schema::read::<Position>(), "token": { "type": "string" } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_functions() -> Value {
        let mut votes = SocketDescription::default();
        let push = DescribedMessage { summary: "Pushes a vote.".to_owned(), ..DescribedMessage::default() };
        let cast = DescribedMessage { payload: json!({ "required": ["choice"] }), ..DescribedMessage::default() };
        votes.messages = BTreeMap::from([("votes.cast".to_owned(), cast), ("push".to_owned(), push)]);
        let counted = DescribedEvent { durable: true, ..DescribedEvent::default() };
        votes.events =
            BTreeMap::from([("votes.counted".to_owned(), counted), ("hello".to_owned(), DescribedEvent::default())]);
        document(&[votes])
    }

    #[test]
    fn a_frame_of_a_function_is_received_and_answered() {
        let document = of_functions();
        let operation = &document["operations"]["votes.cast"];
        assert_eq!(operation["messages"][0]["$ref"], "#/channels/socket/messages/request.votes.cast");
        assert_eq!(operation["reply"]["messages"][0]["$ref"], "#/channels/socket/messages/ok.votes.cast");
        assert_eq!(document["operations"]["push"]["action"], "receive");
        let frame = &document["components"]["messages"]["request.votes.cast"];
        assert_eq!(frame["payload"]["required"], json!(["id", "type", "payload"]));
        assert_eq!(frame["correlationId"]["location"], "$message.payload#/id");
        assert_eq!(document["components"]["messages"]["request.sync"]["payload"]["required"], json!(["id", "type"]));
    }

    #[test]
    fn only_durable_events_have_a_position() {
        let messages = &of_functions()["components"]["messages"];
        assert!(messages["event.votes.counted"]["payload"]["properties"]["offset"].is_object());
        assert!(messages["event.server.draining"]["payload"]["properties"].get("offset").is_none());
    }

    #[test]
    fn a_function_does_not_describe_the_frames_of_the_host() {
        let messages = &of_functions()["components"]["messages"];
        assert_eq!(messages["event.hello"]["summary"], "The first frame of the socket.");
    }

    #[test]
    fn a_stream_has_the_pushed_messages_and_no_others() {
        let document = of_functions();
        let in_stream = document["channels"]["events"]["messages"].as_object().unwrap();
        for name in document["components"]["messages"].as_object().unwrap().keys() {
            let is_answer = name.starts_with("request.") || name.starts_with("ok.");
            assert_eq!(in_stream.contains_key(name), !is_answer, "{name}");
        }
        let sent = document["operations"][STREAM]["messages"].as_array().unwrap();
        assert_eq!(sent.len(), in_stream.len());
    }

    #[test]
    fn every_message_is_in_the_channel_and_in_an_operation() {
        let document = of_functions();
        let operations = document["operations"].to_string();
        for name in document["components"]["messages"].as_object().unwrap().keys() {
            assert!(document["channels"]["socket"]["messages"].get(name).is_some(), "{name}");
            assert!(operations.contains(&format!("messages/{name}\"")), "no operation has {name}");
        }
    }
}
