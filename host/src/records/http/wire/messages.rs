//! Messages and their changes.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::limits::{CONTENT_BYTES_MAX, KIND_BYTES_MAX};
use roost_core::port;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{both_ways, bounded, in_order, list};

/// A message as it stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Message`, described in docs/records-http.md")]
pub struct Message {
    pub id: MessageId,
    pub conversation: ConversationId,
    pub seq: Seq,
    pub sender_id: UserId,
    #[serde(rename = "type", deserialize_with = "bounded::<_, KIND_BYTES_MAX>")]
    pub kind: String,
    #[serde(deserialize_with = "bounded::<_, CONTENT_BYTES_MAX>")]
    pub content: String,
    pub created_at: Timestamp,
    #[serde(default)]
    pub edited_at: Option<Timestamp>,
    #[serde(default)]
    pub deleted: bool,
}

both_ways!(
    Message,
    port::Message {
        id: id,
        conversation: conversation,
        seq: seq,
        sender_id: sender,
        kind: kind,
        content: content,
        created_at: created_at,
        edited_at: edited_at,
        deleted: deleted,
    }
);

/// What a change did to its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "as `roost_core::port::ChangeKind`")]
pub enum ChangeKind {
    Sent,
    Edited,
    Deleted,
}

impl From<port::ChangeKind> for ChangeKind {
    fn from(kind: port::ChangeKind) -> Self {
        match kind {
            port::ChangeKind::Sent => Self::Sent,
            port::ChangeKind::Edited => Self::Edited,
            port::ChangeKind::Deleted => Self::Deleted,
        }
    }
}

impl From<ChangeKind> for port::ChangeKind {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Sent => Self::Sent,
            ChangeKind::Edited => Self::Edited,
            ChangeKind::Deleted => Self::Deleted,
        }
    }
}

/// A change of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Change`")]
pub struct Change {
    pub seq: Seq,
    pub kind: ChangeKind,
    pub message: Message,
}

both_ways!(Change, port::Change { seq: seq, kind: kind, message: message });

/// The answer to `append-message`, `edit-message` and `delete-message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Changed`")]
pub struct Changed {
    pub change: Change,
    #[serde(deserialize_with = "in_order")]
    pub members: Vec<UserId>,
    #[serde(default)]
    pub repeated: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<ReadPosition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastMessage>,
}

impl From<port::Changed> for Changed {
    fn from(changed: port::Changed) -> Self {
        Self {
            change: changed.change.into(),
            members: changed.members,
            repeated: changed.repeated,
            positions: list(changed.positions),
            last: changed.last.map(Into::into),
        }
    }
}

impl From<Changed> for port::Changed {
    fn from(changed: Changed) -> Self {
        Self {
            change: changed.change.into(),
            members: changed.members,
            repeated: changed.repeated,
            positions: list(changed.positions),
            last: changed.last.map(Into::into),
        }
    }
}

/// Where a member stood when an edit or a deletion was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ReadPosition`")]
pub struct ReadPosition {
    pub user: UserId,
    pub joined: Seq,
    pub read: Seq,
}

both_ways!(ReadPosition, port::ReadPosition { user: user, joined: joined, read: read });

/// The question of `append-message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Draft`")]
pub struct AppendMessage {
    pub conversation: ConversationId,
    pub sender_id: UserId,
    pub id: Option<MessageId>,
    #[serde(rename = "type")]
    pub kind: String,
    pub content: String,
    pub at: Timestamp,
}

both_ways!(
    AppendMessage,
    port::Draft { conversation: conversation, sender_id: sender, id: id, kind: kind, content: content, at: at }
);

/// The question of `edit-message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Edit`")]
pub struct EditMessage {
    pub conversation: ConversationId,
    pub id: MessageId,
    pub editor: UserId,
    pub content: String,
    pub at: Timestamp,
}

both_ways!(
    EditMessage,
    port::Edit { conversation: conversation, id: message, editor: editor, content: content, at: at }
);

/// The question of `delete-message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::delete_message`")]
pub struct DeleteMessage {
    pub conversation: ConversationId,
    pub id: MessageId,
    pub actor: Option<UserId>,
    pub at: Timestamp,
}

/// The question of `last-messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the argument of `Records::last_messages`")]
pub struct ReadLastMessages {
    pub conversations: Vec<ConversationId>,
}

/// The answer to `last-messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked")]
pub struct LastMessages {
    pub last_messages: Vec<LastMessage>,
}

/// A conversation's newest message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::LastMessage`")]
pub struct LastMessage {
    pub conversation: ConversationId,
    pub version: Seq,
    pub message: Option<Message>,
}

impl From<port::LastMessage> for LastMessage {
    fn from(last: port::LastMessage) -> Self {
        Self { conversation: last.conversation, version: last.version, message: last.message.map(Into::into) }
    }
}

impl From<LastMessage> for port::LastMessage {
    fn from(last: LastMessage) -> Self {
        Self { conversation: last.conversation, version: last.version, message: last.message.map(Into::into) }
    }
}

/// The question of `changes`.
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

/// The question of `messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::MessagesQuery`")]
pub struct ReadMessages {
    pub user: UserId,
    pub conversation: ConversationId,
    pub messages: Vec<MessageId>,
}

both_ways!(ReadMessages, port::MessagesQuery { user: user, conversation: conversation, messages: messages });

/// The answer to `messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "in the order asked; `None` for a message that the user may not see")]
pub struct Messages {
    pub messages: Vec<Option<Message>>,
}
