//! Erasing a user, step by step.

use super::Changed;
use crate::ids::{ConversationId, UserId};

/// The creator of a conversation whose creator was erased. No user has this id.
pub const NOBODY: UserId = UserId::from_u128(0);

/// What one step of erasing a user has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The conversations of which the user is no member any more.
    pub left: Vec<ConversationId>,
    /// The messages of the user that were deleted.
    pub deleted: Vec<Changed>,
    /// The users who had added or blocked the user and do so no more.
    pub related: Vec<UserId>,
    /// Nothing of the user is left but deleted messages.
    pub done: bool,
}
