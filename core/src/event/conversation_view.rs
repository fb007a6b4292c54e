//! A conversation on the wire, as one of its members sees it: in a page, in an answer, and in `conversation.added`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::MessageView;
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::port::{Conversation, Counter, Message};
use crate::time::Timestamp;

/// A conversation on the wire.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ConversationView<'a> {
    /// The conversation's id.
    pub id: ConversationId,
    /// Whether this is the one pair of two users, whose members do not change.
    pub direct: bool,
    /// The first members of the conversation, at most 20, ordered by id.
    pub members: &'a [UserId],
    /// The number of all members.
    pub member_count: u64,
    /// The read position of every member, where there are at most 8. Empty otherwise. A member who has a block with the
    /// user, in either direction, is shown as having read nothing since joining.
    pub reads: BTreeMap<UserId, Seq>,
    /// The newest message that the user may see. `null` if there is none.
    pub last_message: Option<MessageView<'a>>,
    /// The messages that the user has not read.
    pub unread: u64,
    /// The changes up to this sequence number are included in `unread`: a `message.new` above it adds one.
    pub seq: Seq,
    /// The user's own read position: every message up to this sequence number is read.
    pub read: Seq,
    /// The time of the newest message, or of the creation if there was none.
    pub updated_at: Timestamp,
}

impl<'a> ConversationView<'a> {
    /// A conversation as the member with this counter sees it. `last` is its newest message.
    pub fn of_member(conversation: &'a Conversation, last: Option<&'a Message>, counter: &Counter) -> Self {
        Self {
            id: conversation.id,
            direct: conversation.direct,
            members: &conversation.members,
            member_count: conversation.member_count,
            reads: conversation.members.iter().copied().zip(conversation.reads.iter().copied()).collect_by_insertion(),
            last_message: last.filter(|message| message.seq > counter.joined).map(MessageView::from),
            unread: counter.count,
            seq: counter.seq,
            read: counter.read,
            updated_at: conversation.updated_at,
        }
    }
}
