//! Erasing a user, step by step.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::list;
use super::messages::Changed;

/// The question of `erase-user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::erase_user`")]
pub struct EraseUser {
    pub user: UserId,
    pub at: Timestamp,
}

/// The answer to `erase-user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Erased`")]
pub struct Erased {
    #[serde(default)]
    pub left: Vec<ConversationId>,
    #[serde(default)]
    pub deleted: Vec<Changed>,
    #[serde(default)]
    pub related: Vec<UserId>,
    pub done: bool,
}

impl From<port::Erased> for Erased {
    fn from(erased: port::Erased) -> Self {
        Self { left: erased.left, deleted: list(erased.deleted), related: erased.related, done: erased.done }
    }
}

impl From<Erased> for port::Erased {
    fn from(erased: Erased) -> Self {
        Self { left: erased.left, deleted: list(erased.deleted), related: erased.related, done: erased.done }
    }
}
