//! The outgoing messages of one device: written at a steady pace, and repeated under the same id until they are
//! acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

/// The largest number of messages without an acknowledgement; beyond it, the device writes no new ones.
const UNACKNOWLEDGED_MAX: usize = 500;
/// The largest number of messages that wait for an answer at the same time.
const IN_FLIGHT_MAX: usize = 16;
/// A refused message is sent again after this time.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A message that is not acknowledged yet.
#[derive(Debug)]
struct OutgoingMessage {
    conversation: Uuid,
    content: String,
    state: SendState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// To be sent at this time; the flag tells whether it is a repetition.
    Due(Instant, bool),
    InFlight,
}

/// All messages of this device that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct DeviceOutbox {
    messages: BTreeMap<Uuid, OutgoingMessage>,
    written: usize,
}

impl DeviceOutbox {
    /// Writes the next numbered message, unless too many are unacknowledged. Returns whether it did.
    pub(super) fn write(&mut self, device: &str, conversations: &[Uuid]) -> bool {
        if self.messages.len() >= UNACKNOWLEDGED_MAX {
            return false;
        }
        self.written += 1;
        let message = OutgoingMessage {
            conversation: conversations[self.written % conversations.len()],
            content: format!("{device} #{}", self.written),
            state: SendState::Due(Instant::now(), false),
        };
        // The ids grow with time, so waiting messages are sent in the order in which they were written.
        self.messages.insert(Uuid::now_v7(), message);
        true
    }

    /// The frames of the messages that are due, and how many of them are repetitions.
    pub(super) fn due(&mut self) -> (Vec<Value>, usize) {
        let now = Instant::now();
        let in_flight = self.messages.values().filter(|message| message.state == SendState::InFlight).count();
        let mut retried = 0;
        let mut frames = Vec::new();
        for (id, message) in &mut self.messages {
            let SendState::Due(at, repeated) = message.state else { continue };
            if at <= now && in_flight + frames.len() < IN_FLIGHT_MAX {
                message.state = SendState::InFlight;
                retried += usize::from(repeated);
                let payload = json!({ "conversation": message.conversation, "id": id, "content": message.content });
                frames.push(json!({ "id": id, "type": "message.send", "payload": payload }));
            }
        }
        (frames, retried)
    }

    /// The connection was lost: messages in flight have no answer and are sent again.
    pub(super) fn disconnected(&mut self) {
        for message in self.messages.values_mut().filter(|message| message.state == SendState::InFlight) {
            message.state = SendState::Due(Instant::now(), true);
        }
    }

    /// The host refused a message for now; it is sent again later.
    pub(super) fn refused(&mut self, id: Uuid) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.state = SendState::Due(Instant::now() + RETRY_AFTER, true);
        }
    }

    /// Removes an acknowledged message. Returns whether it was still open.
    pub(super) fn acknowledged(&mut self, id: Uuid) -> bool {
        self.messages.remove(&id).is_some()
    }

    /// The number of messages without an acknowledgement.
    pub(super) fn open(&self) -> usize {
        self.messages.len()
    }
}
