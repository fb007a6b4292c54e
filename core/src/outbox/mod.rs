//! Events for named users, in one atomic step with a change in any partition.
//!
//! A transaction changes the keys of one partition only, and each user's feed is in the partition of that user.
//! Therefore the transaction also writes an *entry* into an outbox in its own partition: the events and the users. The
//! state and the entry are durable together. Then the entry is delivered to the feeds, the calls of functions that it
//! causes are queued ([`crate::trigger`]), and the entry is removed. If the host dies in between, recovery goes on.
//!
//! An entry is written before the transaction has results. So a call that recovery makes does not have the results that
//! its event carries ([`crate::port::PublishedResult`]).
//!
//! 1. A *mark* says where an entry is going to be. It is written first, because the marks are the only list of entries.
//! 2. The transaction writes the entry.
//! 3. The events are delivered, each user in a transaction of their own. It writes a *receipt* in the user's partition
//!    and is refused if there is one, so that no feed receives an entry twice.
//! 4. The entry and its mark are removed. If nobody else has claimed the mark, nobody else can be delivering the entry,
//!    and the receipts are removed, too; otherwise they expire.
//!
//! Recovery claims marks that are older than [`crate::limits::OUTBOX_GRACE_MS`]. If there is an entry, it goes on with
//! step
//! 3. If there is none, the transaction was not carried out, or is still on its way: recovery writes a *void* for the
//! entry's id, which every transaction with an entry checks, and removes the mark.

mod entry;
mod mark;
mod rules;
#[cfg(test)]
mod tests;
mod use_cases;

use uuid::Uuid;

pub use self::use_cases::{CausedTrigger, DueShards, OutboxRecovery, OutboxRequest, commit, due_shards, recover};
use crate::ids::UserId;
use crate::key::Owner;
use crate::port::{KeyValue, StoreError};
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// A store whose transactions have no addressed events, and what the outbox needs besides it.
pub trait OutboxStore: KeyValue {
    /// The time on the store's clock.
    fn now(&self) -> Timestamp;

    /// An id that no other entry has.
    fn new_id(&self) -> Uuid;

    /// Is told what happens to entries and calls, for metrics and the log.
    fn report(&self, _event: &OutboxEvent<'_>) {}
}

/// What happens to an entry or to a call that it causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxEvent<'a> {
    /// A call was queued.
    TriggerQueued(&'a Trigger),
    /// A call is not made, because the queue of its function is full.
    TriggerDropped(&'a Trigger),
    /// A user cannot receive the events of an entry; the other users do.
    UserSkipped(UserId, &'a StoreError),
    /// An entry was given up.
    EntryDropped(Owner, Uuid),
}
