//! Where users stand in conversations: counters, read positions, and the changes they have not seen.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port;
use serde::{Deserialize, Serialize};

use super::message::Change;
use super::{both_ways, in_order, list};

/// `contacts`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::contacts`")]
pub struct OfUser {
    pub user: UserId,
}

/// `membership`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::membership`")]
pub struct OfMember {
    pub conversation: ConversationId,
    pub user: UserId,
}

/// A user's standing in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Counter`, described in docs/records-http.md")]
pub struct Counter {
    pub conversation: ConversationId,
    pub count: u64,
    pub seq: Seq,
    pub joined: Seq,
    pub read: Seq,
    pub announced: Seq,
}

both_ways!(
    Counter,
    port::Counter {
        conversation: conversation,
        count: count,
        seq: seq,
        joined: joined,
        read: read,
        announced: announced,
    }
);

/// `mark-read`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::mark_read`")]
pub struct MarkRead {
    pub user: UserId,
    pub conversation: ConversationId,
    pub up_to: Option<Seq>,
}

/// The answer to `mark-read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ReadMark`")]
pub struct ReadMark {
    pub counter: Counter,
    pub moved: bool,
    #[serde(deserialize_with = "in_order")]
    pub members: Vec<UserId>,
}

both_ways!(ReadMark, port::ReadMark { counter: counter, moved: moved, members: members });

/// `unread`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::unread`")]
pub struct ReadUnread {
    pub requests: Vec<UnreadRequest>,
}

/// Whose standing, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::UnreadRequest`")]
pub struct UnreadRequest {
    pub user: UserId,
    pub conversations: Option<Vec<ConversationId>>,
}

both_ways!(UnreadRequest, port::UnreadRequest { user: user, conversations: conversations });

/// The answer to `unread`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct UnreadSnapshots {
    pub snapshots: Vec<UnreadSnapshot>,
}

/// A user's standings at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::UnreadSnapshot`")]
pub struct UnreadSnapshot {
    pub user: UserId,
    pub counters: Vec<Counter>,
}

impl From<port::UnreadSnapshot> for UnreadSnapshot {
    fn from(snapshot: port::UnreadSnapshot) -> Self {
        Self { user: snapshot.user, counters: list(snapshot.counters) }
    }
}

impl From<UnreadSnapshot> for port::UnreadSnapshot {
    /// A backend need not sort.
    fn from(snapshot: UnreadSnapshot) -> Self {
        let mut counters: Vec<port::Counter> = list(snapshot.counters);
        counters.sort_by_key(|counter| counter.conversation);
        Self { user: snapshot.user, counters }
    }
}

/// `changes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::changes`")]
pub struct ReadChanges {
    pub ranges: Vec<ChangeRange>,
}

/// Changes with `after < seq <= up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ChangeRange`")]
pub struct ChangeRange {
    pub conversation: ConversationId,
    pub after: Seq,
    pub up_to: Seq,
}

both_ways!(ChangeRange, port::ChangeRange { conversation: conversation, after: after, up_to: up_to });

/// The answer to `changes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a list for each range, in the order asked")]
pub struct ChangeLists {
    pub changes: Vec<Vec<Change>>,
}
