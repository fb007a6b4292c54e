//! Unread counters: exact, never negative, rebuilt from the records whenever they are missing.
//!
//! A user is *warm* while `unread:total` exists and *cold* otherwise; a missing counter is never taken for zero.
//! `unread:seq` says up to where each conversation has been counted **and announced** to the user: whoever moves that
//! position publishes, in the same transaction, everything it passes. So a snapshot from the records can overtake
//! an announcement that is under way without swallowing it, and a repetition counts and tells nothing twice.

pub(crate) mod rules;
mod use_cases;

pub(crate) use use_cases::{
    Cold, Target, count_look, fill, read_one, read_states, recorded, settle, steps, warm_totals,
};
pub use use_cases::{forget, of_conversation, totals};

use std::collections::BTreeMap;

use crate::ids::ConversationId;

/// Everything unread of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum over the conversations.
    pub total: u64,
    /// Every conversation that has been counted, those without unread messages among them.
    pub conversations: BTreeMap<ConversationId, u64>,
}
