//! Users: their contacts and blocks, their read positions and unread counters.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port;
use serde::{Deserialize, Serialize};

use super::{both_ways, in_order, list};

/// The question of `contacts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::contacts`")]
pub struct ReadContacts {
    pub user: UserId,
}

/// The answer to `contacts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "those the user has added")]
pub struct Contacts {
    #[serde(deserialize_with = "in_order")]
    pub contacts: Vec<UserId>,
}

/// The question of `blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::blocks`")]
pub struct ReadBlocks {
    pub user: UserId,
}

/// The answer to `blocks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "those the user has blocked")]
pub struct BlockedUsers {
    #[serde(deserialize_with = "in_order")]
    pub blocked: Vec<UserId>,
}

/// The question of `add-contact` and `remove-contact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::add_contact`")]
pub struct Contact {
    pub user: UserId,
    pub contact: UserId,
}

/// The question of `block` and `unblock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::block`")]
pub struct Blocked {
    pub user: UserId,
    pub blocked: UserId,
}

/// The question of `relation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::relation`")]
pub struct ReadRelation {
    pub user: UserId,
    pub other: UserId,
}

/// The answer to `relation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Relation`, described in docs/records-http.md")]
pub struct Relation {
    pub contact: bool,
    pub blocked: bool,
    pub contact_of: bool,
    pub blocked_by: bool,
}

both_ways!(
    Relation,
    port::Relation { contact: contact, blocked: blocked, contact_of: contact_of, blocked_by: blocked_by }
);

/// The question of `audience`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::audience`")]
pub struct ReadAudience {
    pub users: Vec<UserId>,
}

/// The answer to `audience`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct Audiences {
    pub audiences: Vec<Audience>,
}

/// The users who may see a user's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ContactAudience`")]
pub struct Audience {
    pub user: UserId,
    #[serde(deserialize_with = "in_order")]
    pub visible: Vec<UserId>,
}

both_ways!(Audience, port::ContactAudience { user: user, visible: visible });

/// A user's unread counter and read position in a conversation.
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

/// The question of `mark-read`.
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
    pub member_count: u32,
    pub audience: Vec<UserId>,
}

both_ways!(ReadMark, port::ReadMark { counter: counter, moved: moved, member_count: member_count, audience: audience });

/// The question of `unread`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::unread`")]
pub struct ReadUnread {
    pub requests: Vec<UnreadRequest>,
}

/// The user and the conversations whose counters are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::UnreadRequest`")]
pub struct UnreadRequest {
    pub user: UserId,
    pub conversations: Option<Vec<ConversationId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ConversationId>,
}

both_ways!(UnreadRequest, port::UnreadRequest { user: user, conversations: conversations, after: after });

/// The answer to `unread`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct UnreadSnapshots {
    pub snapshots: Vec<UnreadSnapshot>,
}

/// A user's counters, from one consistent snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::UnreadSnapshot`")]
pub struct UnreadSnapshot {
    pub user: UserId,
    pub counters: Vec<Counter>,
    #[serde(default)]
    pub more: bool,
}

impl From<port::UnreadSnapshot> for UnreadSnapshot {
    fn from(snapshot: port::UnreadSnapshot) -> Self {
        Self { user: snapshot.user, counters: list(snapshot.counters), more: snapshot.more }
    }
}

impl From<UnreadSnapshot> for port::UnreadSnapshot {
    /// Sorts the counters, because a backend need not.
    fn from(snapshot: UnreadSnapshot) -> Self {
        let mut counters: Vec<port::Counter> = list(snapshot.counters);
        counters.sort_by_key(|counter| counter.conversation);
        Self { user: snapshot.user, counters, more: snapshot.more }
    }
}
