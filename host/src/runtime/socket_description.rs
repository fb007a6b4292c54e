//! What a function says of its frames and events in its manifest, for `GET /v1/asyncapi.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::manifest::{ENTRIES_MAX, is_event_name};

/// The largest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 64 * 1_024;

/// The frames that a function answers, the events that it publishes, and what its hooks add to `hello` and `sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketDescription {
    /// The frames of clients, by type.
    pub messages: BTreeMap<String, DescribedMessage>,
    /// The events, by type.
    pub events: BTreeMap<String, DescribedEvent>,
    /// The JSON Schema of the fields that the hook `connected` adds to `hello`.
    pub hello: Option<Value>,
    /// The JSON Schema of the fields that the hook `sync` adds to the current state.
    pub sync: Option<Value>,
}

/// A frame that a function answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribedMessage {
    /// What the frame does.
    pub summary: String,
    /// The JSON Schema of the frame's payload.
    pub payload: Value,
    /// The JSON Schema of the payload of the answer.
    pub answer: Value,
}

/// An event that a function publishes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribedEvent {
    /// Who receives the event, and when.
    pub summary: String,
    /// Whether the event has a position in the feed of whoever receives it.
    pub durable: bool,
    /// The JSON Schema of the event's payload.
    pub payload: Value,
}

/// The JSON Schema of a value that is not described.
const ANYTHING: Value = Value::Bool(true);

impl Default for DescribedMessage {
    fn default() -> Self {
        Self { summary: String::new(), payload: ANYTHING, answer: ANYTHING }
    }
}

impl Default for DescribedEvent {
    fn default() -> Self {
        Self { summary: String::new(), durable: false, payload: ANYTHING }
    }
}

impl SocketDescription {
    /// Parses the description of a function that answers these types of messages. A type that is not described is
    /// described as one with any payload.
    pub(super) fn parse(text: &str, messages: &[String]) -> Result<Self, String> {
        if text.len() > DESCRIPTION_BYTES_MAX {
            return Err(format!(
                "the description of its frames and events has {} bytes, but at most {DESCRIPTION_BYTES_MAX} are allowed; \
                 shorten it",
                text.len()
            ));
        }
        let refused = |error: String| format!("the description of its frames and events is {error}; `{{}}` is enough");
        let mut description: Self = match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => {
                serde_json::from_value(object).map_err(|error| refused(format!("not valid: {error}")))?
            }
            _ => return Err(refused("not a JSON object".to_owned())),
        };
        if let Some(name) = description.messages.keys().find(|name| !messages.contains(name)) {
            return Err(format!("it describes the message {name}, which is not among its messages; add it there"));
        }
        if description.events.len() > ENTRIES_MAX {
            let count = description.events.len();
            return Err(format!(
                "it describes {count} events, but at most {ENTRIES_MAX} are allowed; divide the function"
            ));
        }
        if let Some(name) = description.events.keys().find(|name| !is_event_name(name)) {
            return Err(format!("the described event {name:?} is not the type of an event, such as poll.counted"));
        }
        for name in messages {
            description.messages.entry(name.clone()).or_default();
        }
        Ok(description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SocketDescription, String> {
        SocketDescription::parse(text, &["vote".to_owned()])
    }

    fn refused(text: &str, expected: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_message_that_is_not_described_can_have_any_payload() {
        let description = parse("{}").unwrap();
        assert_eq!(description.messages["vote"], DescribedMessage::default());
        assert_eq!(description.messages["vote"].payload, ANYTHING);
        let described = parse(r#"{"messages":{"vote":{"summary":"Votes.","payload":{"type":"object"}}}}"#).unwrap();
        assert_eq!(described.messages["vote"].summary, "Votes.");
    }

    #[test]
    fn a_description_of_a_wrong_form_is_refused() {
        refused("[]", "is not a JSON object");
        refused(r#"{"frames":{}}"#, "unknown field `frames`");
        refused(r#"{"messages":{"other":{}}}"#, "the message other, which is not among its messages");
        refused(r#"{"events":{"Poll Counted":{}}}"#, "\"Poll Counted\" is not the type of an event");
        let events: Vec<String> = (0..=ENTRIES_MAX).map(|number| format!("\"a.{number}\":{{}}")).collect();
        refused(&format!(r#"{{"events":{{{}}}}}"#, events.join(",")), "at most 256");
        refused(&format!(r#"{{"hello":"{}"}}"#, "x".repeat(DESCRIPTION_BYTES_MAX)), "at most 65536");
    }
}
