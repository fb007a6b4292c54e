//! The counters and positions that the store holds of one user in one conversation.

use crate::ids::Seq;

/// The stored counters and positions of one user in one conversation, read at one instant. `None` means that the value
/// is missing; it never means zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterState {
    /// Unread messages over all conversations; `None` if the user is uncached.
    pub(crate) total: Option<i64>,
    /// Changes up to this sequence number were counted and published to the user.
    pub(crate) seq: Option<Seq>,
    /// The highest read position that was applied.
    pub(crate) read: Option<Seq>,
    /// Unread messages in this conversation.
    pub(crate) count: Option<i64>,
}
