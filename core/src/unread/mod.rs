//! Unread counters: exact, never negative, and rebuilt from the records whenever they are missing.
//!
//! A user is *cached* while the key `unread:total` exists and *uncached* otherwise; a missing counter is never read as
//! zero. For each conversation, `unread:seq` holds the sequence number up to which changes were counted **and
//! published** to the user. Whoever advances this position publishes, in the same transaction, every change between the
//! old and the new position. So a snapshot from the records may overtake an announcement that is still running without
//! losing an event, and a repeated announcement neither counts nor publishes anything twice.
//!
//! A client computes its counters from `message.new`. Whenever a counter or the read position moves by anything else,
//! the same transaction publishes `unread.update`. A user with a position in a conversation knows the conversation: the
//! transaction that writes the first position publishes `conversation.added`, and the one that removes it
//! `conversation.removed`.

pub(crate) mod rules;
mod use_cases;

pub use rules::{UnreadPage, page};
pub(crate) use use_cases::{
    MemberSnapshot, Target, Uncached, amend, count_lookup, fill_or_wait, missed_events, read_one, read_states,
    reconcile, recorded, stored_totals,
};
pub use use_cases::{forget, of_conversation, overview, repair, totals};

use std::collections::BTreeMap;

use crate::ids::{ConversationId, Seq};

/// All unread counters of one user, and the positions that a client needs to go on counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The counters of all conversations.
    pub totals: Totals,
    /// For each conversation the sequence number up to which changes are included in its counter.
    pub seqs: BTreeMap<ConversationId, Seq>,
    /// For each conversation the user's read position.
    pub reads: BTreeMap<ConversationId, Seq>,
}

/// All unread counters of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sum over all conversations.
    pub total: u64,
    /// The counter of every conversation that has been counted, including those with no unread message.
    pub conversations: BTreeMap<ConversationId, u64>,
}
