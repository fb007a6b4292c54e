//! Who there is: the host's own view of the records, for going through everybody. Functions never see it.

use std::future::Future;

use super::Answer;
use crate::ids::{ConversationId, UserId};

/// Pages of everything that the live state may be about. `limit` is 1 to [`crate::limits::LIST_MAX`].
///
/// A page is a moment of its own: who comes or goes between two pages may be met or not, and everybody else is met
/// exactly once.
pub trait Directory: Send + Sync {
    /// The users above `after` who are a member of some conversation, in ascending order; fewer than `limit`: there
    /// are no more.
    fn users(&self, after: Option<UserId>, limit: u32) -> impl Future<Output = Answer<Vec<UserId>>> + Send;

    /// The conversations above `after`, in ascending order; fewer than `limit`: there are no more.
    fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<ConversationId>>> + Send;
}
