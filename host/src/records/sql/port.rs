//! The records port and the directory on a database: first the bounds, then the queries. An error of the database is
//! answered as unavailable.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{
    self, Answer, Change, ChangeRange, Changed, Confirmation, ContactAudience, ConversationPage, ConversationQuery,
    Created, DirectRequest, Directory, Document, DocumentKey, DocumentPut, DocumentScope, Draft, Edit, Erased,
    HistoryPage, HistoryQuery, LastMessage, MemberChange, MembersPage, MembersQuery, Membership, Message,
    MessagesQuery, NewConversation, Operation, PendingPage, PendingQuery, Postponement, ReadMark, Records,
    UnreadRequest, UnreadSnapshot, records_bounds as bounds,
};
use roost_core::time::Timestamp;

use super::contacts::RelationKind;
use super::conversations::ConversationState;
use super::values::{UuidId, read_id};
use super::{
    ColumnResult, Database, Parameter, QueryResult, SqlConnection, SqlRecords, contacts, conversations, counters,
    documents, erasing, messages, outbox, pairs,
};

#[allow(private_bounds, reason = "the databases are private to this folder")]
impl<D: Database> Records for SqlRecords<D> {
    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        bounds::draft(&draft)?;
        self.write(Operation::AppendMessage, move |sql| Box::pin(messages::append(sql, draft.clone()))).await
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        bounds::edit(&edit)?;
        self.write(Operation::EditMessage, move |sql| Box::pin(messages::edit(sql, edit.clone()))).await
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        bounds::timestamp(at)?;
        self.write(Operation::DeleteMessage, move |sql| {
            Box::pin(messages::delete(sql, (conversation, message), actor, at))
        })
        .await
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        self.write(Operation::MarkRead, move |sql| Box::pin(counters::mark_read(sql, user, conversation, up_to))).await
    }

    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        bounds::unread(&requests)?;
        self.read(Operation::Unread, move |sql| Box::pin(counters::unread(sql, requests.clone()))).await
    }

    async fn changes(&self, ranges: Vec<ChangeRange>) -> Answer<Vec<Vec<Change>>> {
        bounds::changes(&ranges)?;
        self.read(Operation::Changes, move |sql| Box::pin(messages::changes(sql, ranges.clone()))).await
    }

    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Answer<Vec<LastMessage>> {
        bounds::list(&conversations)?;
        self.read(Operation::LastMessages, move |sql| Box::pin(messages::last_messages(sql, conversations.clone())))
            .await
    }

    async fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        self.read(Operation::Membership, move |sql| Box::pin(membership(sql, conversation, user))).await
    }

    async fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        bounds::conversations(&query)?;
        self.read(Operation::Conversations, move |sql| Box::pin(conversations::page(sql, user, query.clone()))).await
    }

    async fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        bounds::history(&query)?;
        self.read(Operation::History, move |sql| Box::pin(messages::history(sql, query))).await
    }

    async fn messages(&self, query: MessagesQuery) -> Answer<Vec<Option<Message>>> {
        bounds::messages(&query)?;
        self.read(Operation::Messages, move |sql| Box::pin(messages::find(sql, query.clone()))).await
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        let members = bounds::members(&conversation)?;
        self.write(Operation::CreateConversation, move |sql| {
            Box::pin(conversations::create(sql, conversation.clone(), members.clone()))
        })
        .await
    }

    async fn create_direct(&self, request: DirectRequest) -> Answer<Created> {
        bounds::direct(&request)?;
        self.write(Operation::CreateDirect, move |sql| Box::pin(pairs::create_direct(sql, request))).await
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        self.write(Operation::AddMember, move |sql| Box::pin(conversations::add_member(sql, change))).await
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        self.write(Operation::RemoveMember, move |sql| Box::pin(conversations::remove_member(sql, change))).await
    }

    async fn members(&self, query: MembersQuery) -> Answer<MembersPage> {
        bounds::members_page(&query)?;
        self.read(Operation::Members, move |sql| Box::pin(conversations::members(sql, query))).await
    }

    async fn contacts(&self, user: UserId) -> Answer<Vec<UserId>> {
        self.read(Operation::Contacts, move |sql| Box::pin(contacts::related(sql, RelationKind::Contact, user))).await
    }

    async fn blocks(&self, user: UserId) -> Answer<Vec<UserId>> {
        self.read(Operation::Blocks, move |sql| Box::pin(contacts::related(sql, RelationKind::Block, user))).await
    }

    async fn audience(&self, users: Vec<UserId>) -> Answer<Vec<ContactAudience>> {
        bounds::list(&users)?;
        self.read(Operation::Audience, move |sql| Box::pin(contacts::audience(sql, users.clone()))).await
    }

    async fn relation(&self, user: UserId, other: UserId) -> Answer<port::Relation> {
        self.read(Operation::Relation, move |sql| Box::pin(contacts::relation(sql, user, other))).await
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        bounds::two_users(user, contact)?;
        self.write(Operation::AddContact, move |sql| Box::pin(contacts::add(sql, RelationKind::Contact, user, contact)))
            .await
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.write(Operation::RemoveContact, move |sql| {
            Box::pin(contacts::remove(sql, RelationKind::Contact, user, contact))
        })
        .await
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        bounds::two_users(user, blocked)?;
        self.write(Operation::Block, move |sql| Box::pin(contacts::add(sql, RelationKind::Block, user, blocked))).await
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.write(Operation::Unblock, move |sql| Box::pin(contacts::remove(sql, RelationKind::Block, user, blocked)))
            .await
    }

    async fn erase_user(&self, user: UserId, at: Timestamp) -> Answer<Erased> {
        bounds::timestamp(at)?;
        self.write(Operation::EraseUser, move |sql| Box::pin(erasing::erase(sql, user, at))).await
    }

    async fn pending(&self, query: PendingQuery) -> Answer<PendingPage> {
        bounds::pending(&query)?;
        self.read(Operation::Pending, move |sql| Box::pin(outbox::pending(sql, query.clone()))).await
    }

    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        bounds::list(&confirmations)?;
        self.confirmations.accept(confirmations);
        Ok(())
    }

    async fn postpone(&self, postponements: Vec<Postponement>) -> Answer<()> {
        bounds::postponements(&postponements)?;
        self.write(Operation::Postpone, move |sql| Box::pin(outbox::postpone(sql, postponements.clone()))).await
    }

    async fn read_documents(&self, keys: Vec<DocumentKey>) -> Answer<Vec<Option<Document>>> {
        bounds::document_keys(&keys)?;
        self.read(Operation::ReadDocuments, move |sql| Box::pin(documents::read(sql, keys.clone()))).await
    }

    async fn put_document(&self, put: DocumentPut) -> Answer<u64> {
        bounds::document_put(&put)?;
        self.write(Operation::PutDocument, move |sql| Box::pin(documents::put(sql, put.clone()))).await
    }

    async fn delete_document(&self, key: DocumentKey, expected: u64) -> Answer<()> {
        bounds::document_key(&key)?;
        self.write(Operation::DeleteDocument, move |sql| Box::pin(documents::delete(sql, key.clone(), expected))).await
    }

    async fn document_names(&self, scope: DocumentScope) -> Answer<Vec<String>> {
        bounds::document_scope(&scope)?;
        self.read(Operation::DocumentNames, move |sql| Box::pin(documents::names(sql, scope.clone()))).await
    }
}

#[allow(private_bounds, reason = "the databases are private to this folder")]
impl<D: Database> Directory for SqlRecords<D> {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let statement = <D::Connection as SqlConnection>::STATEMENTS.users;
        Self::answer("users", self.page_of_ids(statement, after, limit).await)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        let statement = <D::Connection as SqlConnection>::STATEMENTS.conversation_ids;
        Self::answer("conversation-ids", self.page_of_ids(statement, after, limit).await)
    }
}

#[allow(private_bounds, reason = "the databases are private to this folder")]
impl<D: Database> SqlRecords<D> {
    async fn page_of_ids<I: UuidId + Send + Sync + 'static>(
        &self,
        statement: &'static str,
        after: Option<I>,
        limit: u32,
    ) -> QueryResult<Vec<I>> {
        let Some(first) = after.map_or(Some(0), |after| after.bits().checked_add(1)) else { return Ok(Vec::new()) };
        self.database.read(move |sql| Box::pin(ids(sql, statement, (first, limit)))).await
    }
}

async fn ids<C: SqlConnection, I: UuidId>(
    sql: &mut C,
    statement: &'static str,
    (first, limit): (u128, u32),
) -> QueryResult<Vec<I>> {
    let rows = sql.rows(statement, vec![Parameter::Id(first), u64::from(limit).into()]).await?;
    Ok(rows.iter().map(|row| read_id(row, 0)).collect::<ColumnResult<Vec<I>>>()?)
}

async fn membership<C: SqlConnection>(
    sql: &mut C,
    conversation: ConversationId,
    user: UserId,
) -> QueryResult<Membership> {
    let (state, position) = ConversationState::of_member(sql, conversation, user).await?;
    Ok(state.membership(position))
}
