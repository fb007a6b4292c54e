//! How deletions reached the counters: without a snapshot, for members who had read the message and for members who had
//! not, or refused. Tests require enough of each, because a run without them proves nothing about the others.

use roost_core::key::Space;
use roost_core::port::{Check, Mutation, Outcome, Transaction};

/// The transactions that announced a deletion to somebody other than its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeletionOutcomes {
    /// The message was unread and counted no more.
    pub unread: u64,
    /// The message had been read.
    pub read: u64,
    /// The member had another position, and took a snapshot.
    pub refused: u64,
}

impl DeletionOutcomes {
    /// Counts the transaction, if it announces a deletion.
    pub(crate) fn note(&mut self, transaction: &Transaction, outcome: &Outcome) {
        if !announces_deletion(transaction) {
            return;
        }
        match outcome {
            Outcome::Committed(_) if takes_unread(transaction) => self.unread += 1,
            Outcome::Committed(_) => self.read += 1,
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Failed(_) => {}
        }
    }

    /// The sums of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { unread: self.unread + other.unread, read: self.read + other.read, refused: self.refused + other.refused }
    }
}

/// Whether the transaction announces a deletion to a member who did not write the message: it moves the position of
/// what was counted on the condition of what was read, and replaces no counter.
pub(crate) fn announces_deletion(transaction: &Transaction) -> bool {
    let moves =
        |mutation: &Mutation| matches!(mutation, Mutation::SetFields(key, _) if key.space == Space::UnreadSequence);
    let replaces =
        |mutation: &Mutation| matches!(mutation, Mutation::Set(key, ..) if key.space == Space::UnreadConversation);
    transaction.mutations.iter().any(moves)
        && transaction.checks.iter().any(is_about_reading)
        && !transaction.mutations.iter().any(replaces)
}

/// Whether the check is about what the user has read.
pub(crate) fn is_about_reading(check: &Check) -> bool {
    check.key().space == Space::UnreadRead
}

/// Whether the transaction takes from a counter.
pub(crate) fn takes_unread(transaction: &Transaction) -> bool {
    let takes = |mutation: &Mutation| matches!(mutation, Mutation::Add { key, delta, .. } if key.space == Space::UnreadConversation && *delta < 0);
    transaction.mutations.iter().any(takes)
}
