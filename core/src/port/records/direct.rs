//! Pairs: the one conversation that two users have with each other.

use crate::ids::UserId;
use crate::time::Timestamp;

/// Asks for the pair of two users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectRequest {
    /// The user who asks, and becomes the creator of a new pair.
    pub user: UserId,
    /// The other user.
    pub other: UserId,
    /// Whether a pair that does not exist is created. The host decides: it is `false` for a user who may not add the
    /// other one to a conversation. Functions set it to `true`.
    pub may_create: bool,
    /// The time of the request.
    pub at: Timestamp,
}

impl DirectRequest {
    /// The two users, in ascending order.
    pub fn users(&self) -> [UserId; 2] {
        if self.user < self.other { [self.user, self.other] } else { [self.other, self.user] }
    }
}
