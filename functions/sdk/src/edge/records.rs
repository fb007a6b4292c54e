//! The core's records port on the interface `records`.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, ContactAudience, Conversation, ConversationPage,
    ConversationQuery, Counter, Created, DirectRequest, Document, DocumentKey, DocumentPut, DocumentScope, Draft, Edit,
    Erased, HistoryPage, HistoryQuery, LastMessage, Member, MemberChange, MembersPage, MembersQuery, Membership,
    Message, MessagesQuery, NewConversation, Operation, PendingPage, PendingQuery, Postponement, ReadMark,
    ReadPosition, Records, RecordsError, Relation, UnreadRequest, UnreadSnapshot,
};
use roost_core::time::Timestamp;

use super::{Edge, borrow_all, list};
use crate::bindings::roost::edge::records as wire;

impl Records for Edge {
    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        answer(wire::append_message((&draft).into()))
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        answer(wire::edit_message((&edit).into()))
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        answer(wire::delete_message(conversation.into(), message.into(), actor.map(Into::into), at.0))
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        answer(wire::mark_read(user.into(), conversation.into(), up_to.map(|seq| seq.0)))
    }

    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        let lists: Vec<_> = requests.iter().map(|request| request.conversations.as_deref().map(ids)).collect();
        let requests: Vec<_> = requests
            .iter()
            .zip(&lists)
            .map(|(request, list)| wire::UnreadRequest {
                user: request.user.into(),
                conversations: list.as_deref(),
                after: request.after.map(Into::into),
            })
            .collect();
        answers(wire::unread(&requests))
    }

    async fn changes(&self, ranges: Vec<ChangeRange>) -> Answer<Vec<Vec<Change>>> {
        let changes = wire::changes(&list::<_, wire::ChangeRange>(ranges))?;
        Ok(changes.into_iter().map(list).collect())
    }

    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Answer<Vec<LastMessage>> {
        answers(wire::last_messages(&ids(&conversations)))
    }

    async fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        answer(wire::membership(conversation.into(), user.into()))
    }

    async fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        let user = user.into();
        answer(match query {
            ConversationQuery::Page { cursor, limit } => {
                wire::conversations(user, wire::ConversationQuery::Page((cursor.as_deref(), limit)))
            }
            ConversationQuery::Named(named) => wire::conversations(user, wire::ConversationQuery::Named(&ids(&named))),
        })
    }

    async fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        answer(wire::history(query.into()))
    }

    async fn messages(&self, query: MessagesQuery) -> Answer<Vec<Option<Message>>> {
        let messages = wire::messages(wire::MessagesQuery {
            user: query.user.into(),
            conversation: query.conversation.into(),
            messages: &ids(&query.messages),
        })?;
        Ok(messages.into_iter().map(|message| message.map(Into::into)).collect())
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        answer(wire::create_conversation(wire::NewConversation {
            id: conversation.id.map(Into::into),
            creator: conversation.creator.into(),
            members: &ids(&conversation.members),
            at: conversation.at.0,
        }))
    }

    async fn create_direct(&self, request: DirectRequest) -> Answer<Created> {
        answer(wire::create_direct(request.into()))
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        answers(wire::add_member(change.into()))
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        answers(wire::remove_member(change.into()))
    }

    async fn members(&self, query: MembersQuery) -> Answer<MembersPage> {
        answer(wire::members(query.into()))
    }

    async fn contacts(&self, user: UserId) -> Answer<Vec<UserId>> {
        answers(wire::contacts(user.into()))
    }

    async fn blocks(&self, user: UserId) -> Answer<Vec<UserId>> {
        answers(wire::blocks(user.into()))
    }

    async fn audience(&self, users: Vec<UserId>) -> Answer<Vec<ContactAudience>> {
        answers(wire::audience(&ids(&users)))
    }

    async fn relation(&self, user: UserId, other: UserId) -> Answer<Relation> {
        answer(wire::relation(user.into(), other.into()))
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        answer(wire::add_contact(user.into(), contact.into()))
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        answer(wire::remove_contact(user.into(), contact.into()))
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        answer(wire::block(user.into(), blocked.into()))
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        answer(wire::unblock(user.into(), blocked.into()))
    }

    async fn erase_user(&self, user: UserId, at: Timestamp) -> Answer<Erased> {
        answer(wire::erase_user(user.into(), at.0))
    }

    async fn pending(&self, query: PendingQuery) -> Answer<PendingPage> {
        answer(wire::pending(wire::PendingQuery {
            tried: query.tried,
            before: query.before.0,
            cursor: query.cursor.as_deref(),
            limit: query.limit,
        }))
    }

    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        answer(wire::announced(&list::<_, wire::Confirmation>(confirmations)))
    }

    async fn postpone(&self, postponements: Vec<Postponement>) -> Answer<()> {
        answer(wire::postpone(&list::<_, wire::Postponement>(postponements)))
    }

    async fn read_documents(&self, keys: Vec<DocumentKey>) -> Answer<Vec<Option<Document>>> {
        let documents = wire::read_documents(&borrow_all(&keys))?;
        Ok(documents.into_iter().map(|document| document.map(Into::into)).collect())
    }

    async fn put_document(&self, put: DocumentPut) -> Answer<u64> {
        answer(wire::put_document((&put).into()))
    }

    async fn delete_document(&self, key: DocumentKey, expected: u64) -> Answer<()> {
        answer(wire::delete_document((&key).into(), expected))
    }

    async fn document_names(&self, scope: DocumentScope) -> Answer<Vec<String>> {
        answer(wire::document_names(scope.owner.into()))
    }
}

fn answer<A, B: From<A>>(result: Result<A, wire::Error>) -> Answer<B> {
    result.map(B::from).map_err(RecordsError::from)
}

fn answers<A, B: From<A>>(result: Result<Vec<A>, wire::Error>) -> Answer<Vec<B>> {
    result.map(list).map_err(RecordsError::from)
}

fn ids<T: Copy + Into<wire::Id>>(typed: &[T]) -> Vec<wire::Id> {
    typed.iter().map(|id| (*id).into()).collect()
}

impl From<wire::Error> for RecordsError {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::Denied(text) => Self::Denied(text),
            wire::Error::NotFound(text) => Self::NotFound(text),
            wire::Error::NotAMember => Self::NotAMember,
            wire::Error::Forbidden(text) => Self::Forbidden(text),
            wire::Error::Blocked => Self::Blocked,
            wire::Error::Conflict(text) => Self::Conflict(text),
            wire::Error::Direct => Self::Direct,
            wire::Error::VersionMismatch(present) => Self::VersionMismatch { present },
            wire::Error::TooLarge(text) => Self::TooLarge(text),
            wire::Error::TooManyConversations(text) => Self::TooManyConversations(text),
            wire::Error::QuotaExceeded(text) => Self::QuotaExceeded(text),
            wire::Error::Invalid(text) => Self::Invalid(text),
            wire::Error::Unavailable(retry_after_ms) => Self::Unavailable { retry_after_ms },
        }
    }
}

impl<'a> From<&'a Draft> for wire::Draft<'a> {
    fn from(draft: &'a Draft) -> Self {
        Self {
            conversation: draft.conversation.into(),
            sender: draft.sender.into(),
            id: draft.id.map(Into::into),
            kind: &draft.kind,
            content: &draft.content,
            at: draft.at.0,
        }
    }
}

impl<'a> From<&'a Edit> for wire::Edit<'a> {
    fn from(edit: &'a Edit) -> Self {
        Self {
            conversation: edit.conversation.into(),
            message: edit.message.into(),
            editor: edit.editor.into(),
            content: &edit.content,
            at: edit.at.0,
        }
    }
}

impl From<wire::Message> for Message {
    fn from(message: wire::Message) -> Self {
        Self {
            id: message.id.into(),
            conversation: message.conversation.into(),
            seq: Seq(message.sequence),
            sender: message.sender.into(),
            kind: message.kind,
            content: message.content,
            created_at: Timestamp(message.created_at),
            edited_at: message.edited_at.map(Timestamp),
            deleted: message.deleted,
        }
    }
}

impl From<wire::Change> for Change {
    fn from(change: wire::Change) -> Self {
        let kind = match change.kind {
            wire::ChangeKind::Sent => ChangeKind::Sent,
            wire::ChangeKind::Edited => ChangeKind::Edited,
            wire::ChangeKind::Deleted => ChangeKind::Deleted,
        };
        Self { seq: Seq(change.sequence), kind, message: change.message.into() }
    }
}

impl From<wire::Changed> for Changed {
    fn from(changed: wire::Changed) -> Self {
        Self {
            change: changed.change.into(),
            members: list(changed.members),
            repeated: changed.repeated,
            positions: list(changed.positions),
            last: changed.last.map(Into::into),
        }
    }
}

impl From<wire::ReadPosition> for ReadPosition {
    fn from(position: wire::ReadPosition) -> Self {
        Self { user: position.user.into(), joined: Seq(position.joined), read: Seq(position.read) }
    }
}

impl From<wire::Counter> for Counter {
    fn from(counter: wire::Counter) -> Self {
        Self {
            conversation: counter.conversation.into(),
            count: counter.count,
            seq: Seq(counter.sequence),
            joined: Seq(counter.joined),
            read: Seq(counter.read),
            announced: Seq(counter.announced),
        }
    }
}

impl From<wire::UnreadSnapshot> for UnreadSnapshot {
    fn from(snapshot: wire::UnreadSnapshot) -> Self {
        Self { user: snapshot.user.into(), counters: list(snapshot.counters), more: snapshot.more }
    }
}

impl From<ChangeRange> for wire::ChangeRange {
    fn from(range: ChangeRange) -> Self {
        Self { conversation: range.conversation.into(), after: range.after.0, up_to: range.up_to.0 }
    }
}

impl From<wire::ReadMark> for ReadMark {
    fn from(mark: wire::ReadMark) -> Self {
        Self {
            counter: mark.counter.into(),
            moved: mark.moved,
            member_count: mark.member_count,
            audience: list(mark.audience),
        }
    }
}

impl From<wire::LastMessage> for LastMessage {
    fn from(last: wire::LastMessage) -> Self {
        Self {
            conversation: last.conversation.into(),
            version: Seq(last.version),
            message: last.message.map(Into::into),
        }
    }
}

impl From<wire::MemberView> for Membership {
    fn from(view: wire::MemberView) -> Self {
        Self { joined: Seq(view.joined), members: list(view.members), blocked: view.blocked }
    }
}

impl From<wire::Conversation> for Conversation {
    fn from(conversation: wire::Conversation) -> Self {
        Self {
            id: conversation.id.into(),
            direct: conversation.direct,
            members: list(conversation.members),
            member_count: conversation.member_count,
            reads: conversation.reads.into_iter().map(Seq).collect(),
            read: Seq(conversation.read),
            joined: Seq(conversation.joined),
            updated_at: Timestamp(conversation.updated_at),
        }
    }
}

impl From<wire::ConversationPage> for ConversationPage {
    fn from(page: wire::ConversationPage) -> Self {
        Self { conversations: list(page.conversations), next: page.next }
    }
}

impl From<MembersQuery> for wire::MembersQuery {
    fn from(query: MembersQuery) -> Self {
        Self {
            conversation: query.conversation.into(),
            actor: query.actor.map(Into::into),
            after: query.after.map(Into::into),
            limit: query.limit,
        }
    }
}

impl From<wire::MembersPage> for MembersPage {
    fn from(page: wire::MembersPage) -> Self {
        let member = |member: wire::Member| Member {
            user: member.user.into(),
            joined: Seq(member.joined),
            read: Seq(member.read),
        };
        Self { members: page.members.into_iter().map(member).collect(), next: page.next.map(Into::into) }
    }
}

impl From<HistoryQuery> for wire::HistoryQuery {
    fn from(query: HistoryQuery) -> Self {
        Self {
            user: query.user.into(),
            conversation: query.conversation.into(),
            before: query.before.map(|seq| seq.0),
            limit: query.limit,
        }
    }
}

impl From<wire::HistoryPage> for HistoryPage {
    fn from(page: wire::HistoryPage) -> Self {
        Self { messages: list(page.messages), next_before: page.next_before.map(Seq) }
    }
}

impl From<wire::Created> for Created {
    fn from(created: wire::Created) -> Self {
        Self { conversation: created.conversation.into(), repeated: created.repeated }
    }
}

impl From<MemberChange> for wire::MemberChange {
    fn from(change: MemberChange) -> Self {
        Self {
            conversation: change.conversation.into(),
            actor: change.actor.map(Into::into),
            user: change.user.into(),
            at: change.at.0,
        }
    }
}

impl From<wire::ContactAudience> for ContactAudience {
    fn from(audience: wire::ContactAudience) -> Self {
        Self { user: audience.user.into(), visible: list(audience.visible) }
    }
}

impl From<wire::UserRelation> for Relation {
    fn from(relation: wire::UserRelation) -> Self {
        Self {
            contact: relation.contact,
            blocked: relation.blocked,
            contact_of: relation.contact_of,
            blocked_by: relation.blocked_by,
        }
    }
}

macro_rules! convert_operation {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl From<Operation> for wire::Operation {
            fn from(operation: Operation) -> Self {
                match operation {
                    $(Operation::$operation => Self::$operation,)*
                }
            }
        }
    };
}

roost_core::records_operations!(convert_operation);
