//! The payloads of the events of Roost, apart from messages, presence and conversations, which answers show as well.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::time::Timestamp;

/// The payload of `message.deleted`.
#[derive(JsonSchema, Serialize)]
pub struct DeletedPayload {
    /// The conversation of the message.
    pub conversation: ConversationId,
    /// The message that was deleted.
    pub id: MessageId,
    /// The sequence number under which the message was sent.
    pub seq: Seq,
}

/// The payload of `message.read_update`.
#[derive(JsonSchema, Serialize)]
pub struct ReadUpdatePayload {
    /// The conversation that was read.
    pub conversation: ConversationId,
    /// The member who has read.
    pub reader: UserId,
    /// The reader's position: every message up to this sequence number is read.
    pub up_to: Seq,
}

/// The payload of `unread.update`.
#[derive(JsonSchema, Serialize)]
pub struct UnreadUpdatePayload {
    /// The conversation whose counter moved.
    pub conversation: ConversationId,
    /// The messages that are unread in this conversation.
    pub unread: u64,
    /// The messages that are unread in all conversations together.
    pub total: u64,
    /// The user's own read position: every message up to this sequence number is read.
    pub read: Seq,
    /// The changes up to this sequence number are included in `unread`. A `message.new` above it adds one.
    pub seq: Seq,
}

/// The payload of `unread.update` without the counters, which are results of the transaction that publishes it.
#[derive(Serialize)]
pub(super) struct CountedPositionPayload {
    /// The conversation whose counter moves.
    pub(super) conversation: ConversationId,
    /// The user's own read position.
    pub(super) read: Seq,
    /// The changes up to this sequence number are included in the counter.
    pub(super) seq: Seq,
}

/// The payload of `conversation.members`.
#[derive(JsonSchema, Serialize)]
pub struct MembersPayload<'a> {
    /// The conversation whose members changed.
    pub conversation: ConversationId,
    /// The users who are members now.
    pub added: &'a [UserId],
    /// The users who are no members any more.
    pub removed: &'a [UserId],
    /// The number of all members.
    pub member_count: u64,
}

/// The payload of `conversation.removed`.
#[derive(JsonSchema, Serialize)]
pub struct RemovedPayload {
    /// The conversation that the user is no member of any more.
    pub conversation: ConversationId,
    /// The messages that are unread in all other conversations together.
    pub total: u64,
}

/// The payload of `contact.update`.
#[derive(JsonSchema, Serialize)]
pub struct ContactPayload {
    /// The other user.
    pub user: UserId,
    /// Whether the other user is a contact.
    pub contact: bool,
    /// Whether the other user is blocked.
    pub blocked: bool,
}

/// The payload of `user.erased`.
#[derive(JsonSchema, Serialize)]
pub struct ErasedPayload {
    /// The user who is erased.
    pub user: UserId,
}

/// The payload of `resync` as an event. The frame has the position of the feed as well.
#[derive(JsonSchema, Serialize)]
pub struct ResyncPayload {
    /// The reason why the client loads the present state.
    pub reason: PublishedResyncReason,
}

/// Why a `resync` takes the place of events in a feed. A host has reasons of its own, which no feed contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishedResyncReason {
    /// Too many events were waiting for this user at once, and were replaced by this one.
    Behind,
}

/// The payload of `user.online` and `user.offline`.
#[derive(JsonSchema, Serialize)]
pub struct PresencePayload {
    /// The user whose presence this is.
    pub user: UserId,
    /// The time of the last heartbeat. `null` if the user was never seen, or may not be seen any more.
    pub last_seen: Option<Timestamp>,
    /// The number of the transition. A transition with the same or a lower number is older and can be dropped.
    pub generation: u64,
}

/// The payload of `typing`.
#[derive(JsonSchema, Serialize)]
pub struct TypingPayload {
    /// The conversation in which the user is typing.
    pub conversation: ConversationId,
    /// The member who is typing.
    pub user: UserId,
}
