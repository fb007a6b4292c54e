//! The directory of all users and conversations: the host's own view of the records, for checks that go through all of
//! them. Functions never see it.

use std::future::Future;

use super::Answer;
use crate::ids::{ConversationId, UserId};

/// Pages of everything that the live state may be about. `limit` is 1 to [`crate::limits::LIST_MAX`].
///
/// Each page is a consistent snapshot of its own. A user or conversation that appears or disappears between two pages
/// may be missing; every other one is listed exactly once.
pub trait Directory: Send + Sync {
    /// The users above `after` who are a member of some conversation, in ascending order. Fewer than `limit`: there
    /// are no more.
    fn users(&self, after: Option<UserId>, limit: u32) -> impl Future<Output = Answer<Vec<UserId>>> + Send;

    /// The conversations above `after`, in ascending order. Fewer than `limit`: there are no more.
    fn conversation_ids(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<ConversationId>>> + Send;
}
