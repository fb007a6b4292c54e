//! Everybody there is, in pages.

use roost_core::ids::{ConversationId, UserId};
use serde::{Deserialize, Serialize};

/// `users` and `conversation-ids`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Directory::users`")]
pub struct ReadIds<I> {
    pub after: Option<I>,
    pub limit: u32,
}

/// The answer to `users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in ascending order")]
pub struct Users {
    pub users: Vec<UserId>,
}

/// The answer to `conversation-ids`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in ascending order")]
pub struct ConversationIds {
    pub conversations: Vec<ConversationId>,
}
