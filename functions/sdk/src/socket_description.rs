//! What a function receives and sends over sockets, for `/v1/asyncapi.json`.
//!
//! As in `api_operation`, payloads and answers are described by the very types that serde reads and writes.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use crate::api_operation::{read_schema, written_schema};

/// The frames that a function answers, the events that it publishes, and what its hooks add to `hello` and to the
/// answer to `sync`. A function describes itself once for each revision; nothing here runs in a call.
#[derive(Debug, Default)]
pub struct SocketDescription {
    messages: Map<String, Value>,
    events: Map<String, Value>,
    hooks: Map<String, Value>,
}

impl SocketDescription {
    /// A frame of this type, with its payload and the payload of its answer, and one sentence about what it does.
    #[must_use]
    pub fn frame<P: JsonSchema, A: JsonSchema>(mut self, name: &str, summary: &str) -> Self {
        let frame = json!({ "summary": summary, "payload": read_schema::<P>(), "answer": written_schema::<A>() });
        self.messages.insert(name.to_owned(), frame);
        self
    }

    /// An event that clients do not miss, with its payload and one sentence about who receives it when.
    #[must_use]
    pub fn durable<P: JsonSchema>(self, name: &str, summary: &str) -> Self {
        self.event::<P>(name, summary, true)
    }

    /// An event that reaches only the clients that are connected at this time. Otherwise as [`Self::durable`].
    #[must_use]
    pub fn ephemeral<P: JsonSchema>(self, name: &str, summary: &str) -> Self {
        self.event::<P>(name, summary, false)
    }

    /// The fields that the hook `connected` adds to `hello`.
    #[must_use]
    pub fn hello<T: JsonSchema>(mut self) -> Self {
        self.hooks.insert("hello".to_owned(), written_schema::<T>());
        self
    }

    /// The fields that the hook `sync` adds to the answer to `sync`.
    #[must_use]
    pub fn sync<T: JsonSchema>(mut self) -> Self {
        self.hooks.insert("sync".to_owned(), written_schema::<T>());
        self
    }

    fn event<P: JsonSchema>(mut self, name: &str, summary: &str, durable: bool) -> Self {
        let event = json!({ "summary": summary, "durable": durable, "payload": written_schema::<P>() });
        self.events.insert(name.to_owned(), event);
        self
    }

    /// The JSON text of the manifest.
    pub(crate) fn to_json(&self) -> String {
        let mut description = self.hooks.clone();
        for (name, described) in [("messages", &self.messages), ("events", &self.events)] {
            if !described.is_empty() {
                description.insert(name.to_owned(), Value::Object(described.clone()));
            }
        }
        Value::Object(description).to_string()
    }
}

#[cfg(test)]
mod tests {
    use roost_core::ids::ConversationId;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Vote {
        conversation: ConversationId,
        choice: Option<u8>,
    }

    #[derive(JsonSchema, Serialize)]
    struct Counted {
        votes: u32,
    }

    fn check(description: &SocketDescription, pointer: &str, expected: Value) {
        let json: Value = serde_json::from_str(&description.to_json()).unwrap();
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer} of {json:#}");
    }

    #[test]
    fn a_function_without_frames_and_events_describes_nothing() {
        assert_eq!(SocketDescription::default().to_json(), "{}");
    }

    #[test]
    fn a_frame_is_described_as_it_is_read_and_its_answer_as_it_is_written() {
        let description = SocketDescription::default().frame::<Vote, Counted>("poll.vote", "Votes.");
        check(&description, "/messages/poll.vote/summary", json!("Votes."));
        check(&description, "/messages/poll.vote/payload/required", json!(["conversation"]));
        check(&description, "/messages/poll.vote/payload/additionalProperties", json!(false));
        check(&description, "/messages/poll.vote/answer/required", json!(["votes"]));
    }

    #[test]
    fn events_and_hooks_are_described_by_what_they_send() {
        let description = SocketDescription::default()
            .durable::<Counted>("poll.counted", "The votes of a poll have changed.")
            .ephemeral::<Counted>("poll.watched", "Somebody looks at a poll.")
            .hello::<Counted>()
            .sync::<Counted>();
        check(&description, "/events/poll.counted/durable", json!(true));
        check(&description, "/events/poll.watched/durable", json!(false));
        for place in ["/events/poll.counted/payload", "/events/poll.watched/payload", "/hello", "/sync"] {
            check(&description, &format!("{place}/required"), json!(["votes"]));
        }
    }
}
