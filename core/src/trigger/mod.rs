//! Calls of functions that publications cause, in one queue for each function.
//!
//! A queue is in the store, so that a call survives the host that queued it. A host claims a call by a lease, makes it,
//! and removes it; if the host dies, the lease ends and another host makes the call again. Therefore a call is made at
//! least once, and its id tells the function whether it has seen the publication before.
//!
//! A queue is bounded in entries and bytes. Whoever publishes only adds to the queue and never waits for the function.

mod queue;
mod rules;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::queue::{
    ClaimedTrigger, DropReason, DroppedTrigger, EnqueueOutcome, QueueClaim, claim, enqueue, finish, length, postpone,
};
pub use self::rules::retry_after_ms;
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::TRIGGER_USERS_MAX;
use crate::port::Event;

/// A call that a publication causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The function to call.
    pub function: String,
    /// The same for every call about the same publication: at most 57 bytes of `a-z`, `0-9`, `.` and `-`.
    pub id: String,
    /// The event that was published.
    pub event: Event,
    /// The users to whom it was published, at most [`TRIGGER_USERS_MAX`] of them.
    pub users: Vec<UserId>,
    /// How many publications led to this one, each made by a function that was called for the one before.
    pub depth: u32,
}

impl Trigger {
    /// Names each user once, and no more users than a call may name.
    pub fn limit_users(&mut self) {
        self.users.sort_unstable();
        self.users.dedup();
        self.users.truncate(TRIGGER_USERS_MAX);
    }
}

/// The id of the trigger for a change of a conversation. It is the same however often the change is announced.
pub fn change_id(conversation: ConversationId, seq: Seq) -> String {
    format!("{conversation}.{seq}")
}
