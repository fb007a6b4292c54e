//! Translates the requests and answers of the records.

use roost_core::ids::Seq;
use roost_core::port::{
    Change, ChangeKind, ChangeRange, Changed, Confirmation, ContactAudience, Conversation, ConversationPage,
    ConversationQuery, Counter, Created, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, Member, MemberChange,
    MembersPage, MembersQuery, Membership, Message, MessagesQuery, NewConversation, Operation, Pending, PendingId,
    PendingItem, PendingPage, PendingQuery, Postponement, ReadMark, ReadPosition, RecordsError, Relation,
    UnreadRequest, UnreadSnapshot,
};
use roost_core::time::Timestamp;

use super::super::bindings::records as wit;
use super::list;

macro_rules! convert_operation {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl From<wit::Operation> for Operation {
            fn from(operation: wit::Operation) -> Self {
                match operation {
                    $(wit::Operation::$operation => Self::$operation,)*
                }
            }
        }
    };
}

roost_core::records_operations!(convert_operation);

impl From<RecordsError> for wit::Error {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Denied(text) => Self::Denied(text),
            RecordsError::NotFound(text) => Self::NotFound(text),
            RecordsError::NotAMember => Self::NotAMember,
            RecordsError::Forbidden(text) => Self::Forbidden(text),
            RecordsError::Blocked => Self::Blocked,
            RecordsError::Conflict(text) => Self::Conflict(text),
            RecordsError::Direct => Self::Direct,
            RecordsError::VersionMismatch { present } => Self::VersionMismatch(present),
            RecordsError::TooLarge(text) => Self::TooLarge(text),
            RecordsError::TooManyConversations(text) => Self::TooManyConversations(text),
            RecordsError::QuotaExceeded(text) => Self::QuotaExceeded(text),
            RecordsError::Invalid(text) => Self::Invalid(text),
            RecordsError::Unavailable { retry_after_ms } => Self::Unavailable(retry_after_ms),
        }
    }
}

impl From<wit::Draft> for Draft {
    fn from(draft: wit::Draft) -> Self {
        Self {
            conversation: draft.conversation.into(),
            sender: draft.sender.into(),
            id: draft.id.map(Into::into),
            kind: draft.kind,
            content: draft.content,
            at: Timestamp(draft.at),
        }
    }
}

impl From<wit::Edit> for Edit {
    fn from(edit: wit::Edit) -> Self {
        Self {
            conversation: edit.conversation.into(),
            message: edit.message.into(),
            editor: edit.editor.into(),
            content: edit.content,
            at: Timestamp(edit.at),
        }
    }
}

impl From<Message> for wit::Message {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.into(),
            conversation: message.conversation.into(),
            sequence: message.seq.0,
            sender: message.sender.into(),
            kind: message.kind,
            content: message.content,
            created_at: message.created_at.0,
            edited_at: message.edited_at.map(|at| at.0),
            deleted: message.deleted,
        }
    }
}

impl From<Change> for wit::Change {
    fn from(change: Change) -> Self {
        Self {
            sequence: change.seq.0,
            kind: match change.kind {
                ChangeKind::Sent => wit::ChangeKind::Sent,
                ChangeKind::Edited => wit::ChangeKind::Edited,
                ChangeKind::Deleted => wit::ChangeKind::Deleted,
            },
            message: change.message.into(),
        }
    }
}

impl From<Changed> for wit::Changed {
    fn from(changed: Changed) -> Self {
        Self {
            change: changed.change.into(),
            members: list(changed.members),
            repeated: changed.repeated,
            positions: list(changed.positions),
            last: changed.last.map(Into::into),
        }
    }
}

impl From<ReadPosition> for wit::ReadPosition {
    fn from(position: ReadPosition) -> Self {
        Self { user: position.user.into(), joined: position.joined.0, read: position.read.0 }
    }
}

impl From<Counter> for wit::Counter {
    fn from(counter: Counter) -> Self {
        Self {
            conversation: counter.conversation.into(),
            count: counter.count,
            sequence: counter.seq.0,
            joined: counter.joined.0,
            read: counter.read.0,
            announced: counter.announced.0,
        }
    }
}

impl From<wit::UnreadRequest> for UnreadRequest {
    fn from(request: wit::UnreadRequest) -> Self {
        Self {
            user: request.user.into(),
            conversations: request.conversations.map(list),
            after: request.after.map(Into::into),
        }
    }
}

impl From<UnreadSnapshot> for wit::UnreadSnapshot {
    fn from(snapshot: UnreadSnapshot) -> Self {
        Self { user: snapshot.user.into(), counters: list(snapshot.counters), more: snapshot.more }
    }
}

impl From<wit::ChangeRange> for ChangeRange {
    fn from(range: wit::ChangeRange) -> Self {
        Self { conversation: range.conversation.into(), after: Seq(range.after), up_to: Seq(range.up_to) }
    }
}

impl From<ReadMark> for wit::ReadMark {
    fn from(mark: ReadMark) -> Self {
        Self {
            counter: mark.counter.into(),
            moved: mark.moved,
            member_count: mark.member_count,
            audience: list(mark.audience),
        }
    }
}

impl From<LastMessage> for wit::LastMessage {
    fn from(last: LastMessage) -> Self {
        Self { conversation: last.conversation.into(), version: last.version.0, message: last.message.map(Into::into) }
    }
}

impl From<Membership> for wit::MemberView {
    fn from(membership: Membership) -> Self {
        Self { joined: membership.joined.0, members: list(membership.members), blocked: membership.blocked }
    }
}

impl From<Conversation> for wit::Conversation {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id.into(),
            direct: conversation.direct,
            members: list(conversation.members),
            member_count: conversation.member_count,
            reads: conversation.reads.iter().map(|read| read.0).collect(),
            read: conversation.read.0,
            joined: conversation.joined.0,
            updated_at: conversation.updated_at.0,
        }
    }
}

impl From<wit::ConversationQuery> for ConversationQuery {
    fn from(query: wit::ConversationQuery) -> Self {
        match query {
            wit::ConversationQuery::Page((cursor, limit)) => Self::Page { cursor, limit },
            wit::ConversationQuery::Named(ids) => Self::Named(list(ids)),
        }
    }
}

impl From<ConversationPage> for wit::ConversationPage {
    fn from(page: ConversationPage) -> Self {
        Self { conversations: list(page.conversations), next: page.next }
    }
}

impl From<wit::MembersQuery> for MembersQuery {
    fn from(query: wit::MembersQuery) -> Self {
        Self {
            conversation: query.conversation.into(),
            actor: query.actor.map(Into::into),
            after: query.after.map(Into::into),
            limit: query.limit,
        }
    }
}

impl From<Member> for wit::Member {
    fn from(member: Member) -> Self {
        Self { user: member.user.into(), joined: member.joined.0, read: member.read.0 }
    }
}

impl From<MembersPage> for wit::MembersPage {
    fn from(page: MembersPage) -> Self {
        Self { members: list(page.members), next: page.next.map(Into::into) }
    }
}

impl From<wit::HistoryQuery> for HistoryQuery {
    fn from(query: wit::HistoryQuery) -> Self {
        Self {
            user: query.user.into(),
            conversation: query.conversation.into(),
            before: query.before.map(Seq),
            limit: query.limit,
        }
    }
}

impl From<wit::MessagesQuery> for MessagesQuery {
    fn from(query: wit::MessagesQuery) -> Self {
        Self { user: query.user.into(), conversation: query.conversation.into(), messages: list(query.messages) }
    }
}

impl From<HistoryPage> for wit::HistoryPage {
    fn from(page: HistoryPage) -> Self {
        Self { messages: list(page.messages), next_before: page.next_before.map(|seq| seq.0) }
    }
}

impl From<wit::NewConversation> for NewConversation {
    fn from(conversation: wit::NewConversation) -> Self {
        Self {
            id: conversation.id.map(Into::into),
            creator: conversation.creator.into(),
            members: list(conversation.members),
            at: Timestamp(conversation.at),
        }
    }
}

impl From<Created> for wit::Created {
    fn from(created: Created) -> Self {
        Self { conversation: created.conversation.into(), repeated: created.repeated }
    }
}

impl From<wit::MemberChange> for MemberChange {
    fn from(change: wit::MemberChange) -> Self {
        Self {
            conversation: change.conversation.into(),
            actor: change.actor.map(Into::into),
            user: change.user.into(),
            at: Timestamp(change.at),
        }
    }
}

impl From<ContactAudience> for wit::ContactAudience {
    fn from(audience: ContactAudience) -> Self {
        Self { user: audience.user.into(), visible: list(audience.visible) }
    }
}

impl From<Relation> for wit::UserRelation {
    fn from(relation: Relation) -> Self {
        Self {
            contact: relation.contact,
            blocked: relation.blocked,
            contact_of: relation.contact_of,
            blocked_by: relation.blocked_by,
        }
    }
}

impl From<Pending> for wit::PendingItem {
    fn from(pending: Pending) -> Self {
        match pending {
            Pending::Change(changed) => Self::Change(changed.into()),
            Pending::Member(conversation, user, moves) => Self::Member((conversation.into(), user.into(), moves)),
            Pending::Membership(conversation, user, moves) => {
                Self::Membership((conversation.into(), user.into(), moves))
            }
            Pending::Creation(conversation, moves) => Self::Creation((conversation.into(), moves)),
            Pending::Contact(user, other, moves) => Self::Contact((user.into(), other.into(), moves)),
        }
    }
}

impl From<wit::PendingQuery> for PendingQuery {
    fn from(query: wit::PendingQuery) -> Self {
        let (before, cursor) = (Timestamp(query.before), query.cursor);
        Self { tried: query.tried, before, cursor, limit: query.limit }
    }
}

impl From<PendingPage> for wit::PendingPage {
    fn from(page: PendingPage) -> Self {
        let entry = |item: PendingItem| wit::PendingEntry {
            item: item.pending.into(),
            since: item.since.0,
            attempts: item.attempts,
        };
        Self { entries: page.items.into_iter().map(entry).collect(), next: page.next }
    }
}

impl From<wit::PendingId> for PendingId {
    fn from(id: wit::PendingId) -> Self {
        match id {
            wit::PendingId::Change((conversation, seq)) => Self::Change(conversation.into(), Seq(seq)),
            wit::PendingId::Member((conversation, user)) => Self::Member(conversation.into(), user.into()),
            wit::PendingId::Membership((conversation, user)) => Self::Membership(conversation.into(), user.into()),
            wit::PendingId::Creation(conversation) => Self::Creation(conversation.into()),
            wit::PendingId::Contact((user, other)) => Self::Contact(user.into(), other.into()),
        }
    }
}

impl From<wit::Postponement> for Postponement {
    fn from(postponement: wit::Postponement) -> Self {
        let next_time = Timestamp(postponement.next_time);
        Self { item: postponement.item.into(), attempts: postponement.attempts, next_time }
    }
}

impl From<wit::Confirmation> for Confirmation {
    fn from(confirmation: wit::Confirmation) -> Self {
        match confirmation {
            wit::Confirmation::Change((conversation, seq)) => Self::Change(conversation.into(), Seq(seq)),
            wit::Confirmation::Member((conversation, user, moves)) => {
                Self::Member(conversation.into(), user.into(), moves)
            }
            wit::Confirmation::Membership((conversation, user, moves)) => {
                Self::Membership(conversation.into(), user.into(), moves)
            }
            wit::Confirmation::Creation((conversation, moves)) => Self::Creation(conversation.into(), moves),
            wit::Confirmation::Contact((user, other, moves)) => Self::Contact(user.into(), other.into(), moves),
        }
    }
}
