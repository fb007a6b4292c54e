//! Writes the messages that functions send to clients to `tests/golden/messages/functions.txt`: what parsing refuses,
//! and the errors of the use cases.

use roost_core::error::Error;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{RecordsError, StoreError};
use serde::Deserialize;

use crate::failure::Failure;
use crate::golden::Messages;
use crate::input::{Caller, Request};
use crate::json;
use crate::parameter::{PathParameter, QueryParameter};

fn text(failure: &Failure) -> String {
    let retry = if failure.retry { " (trying again can help)" } else { "" };
    format!("{:?}, {}{retry}\n{}", failure.kind, failure.code, failure.message)
}

fn add_request_parts(messages: &mut Messages) {
    const USER: PathParameter<UserId> = PathParameter::new("user");
    const BEFORE: QueryParameter<Seq> = QueryParameter::new("before");
    const CURSOR: QueryParameter<String> = QueryParameter::new("cursor");
    messages.group("Parts of a request");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        caller: Caller::Service,
        parameters: vec![pair("user", "anna")],
        query: vec![pair("before", "soon"), pair("cursor", "a"), pair("cursor", "b"), pair("limit", "0")],
        body: Vec::new(),
    };
    messages.add("A path parameter that is not a UUID", text(&request.path(USER).unwrap_err()));
    messages.add("A query parameter that is not a number", text(&request.query(BEFORE).unwrap_err()));
    messages.add("A query parameter that is sent twice", text(&request.query(CURSOR).unwrap_err()));
    messages.add("A `limit` out of bounds", text(&request.limit().unwrap_err()));
    messages.add("A service on a route that needs a user", text(&request.user().unwrap_err()));
}

fn add_bodies(messages: &mut Messages) {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only errors are looked at")]
    struct Draft {
        conversation: ConversationId,
        content: String,
        up_to: Option<u64>,
    }
    messages.group("Bodies and payloads: `{conversation, content, up_to?}`");
    for body in [
        "7",
        "[1]",
        r#"{"content""#,
        r#"{"content":"a"}"#,
        r#"{"conversation":"7","content":"a"}"#,
        r#"{"conversation":7,"content":"a"}"#,
        r#"{"content":5}"#,
        r#"{"content":"a","up_to":-1}"#,
        r#"{"content":"a","contents":"b"}"#,
        r#"{"content":"a","content":"b"}"#,
    ] {
        messages
            .add(&format!("The body {body}"), text(&json::object::<Draft>("the body", body.as_bytes()).unwrap_err()));
    }
}

fn add_errors(messages: &mut Messages) {
    messages.group("Errors of the use cases; … stands for the text of the use case");
    let unspecific = || "…".to_owned();
    for error in [
        Error::Invalid(unspecific()),
        Error::NoMessage,
        Error::Contended,
        Error::TooManyDevices,
        Error::Encoding(unspecific()),
        Error::Store(StoreError::Unavailable { retry_after_ms: 1_000 }),
        Error::Store(StoreError::Denied(unspecific())),
        Error::Store(StoreError::QuotaExceeded(unspecific())),
        Error::Records(RecordsError::Unavailable { retry_after_ms: 1_000 }),
        Error::Records(RecordsError::Denied(unspecific())),
        Error::Records(RecordsError::NotFound(unspecific())),
        Error::Records(RecordsError::NotAMember),
        Error::Records(RecordsError::Forbidden(unspecific())),
        Error::Records(RecordsError::Blocked),
        Error::Records(RecordsError::Conflict(unspecific())),
        Error::Records(RecordsError::Direct),
        Error::Records(RecordsError::VersionMismatch { present: Some(3) }),
        Error::Records(RecordsError::TooLarge(unspecific())),
        Error::Records(RecordsError::TooManyConversations(unspecific())),
        Error::Records(RecordsError::QuotaExceeded(unspecific())),
        Error::Records(RecordsError::Invalid(unspecific())),
    ] {
        let variant = format!("{error:?}");
        messages.add(&variant, text(&error.into()));
    }
    messages.add("A defect of the function", text(&Failure::internal("for the log only")));
}

#[test]
fn every_message_of_the_sdk_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages of functions");
    add_request_parts(&mut messages);
    add_bodies(&mut messages);
    add_errors(&mut messages);
    messages.check("functions");
}
