//! What is stored and not announced yet, and the confirmations that end it.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::message::Changed;

/// `pending`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::pending`")]
pub struct ReadPending {
    pub before: Timestamp,
    pub limit: u32,
}

/// The answer to `pending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "oldest first")]
pub struct PendingPage {
    pub pending: Vec<Pending>,
}

/// Something whose announcement nobody confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::Pending`, described in docs/records-http.md")]
pub enum Pending {
    Changed(Changed),
    Member { conversation: ConversationId, user: UserId },
}

impl From<port::Pending> for Pending {
    fn from(pending: port::Pending) -> Self {
        match pending {
            port::Pending::Change(changed) => Self::Changed(changed.into()),
            port::Pending::Member(conversation, user) => Self::Member { conversation, user },
        }
    }
}

impl From<Pending> for port::Pending {
    fn from(pending: Pending) -> Self {
        match pending {
            Pending::Changed(changed) => Self::Change(changed.into()),
            Pending::Member { conversation, user } => Self::Member(conversation, user),
        }
    }
}

/// `announced`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::announced`")]
pub struct Announced {
    pub confirmations: Vec<Confirmation>,
}

/// What has been announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::Confirmation`")]
pub enum Confirmation {
    Change { conversation: ConversationId, seq: Seq },
    Member { conversation: ConversationId, user: UserId },
}

impl From<port::Confirmation> for Confirmation {
    fn from(confirmation: port::Confirmation) -> Self {
        match confirmation {
            port::Confirmation::Change(conversation, seq) => Self::Change { conversation, seq },
            port::Confirmation::Member(conversation, user) => Self::Member { conversation, user },
        }
    }
}

impl From<Confirmation> for port::Confirmation {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation::Change { conversation, seq } => Self::Change(conversation, seq),
            Confirmation::Member { conversation, user } => Self::Member(conversation, user),
        }
    }
}
