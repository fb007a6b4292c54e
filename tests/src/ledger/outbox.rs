//! Letters of one device: written at a steady pace, tried again under the same id until they are acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

/// Letters without an acknowledgement; beyond, none is written.
const LETTERS_MAX: usize = 500;
/// Letters that wait for an answer at the same time.
const ASKED_MAX: usize = 16;
/// A refused letter is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A message on its way.
#[derive(Debug)]
struct Letter {
    conversation: Uuid,
    content: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be tried at this moment; again or not.
    Due(Instant, bool),
    Asked,
}

/// Everything this device has written that is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    letters: BTreeMap<Uuid, Letter>,
    written: usize,
}

impl Outbox {
    /// Writes the next numbered letter, unless too many are open. Answers whether it did.
    pub(super) fn write(&mut self, device: &str, conversations: &[Uuid]) -> bool {
        if self.letters.len() >= LETTERS_MAX {
            return false;
        }
        self.written += 1;
        let letter = Letter {
            conversation: conversations[self.written % conversations.len()],
            content: format!("{device} #{}", self.written),
            state: State::Due(Instant::now(), false),
        };
        // Ids that grow: letters that wait together are tried in the order they were written.
        self.letters.insert(Uuid::now_v7(), letter);
        true
    }

    /// The frames of letters that are due, and how many of them are tried again.
    pub(super) fn due(&mut self) -> (Vec<Value>, usize) {
        let now = Instant::now();
        let asked = self.letters.values().filter(|letter| letter.state == State::Asked).count();
        let mut again = 0;
        let mut frames = Vec::new();
        for (id, letter) in &mut self.letters {
            let State::Due(at, repeated) = letter.state else { continue };
            if at <= now && asked + frames.len() < ASKED_MAX {
                letter.state = State::Asked;
                again += usize::from(repeated);
                let payload = json!({ "conversation": letter.conversation, "id": id, "content": letter.content });
                frames.push(json!({ "id": id, "type": "message.send", "payload": payload }));
            }
        }
        (frames, again)
    }

    /// The line was lost: whatever was asked has no answer and is tried again.
    pub(super) fn parted(&mut self) {
        for letter in self.letters.values_mut().filter(|letter| letter.state == State::Asked) {
            letter.state = State::Due(Instant::now(), true);
        }
    }

    /// The host said: not now.
    pub(super) fn refused(&mut self, id: Uuid) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.state = State::Due(Instant::now() + AGAIN_AFTER, true);
        }
    }

    /// A letter was acknowledged. Answers whether it was open.
    pub(super) fn acknowledged(&mut self, id: Uuid) -> bool {
        self.letters.remove(&id).is_some()
    }

    /// Letters without an acknowledgement.
    pub(super) fn open(&self) -> usize {
        self.letters.len()
    }
}
