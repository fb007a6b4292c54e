//! The port on this database: bounds first, then one turn at a connection; what breaks is told as unavailable.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{
    Answer, Change, ChangeRange, Changed, Confirmation, ContactAudience, ConversationPage, ConversationQuery, Created,
    Draft, Edit, HistoryPage, HistoryQuery, LastMessage, MemberChange, Membership, NewConversation, Operation, Pending,
    ReadMark, Records, UnreadRequest, UnreadSnapshot, records_bounds as bounds,
};
use roost_core::time::Timestamp;

use super::fault::answer;
use super::lane::begin;
use super::people::{ADDED, BLOCKED};
use super::talk::Talk;
use super::{SqliteRecords, conversations, messages, outbox, people, reading, standing};

/// Runs a question on a reading connection.
macro_rules! read {
    ($self:ident, $operation:ident, |$connection:ident| $question:expr) => {{
        let stored = async {
            let mut turn = $self.readers.turn().await?;
            let $connection = &mut *turn;
            $question.await
        };
        answer(Operation::$operation.name(), stored.await)
    }};
}

/// Runs a change in a transaction of the writing connection. A change that is refused leaves nothing behind.
macro_rules! write {
    ($self:ident, $operation:ident, |$connection:ident| $change:expr) => {{
        let stored = async {
            let mut turn = $self.writer.turn().await?;
            let mut transaction = begin(&mut turn).await?;
            let $connection = &mut *transaction;
            let done = $change.await?;
            transaction.commit().await?;
            Ok(done)
        };
        answer(Operation::$operation.name(), stored.await)
    }};
}

impl Records for SqliteRecords {
    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        bounds::draft(&draft)?;
        write!(self, AppendMessage, |connection| messages::append(connection, draft))
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        bounds::edit(&edit)?;
        write!(self, EditMessage, |connection| messages::edit(connection, edit))
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: UserId,
        at: Timestamp,
    ) -> Answer<Changed> {
        bounds::moment(at)?;
        write!(self, DeleteMessage, |connection| messages::delete(connection, (conversation, message), actor, at))
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        write!(self, MarkRead, |connection| standing::mark_read(connection, user, conversation, up_to))
    }

    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        bounds::unread(&requests)?;
        read!(self, Unread, |connection| standing::unread(connection, requests))
    }

    async fn changes(&self, ranges: Vec<ChangeRange>) -> Answer<Vec<Vec<Change>>> {
        bounds::changes(&ranges)?;
        read!(self, Changes, |connection| reading::changes(connection, ranges))
    }

    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Answer<Vec<LastMessage>> {
        bounds::list(&conversations)?;
        read!(self, LastMessages, |connection| reading::last_messages(connection, conversations))
    }

    async fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        read!(self, Membership, |connection| async {
            let (talk, place) = Talk::of_member(connection, conversation, user).await?;
            Ok(talk.membership(place))
        })
    }

    async fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        bounds::conversations(&query)?;
        read!(self, Conversations, |connection| conversations::page(connection, user, query))
    }

    async fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        bounds::history(&query)?;
        read!(self, History, |connection| reading::history(connection, query))
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        let members = bounds::members(&conversation)?;
        write!(self, CreateConversation, |connection| conversations::create(connection, conversation, members))
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::moment(change.at)?;
        write!(self, AddMember, |connection| conversations::add_member(connection, change))
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::moment(change.at)?;
        write!(self, RemoveMember, |connection| conversations::remove_member(connection, change))
    }

    async fn contacts(&self, user: UserId) -> Answer<Vec<UserId>> {
        read!(self, Contacts, |connection| people::contacts(connection, user))
    }

    async fn audience(&self, users: Vec<UserId>) -> Answer<Vec<ContactAudience>> {
        bounds::list(&users)?;
        read!(self, Audience, |connection| people::audience(connection, users))
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        bounds::two_people(user, contact)?;
        write!(self, AddContact, |connection| ADDED.add(connection, user, contact))
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        write!(self, RemoveContact, |connection| ADDED.remove(connection, user, contact))
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        bounds::two_people(user, blocked)?;
        write!(self, Block, |connection| BLOCKED.add(connection, user, blocked))
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        write!(self, Unblock, |connection| BLOCKED.remove(connection, user, blocked))
    }

    async fn pending(&self, before: Timestamp, limit: u32) -> Answer<Vec<Pending>> {
        bounds::pending(limit)?;
        read!(self, Pending, |connection| outbox::pending(connection, before, limit))
    }

    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        bounds::list(&confirmations)?;
        self.confirmations.accept(confirmations);
        Ok(())
    }
}
