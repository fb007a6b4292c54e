//! What the store holds of a user in one conversation, read from one moment.

use crate::ids::Seq;

/// The stored counters and positions; `None` is missing, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterState {
    /// Over all conversations; missing: the user is cold.
    pub(crate) total: Option<i64>,
    /// Counted and announced up to here.
    pub(crate) seq: Option<Seq>,
    /// Read up to here.
    pub(crate) read: Option<Seq>,
    /// Unread in this conversation.
    pub(crate) count: Option<i64>,
}
