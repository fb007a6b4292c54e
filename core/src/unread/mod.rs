//! Unread counters: exact, never negative, and rebuilt from the records whenever they are missing.
//!
//! A user is *cached* while the key `unread:total` exists and *uncached* otherwise; a missing counter is never read as
//! zero. For each conversation, `unread:seq` holds the sequence number up to which changes were counted **and published**
//! to the user. Whoever advances this position publishes, in the same transaction, every change between the old and
//! the new position. So a snapshot from the records may overtake an announcement that is still running without losing an
//! event, and a repeated announcement neither counts nor publishes anything twice.

pub(crate) mod rules;
mod use_cases;

pub use rules::{UnreadPage, page};
pub(crate) use use_cases::{
    Target, Uncached, count_lookup, encoded_changes, fill, read_one, read_states, reconcile, recorded, stored_totals,
};
pub use use_cases::{forget, of_conversation, totals};

use std::collections::BTreeMap;

use crate::ids::ConversationId;

/// All unread counters of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sum over all conversations.
    pub total: u64,
    /// The counter of every conversation that has been counted, including those with no unread message.
    pub conversations: BTreeMap<ConversationId, u64>,
}
