//! Conversations and their members, pages of conversations and of their messages, and the directory.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::limits::{MEMBERS_SHOWN_MAX, PAGE_DEFAULT, READS_SHOWN_MAX};
use roost_core::port;
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::messages::Message;
use super::{both_ways, in_order, list};

/// The question of `membership`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::membership`")]
pub struct ReadMembership {
    pub conversation: ConversationId,
    pub user: UserId,
}

/// The answer to `membership`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Membership`, described in docs/records-http.md")]
pub struct Membership {
    pub joined: Seq,
    #[serde(deserialize_with = "in_order")]
    pub members: Vec<UserId>,
    #[serde(default)]
    pub blocked: bool,
}

both_ways!(Membership, port::Membership { joined: joined, members: members, blocked: blocked });

/// A conversation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Conversation`")]
pub struct Conversation {
    pub id: ConversationId,
    #[serde(default)]
    pub direct: bool,
    pub members: Vec<UserId>,
    pub member_count: u64,
    #[serde(default)]
    pub reads: BTreeMap<UserId, Seq>,
    pub read: Seq,
    pub joined: Seq,
    pub updated_at: Timestamp,
}

impl From<port::Conversation> for Conversation {
    fn from(conversation: port::Conversation) -> Self {
        Self {
            id: conversation.id,
            direct: conversation.direct,
            reads: conversation.members.iter().copied().zip(conversation.reads).collect(),
            members: conversation.members,
            member_count: conversation.member_count,
            read: conversation.read,
            joined: conversation.joined,
            updated_at: conversation.updated_at,
        }
    }
}

impl From<Conversation> for port::Conversation {
    /// Sorts the members and leaves out those that are too many, because a backend need not.
    fn from(conversation: Conversation) -> Self {
        let mut members = conversation.members;
        members.sort_unstable();
        members.dedup();
        members.truncate(MEMBERS_SHOWN_MAX);
        let member_count = conversation.member_count.max(members.len() as u64);
        let reads: Vec<Seq> = members.iter().filter_map(|member| conversation.reads.get(member).copied()).collect();
        let are_all = member_count <= READS_SHOWN_MAX as u64 && reads.len() as u64 == member_count;
        Self {
            id: conversation.id,
            direct: conversation.direct,
            member_count,
            members,
            reads: if are_all { reads } else { Vec::new() },
            read: conversation.read,
            joined: conversation.joined,
            updated_at: conversation.updated_at,
        }
    }
}

/// The question of `members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::MembersQuery`")]
pub struct ListMembers {
    pub conversation: ConversationId,
    pub actor: Option<UserId>,
    pub after: Option<UserId>,
    pub limit: u32,
}

both_ways!(ListMembers, port::MembersQuery { conversation: conversation, actor: actor, after: after, limit: limit });

/// A member of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Member`")]
pub struct Member {
    pub user: UserId,
    pub joined: Seq,
    pub read: Seq,
}

both_ways!(Member, port::Member { user: user, joined: joined, read: read });

/// The answer to `members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::MembersPage`")]
pub struct MembersPage {
    pub members: Vec<Member>,
    pub next_after: Option<UserId>,
}

impl From<port::MembersPage> for MembersPage {
    fn from(page: port::MembersPage) -> Self {
        Self { members: list(page.members), next_after: page.next }
    }
}

impl From<MembersPage> for port::MembersPage {
    fn from(page: MembersPage) -> Self {
        Self { members: list(page.members), next: page.next_after }
    }
}

/// The question of `conversations`: the named ones, or otherwise a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as the arguments of `Records::conversations`")]
pub struct ListConversations {
    pub user: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Vec<ConversationId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl From<(UserId, port::ConversationQuery)> for ListConversations {
    fn from((user, query): (UserId, port::ConversationQuery)) -> Self {
        match query {
            port::ConversationQuery::Named(ids) => Self { user, named: Some(ids), cursor: None, limit: None },
            port::ConversationQuery::Page { cursor, limit } => Self { user, named: None, cursor, limit: Some(limit) },
        }
    }
}

impl From<ListConversations> for (UserId, port::ConversationQuery) {
    fn from(list: ListConversations) -> Self {
        let query = match list.named {
            Some(ids) => port::ConversationQuery::Named(ids),
            None => port::ConversationQuery::Page { cursor: list.cursor, limit: list.limit.unwrap_or(PAGE_DEFAULT) },
        };
        (list.user, query)
    }
}

/// The answer to `conversations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::ConversationPage`")]
pub struct ConversationPage {
    pub conversations: Vec<Conversation>,
    pub next_cursor: Option<String>,
}

impl From<port::ConversationPage> for ConversationPage {
    fn from(page: port::ConversationPage) -> Self {
        Self { conversations: list(page.conversations), next_cursor: page.next }
    }
}

impl From<ConversationPage> for port::ConversationPage {
    fn from(page: ConversationPage) -> Self {
        Self { conversations: list(page.conversations), next: page.next_cursor }
    }
}

/// The question of `history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::HistoryQuery`")]
pub struct ReadHistory {
    pub user: UserId,
    pub conversation: ConversationId,
    pub before: Option<Seq>,
    pub limit: u32,
}

both_ways!(ReadHistory, port::HistoryQuery { user: user, conversation: conversation, before: before, limit: limit });

/// The answer to `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::HistoryPage`")]
pub struct HistoryPage {
    pub messages: Vec<Message>,
    pub next_before: Option<Seq>,
}

impl From<port::HistoryPage> for HistoryPage {
    fn from(page: port::HistoryPage) -> Self {
        Self { messages: list(page.messages), next_before: page.next_before }
    }
}

impl From<HistoryPage> for port::HistoryPage {
    fn from(page: HistoryPage) -> Self {
        Self { messages: list(page.messages), next_before: page.next_before }
    }
}

/// The question of `create-conversation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::NewConversation`")]
pub struct CreateConversation {
    pub id: Option<ConversationId>,
    pub creator: UserId,
    pub members: Vec<UserId>,
    pub at: Timestamp,
}

both_ways!(CreateConversation, port::NewConversation { id: id, creator: creator, members: members, at: at });

/// The question of `create-direct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::DirectRequest`")]
pub struct CreateDirect {
    pub user: UserId,
    pub other: UserId,
    pub may_create: bool,
    pub at: Timestamp,
}

both_ways!(CreateDirect, port::DirectRequest { user: user, other: other, may_create: may_create, at: at });

/// The answer to `create-conversation` and `create-direct`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::Created`")]
pub struct Created {
    pub conversation: Conversation,
    #[serde(default)]
    pub repeated: bool,
}

both_ways!(Created, port::Created { conversation: conversation, repeated: repeated });

/// The question of `add-member` and `remove-member`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as `roost_core::port::MemberChange`")]
pub struct MemberChange {
    pub conversation: ConversationId,
    pub actor: Option<UserId>,
    pub user: UserId,
    pub at: Timestamp,
}

both_ways!(MemberChange, port::MemberChange { conversation: conversation, actor: actor, user: user, at: at });

/// The answer to `add-member` and `remove-member`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members afterwards")]
pub struct Members {
    #[serde(deserialize_with = "in_order")]
    pub members: Vec<UserId>,
}

/// The question of `users` and `conversation-ids`.
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
