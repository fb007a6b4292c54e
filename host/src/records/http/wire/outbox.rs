//! The outbox: what is not announced yet, the attempts of recovery, and the confirmations.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::messages::Changed;
use super::{both_ways, list};

/// The question of `pending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::PendingQuery`")]
pub struct ReadPending {
    pub tried: bool,
    pub before: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub limit: u32,
}

both_ways!(ReadPending, port::PendingQuery { tried: tried, before: before, cursor: cursor, limit: limit });

/// The answer to `pending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order of the question")]
pub struct PendingPage {
    pub pending: Vec<PendingItem>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl From<port::PendingPage> for PendingPage {
    fn from(page: port::PendingPage) -> Self {
        Self { pending: list(page.items), next_cursor: page.next }
    }
}

impl From<PendingPage> for port::PendingPage {
    fn from(page: PendingPage) -> Self {
        Self { items: list(page.pending), next: page.next_cursor }
    }
}

/// An item of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::PendingItem`, described in docs/records-http.md")]
pub struct PendingItem {
    #[serde(flatten)]
    pub pending: Pending,
    pub since: Timestamp,
    pub attempts: u32,
}

both_ways!(PendingItem, port::PendingItem { pending: pending, since: since, attempts: attempts });

/// A stored change or move whose announcement is not confirmed.
#[allow(clippy::large_enum_variant, reason = "most items of a page are changes")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::Pending`, described in docs/records-http.md")]
pub enum Pending {
    Changed(Changed),
    Member { conversation: ConversationId, user: UserId, moves: u64 },
    Membership { conversation: ConversationId, user: UserId, moves: u64 },
    Creation { conversation: ConversationId, moves: u64 },
    Contact { user: UserId, other: UserId, moves: u64 },
}

impl From<port::Pending> for Pending {
    fn from(pending: port::Pending) -> Self {
        match pending {
            port::Pending::Change(changed) => Self::Changed(changed.into()),
            port::Pending::Member(conversation, user, moves) => Self::Member { conversation, user, moves },
            port::Pending::Membership(conversation, user, moves) => Self::Membership { conversation, user, moves },
            port::Pending::Creation(conversation, moves) => Self::Creation { conversation, moves },
            port::Pending::Contact(user, other, moves) => Self::Contact { user, other, moves },
        }
    }
}

impl From<Pending> for port::Pending {
    fn from(pending: Pending) -> Self {
        match pending {
            Pending::Changed(changed) => Self::Change(changed.into()),
            Pending::Member { conversation, user, moves } => Self::Member(conversation, user, moves),
            Pending::Membership { conversation, user, moves } => Self::Membership(conversation, user, moves),
            Pending::Creation { conversation, moves } => Self::Creation(conversation, moves),
            Pending::Contact { user, other, moves } => Self::Contact(user, other, moves),
        }
    }
}

/// The question of `announced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::announced`")]
pub struct Announced {
    pub confirmations: Vec<Confirmation>,
}

/// A change, or moves, that have been announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::Confirmation`")]
pub enum Confirmation {
    Change { conversation: ConversationId, seq: Seq },
    Member { conversation: ConversationId, user: UserId, moves: u64 },
    Membership { conversation: ConversationId, user: UserId, moves: u64 },
    Creation { conversation: ConversationId, moves: u64 },
    Contact { user: UserId, other: UserId, moves: u64 },
}

impl From<port::Confirmation> for Confirmation {
    fn from(confirmation: port::Confirmation) -> Self {
        match confirmation {
            port::Confirmation::Change(conversation, seq) => Self::Change { conversation, seq },
            port::Confirmation::Member(conversation, user, moves) => Self::Member { conversation, user, moves },
            port::Confirmation::Membership(conversation, user, moves) => Self::Membership { conversation, user, moves },
            port::Confirmation::Creation(conversation, moves) => Self::Creation { conversation, moves },
            port::Confirmation::Contact(user, other, moves) => Self::Contact { user, other, moves },
        }
    }
}

impl From<Confirmation> for port::Confirmation {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation::Change { conversation, seq } => Self::Change(conversation, seq),
            Confirmation::Member { conversation, user, moves } => Self::Member(conversation, user, moves),
            Confirmation::Membership { conversation, user, moves } => Self::Membership(conversation, user, moves),
            Confirmation::Creation { conversation, moves } => Self::Creation(conversation, moves),
            Confirmation::Contact { user, other, moves } => Self::Contact(user, other, moves),
        }
    }
}

/// The question of `postpone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::postpone`")]
pub struct Postpone {
    pub postponements: Vec<Postponement>,
}

/// When recovery tries to announce an item again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Postponement`")]
pub struct Postponement {
    #[serde(flatten)]
    pub item: PendingId,
    pub attempts: u32,
    pub next_time: Timestamp,
}

both_ways!(Postponement, port::Postponement { item: item, attempts: attempts, next_time: next_time });

/// Identifies an item of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::PendingId`")]
pub enum PendingId {
    Change { conversation: ConversationId, seq: Seq },
    Member { conversation: ConversationId, user: UserId },
    Membership { conversation: ConversationId, user: UserId },
    Creation { conversation: ConversationId },
    Contact { user: UserId, other: UserId },
}

impl From<port::PendingId> for PendingId {
    fn from(id: port::PendingId) -> Self {
        match id {
            port::PendingId::Change(conversation, seq) => Self::Change { conversation, seq },
            port::PendingId::Member(conversation, user) => Self::Member { conversation, user },
            port::PendingId::Membership(conversation, user) => Self::Membership { conversation, user },
            port::PendingId::Creation(conversation) => Self::Creation { conversation },
            port::PendingId::Contact(user, other) => Self::Contact { user, other },
        }
    }
}

impl From<PendingId> for port::PendingId {
    fn from(id: PendingId) -> Self {
        match id {
            PendingId::Change { conversation, seq } => Self::Change(conversation, seq),
            PendingId::Member { conversation, user } => Self::Member(conversation, user),
            PendingId::Membership { conversation, user } => Self::Membership(conversation, user),
            PendingId::Creation { conversation } => Self::Creation(conversation),
            PendingId::Contact { user, other } => Self::Contact(user, other),
        }
    }
}
