//! The system of record: messages, conversations, read positions, contacts. What stands here survives the loss
//! of the whole store.

use std::future::Future;

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::time::Timestamp;

/// A message as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chosen by the client, or made up by the records.
    pub id: MessageId,
    /// Where it was said.
    pub conversation: ConversationId,
    /// The sequence number it was sent under; an edit keeps it.
    pub seq: Seq,
    /// Who said it.
    pub sender: UserId,
    /// Such as `text`.
    pub kind: String,
    /// Empty when deleted.
    pub content: String,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When it was edited last.
    pub edited_at: Option<Timestamp>,
    /// Taken back by its sender.
    pub deleted: bool,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A new message.
    Sent,
    /// New content.
    Edited,
    /// Taken back.
    Deleted,
}

/// One step of a conversation. The message is as it stands now, not as it stood then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The step's place.
    pub seq: Seq,
    /// What it did.
    pub kind: ChangeKind,
    /// To which message.
    pub message: Message,
}

/// A change and everybody it must be announced to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What was stored.
    pub change: Change,
    /// The conversation's members at that moment, in ascending order.
    pub members: Vec<UserId>,
    /// It was stored before under the same id; nothing was changed now.
    pub repeated: bool,
}

/// A message to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub sender: UserId,
    /// The client's id makes a repetition harmless; `None`: the records make one up.
    pub id: Option<MessageId>,
    /// Such as `text`.
    pub kind: String,
    /// What.
    pub content: String,
    /// When.
    pub at: Timestamp,
}

/// New content for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it stands.
    pub conversation: ConversationId,
    /// Which one.
    pub message: MessageId,
    /// Who asks; only the sender may.
    pub editor: UserId,
    /// The content from now on.
    pub content: String,
    /// When.
    pub at: Timestamp,
}

/// A user's standing in a conversation, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Where.
    pub conversation: ConversationId,
    /// Messages of others after `read` that are not deleted.
    pub count: u64,
    /// The conversation's newest sequence.
    pub seq: Seq,
    /// Messages up to here are not visible to the member.
    pub joined: Seq,
    /// Everything up to here is read. Never below `joined`.
    pub read: Seq,
    /// Everything up to here has been announced to all members.
    pub announced: Seq,
}

/// Whose standing, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadRequest {
    /// Whose.
    pub user: UserId,
    /// `None`: everywhere. A conversation without this member is left out of the answer.
    pub conversations: Option<Vec<ConversationId>>,
}

/// The answer to an [`UnreadRequest`], one consistent moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadSnapshot {
    /// Whose.
    pub user: UserId,
    /// By conversation, in ascending order.
    pub counters: Vec<Counter>,
}

/// Changes with `after < seq <= up_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRange {
    /// Where.
    pub conversation: ConversationId,
    /// Exclusive.
    pub after: Seq,
    /// Inclusive.
    pub up_to: Seq,
}

/// What a mark-read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The reader's standing afterwards.
    pub counter: Counter,
    /// The position moved; `false`: it was there before.
    pub moved: bool,
    /// All members, the reader among them.
    pub members: Vec<UserId>,
}

/// A conversation's newest message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// Where.
    pub conversation: ConversationId,
    /// The conversation's sequence at which this was true; zero for one without changes.
    pub version: Seq,
    /// The newest one that is not deleted.
    pub message: Option<Message>,
}

/// A user's place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Messages up to here are not visible to the member.
    pub joined: Seq,
    /// All members, in ascending order.
    pub members: Vec<UserId>,
    /// There are two members, and one of them has blocked the other.
    pub blocked: bool,
}

/// A conversation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Which one.
    pub id: ConversationId,
    /// All members, in ascending order.
    pub members: Vec<UserId>,
    /// Messages up to here are not visible to the member who asked.
    pub joined: Seq,
    /// The last change's moment, or the creation's.
    pub updated_at: Timestamp,
}

/// Which conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationQuery {
    /// Newest activity first.
    Page {
        /// From an earlier page; opaque. One that is none is [`RecordsError::Invalid`].
        cursor: Option<String>,
        /// 1 to [`crate::limits::PAGE_MAX`].
        limit: u32,
    },
    /// Those of these that the user is a member of, newest activity first.
    Named(Vec<ConversationId>),
}

/// A page of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationPage {
    /// Newest activity first.
    pub conversations: Vec<Conversation>,
    /// For the next page; `None`: this was the last.
    pub next: Option<String>,
}

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Who asks.
    pub user: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// Only messages below this; `None`: from the newest.
    pub before: Option<Seq>,
    /// 1 to [`crate::limits::PAGE_MAX`].
    pub limit: u32,
}

/// A page of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Newest first, without deleted ones.
    pub messages: Vec<Message>,
    /// For the next page; `None`: this was the last.
    pub next_before: Option<Seq>,
}

/// A conversation to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConversation {
    /// `None`: the records make one up.
    pub id: Option<ConversationId>,
    /// Who asks; becomes a member.
    pub creator: UserId,
    /// Everybody, with or without the creator.
    pub members: Vec<UserId>,
    /// When.
    pub at: Timestamp,
}

/// A conversation that exists now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// As its creator sees it.
    pub conversation: Conversation,
    /// It was there before, created by the same user with the same members.
    pub repeated: bool,
}

/// Somebody to add or to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Where.
    pub conversation: ConversationId,
    /// Who asks; `None`: a service, which may anything.
    pub actor: Option<UserId>,
    /// Whom.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
}

/// Who may see a user's presence, and whose presence the user may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactAudience {
    /// The user.
    pub user: UserId,
    /// Mutual contacts where neither side has blocked the other, in ascending order.
    pub visible: Vec<UserId>,
}

/// Something stored whose announcement nobody confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A change of a conversation.
    Change(Changed),
    /// This user's standing moved: a read position, or a membership.
    Member(ConversationId, UserId),
}

/// What has been announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// A change, to all members.
    Change(ConversationId, Seq),
    /// A user's standing.
    Member(ConversationId, UserId),
}

/// Why the records did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// No grant.
    #[error("not granted: {0}")]
    Denied(String),
    /// Nothing there, as far as this user may know.
    #[error("not found: {0}")]
    NotFound(String),
    /// The user is no member of the conversation, or there is no such conversation.
    #[error("not a member of the conversation")]
    NotAMember,
    /// A member, but not allowed this.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// One of two people has blocked the other.
    #[error("one of the two has blocked the other")]
    Blocked,
    /// The id is taken by something else.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A bound was passed.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The call makes no sense.
    #[error("invalid: {0}")]
    Invalid(String),
    /// No answer; whether a write happened is open.
    #[error("the records are unavailable, retry after {retry_after_ms} ms")]
    Unavailable {
        /// Until trying again makes sense.
        retry_after_ms: u32,
    },
}

/// The records' answers.
pub type Answer<T> = Result<T, RecordsError>;

/// The system of record.
///
/// - A conversation's changes are numbered 1, 2, 3 … without gaps, in the transaction that stores them.
/// - A write that was acknowledged is never lost. After [`RecordsError::Unavailable`] a write may have happened;
///   repeating it is harmless: appends, edits, deletions, marks and memberships are idempotent.
/// - A change is *pending* from the moment it is stored until [`Records::announced`] confirms it, and so is a
///   member whose read position or membership moved: each move needs a confirmation of its own, so that a slow
///   announcer never confirms a move it knew nothing of. Creating a conversation moves nobody.
/// - What a member may not see does not exist for them: a message from before they joined is not found, even if
///   it is their own from an earlier membership.
/// - [`super::records_bounds`] checks the bounds of every call before anything else.
pub trait Records: Send + Sync {
    /// Stores a message. Refuses non-members, and a sender whom the other of two members has blocked (or who has
    /// blocked the other). The same id by the same sender in the same conversation again is a repetition, whatever its
    /// content; the id of any other message is a conflict. The sender's own read position does not move.
    fn append_message(&self, draft: Draft) -> impl Future<Output = Answer<Changed>> + Send;

    /// Changes content. Only the sender may, while a member. The same content again is a repetition, answered
    /// with the change that set it. A deleted message is not found. New content between two members of whom one has
    /// blocked the other is refused, as a message is.
    fn edit_message(&self, edit: Edit) -> impl Future<Output = Answer<Changed>> + Send;

    /// Takes a message back, also from somebody who has blocked the sender. Only the sender may, while a member.
    /// Again is a repetition.
    fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: UserId,
        at: Timestamp,
    ) -> impl Future<Output = Answer<Changed>> + Send;

    /// Moves the read position forward: never back, not past the newest sequence; `None`: to the newest.
    fn mark_read(
        &self,
        user: UserId,
        conversation: ConversationId,
        up_to: Option<Seq>,
    ) -> impl Future<Output = Answer<ReadMark>> + Send;

    /// Standings, in the order asked. Each request is answered from one moment.
    fn unread(&self, requests: Vec<UnreadRequest>) -> impl Future<Output = Answer<Vec<UnreadSnapshot>>> + Send;

    /// Changes, in the order asked, oldest first; of more than [`crate::limits::CHANGES_MAX`] the newest.
    fn changes(&self, ranges: Vec<ChangeRange>) -> impl Future<Output = Answer<Vec<Vec<Change>>>> + Send;

    /// Newest messages, in the order asked.
    fn last_messages(
        &self,
        conversations: Vec<ConversationId>,
    ) -> impl Future<Output = Answer<Vec<LastMessage>>> + Send;

    /// A member's view; [`RecordsError::NotAMember`] also for unknown conversations.
    fn membership(&self, conversation: ConversationId, user: UserId)
    -> impl Future<Output = Answer<Membership>> + Send;

    /// The user's conversations.
    fn conversations(
        &self,
        user: UserId,
        query: ConversationQuery,
    ) -> impl Future<Output = Answer<ConversationPage>> + Send;

    /// A member's view of the messages, from the one after joining.
    fn history(&self, query: HistoryQuery) -> impl Future<Output = Answer<HistoryPage>> + Send;

    /// Creates. With two people of whom one has blocked the other: [`RecordsError::Blocked`]. An id that exists with
    /// the same creator and, now, the same members is a repetition; with others it is a [`RecordsError::Conflict`].
    fn create_conversation(&self, conversation: NewConversation) -> impl Future<Output = Answer<Created>> + Send;

    /// Adds a member, who sees what comes after. A member or a service may. Refuses somebody with whom the actor has a
    /// block in either direction. Adding a member again changes nothing. Answers the members afterwards.
    fn add_member(&self, change: MemberChange) -> impl Future<Output = Answer<Vec<UserId>>> + Send;

    /// Removes a member, who sees nothing any more. Members may leave; the creator and services may remove others.
    /// Removing a non-member changes nothing. Answers the members that remain.
    fn remove_member(&self, change: MemberChange) -> impl Future<Output = Answer<Vec<UserId>>> + Send;

    /// Those the user has added, in ascending order.
    fn contacts(&self, user: UserId) -> impl Future<Output = Answer<Vec<UserId>>> + Send;

    /// Mutual contacts without a block, in the order asked.
    fn audience(&self, users: Vec<UserId>) -> impl Future<Output = Answer<Vec<ContactAudience>>> + Send;

    /// Adds a contact; nobody is their own. At most [`crate::limits::CONTACTS_MAX`].
    fn add_contact(&self, user: UserId, contact: UserId) -> impl Future<Output = Answer<()>> + Send;

    /// Removes a contact, if there is one.
    fn remove_contact(&self, user: UserId, contact: UserId) -> impl Future<Output = Answer<()>> + Send;

    /// Blocks; nobody blocks themselves. At most [`crate::limits::CONTACTS_MAX`].
    fn block(&self, user: UserId, blocked: UserId) -> impl Future<Output = Answer<()>> + Send;

    /// Ends a block, if there is one.
    fn unblock(&self, user: UserId, blocked: UserId) -> impl Future<Output = Answer<()>> + Send;

    /// What was stored before `before` and is not confirmed, oldest first; `limit` is 1 to
    /// [`crate::limits::PENDING_PAGE`]. Changes name the members of now. A read mark names no moment; the records
    /// date it themselves. A member that moved several times may stand there as often, so that all moves are told
    /// and confirmed at once.
    fn pending(&self, before: Timestamp, limit: u32) -> impl Future<Output = Answer<Vec<Pending>>> + Send;

    /// Confirms. A hint: it may take effect late or be lost, then the announcement is repeated, which is harmless.
    fn announced(&self, confirmations: Vec<Confirmation>) -> impl Future<Output = Answer<()>> + Send;
}
