//! Compares the messages that a host accepted from a client with the history of the conversation and with what the
//! socket of the other member received.

use std::collections::BTreeMap;

/// The messages that are not exactly where they must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCheck {
    /// The number of messages that a host accepted.
    pub accepted: usize,
    /// Accepted messages that are not in the history.
    pub lost: usize,
    /// Messages that are in the history more than once.
    pub repeated: usize,
    /// Accepted messages that the socket did not receive.
    pub not_received: usize,
    /// Messages that the socket received more than once.
    pub received_again: usize,
}

impl MessageCheck {
    /// Compares the ids of the messages of one conversation.
    pub fn of(accepted: &[String], history: &[String], received: &[String]) -> Self {
        let (recorded, pushed) = (counts(history), counts(received));
        let missing =
            |found: &BTreeMap<&str, usize>| accepted.iter().filter(|id| !found.contains_key(id.as_str())).count();
        let repeated = |found: &BTreeMap<&str, usize>| found.values().filter(|count| **count > 1).count();
        Self {
            accepted: accepted.len(),
            lost: missing(&recorded),
            repeated: repeated(&recorded),
            not_received: missing(&pushed),
            received_again: repeated(&pushed),
        }
    }

    /// Adds the messages of another conversation or phase.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.not_received += other.not_received;
        self.received_again += other.received_again;
    }

    /// Whether every accepted message is in the history and was received exactly once.
    pub const fn is_intact(&self) -> bool {
        self.lost + self.repeated + self.not_received + self.received_again == 0
    }
}

fn counts(ids: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}
