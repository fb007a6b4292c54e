//! The system of record as a simple model in memory: the fake that use cases are tested on, and the oracle that
//! adapters and the simulation are compared with.
//!
//! Every call takes effect at once, also `announced`. Generated ids are counted from the seed. The fake has no clock: a
//! read mark is stored at the latest timestamp that any call has named so far.

mod contacts;
mod conversation;
mod documents;
mod erasing;
mod oracle;
mod outbox;
mod pairs;
mod state;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::port::{
    Answer, Change, ChangeRange, Changed, Confirmation, ContactAudience, ConversationPage, ConversationQuery, Created,
    DirectRequest, Directory, Document, DocumentKey, DocumentPut, DocumentScope, Draft, Edit, Erased, HistoryPage,
    HistoryQuery, LastMessage, MemberChange, MembersPage, MembersQuery, Membership, Message, MessagesQuery,
    NewConversation, PendingPage, PendingQuery, Postponement, ReadMark, Records, Relation, UnreadRequest,
    UnreadSnapshot, records_bounds as bounds,
};
use crate::time::Timestamp;
use state::FakeState;

/// Records in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FakeRecords(Arc<Mutex<FakeState>>);

impl FakeRecords {
    /// Empty records. Different seeds generate different ids.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(FakeState::new(seed))))
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for FakeRecords {
    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        bounds::draft(&draft)?;
        self.state().append(draft)
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        bounds::edit(&edit)?;
        self.state().edit(edit)
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        bounds::timestamp(at)?;
        self.state().delete(conversation, message, actor, at)
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        self.state().mark_read(user, conversation, up_to)
    }

    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        bounds::unread(&requests)?;
        Ok(self.state().unread(requests))
    }

    async fn changes(&self, ranges: Vec<ChangeRange>) -> Answer<Vec<Vec<Change>>> {
        bounds::changes(&ranges)?;
        Ok(self.state().changes(ranges))
    }

    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Answer<Vec<LastMessage>> {
        bounds::list(&conversations)?;
        let state = self.state();
        Ok(conversations.into_iter().map(|conversation| state.last_message(conversation)).collect())
    }

    async fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        self.state().membership(conversation, user)
    }

    async fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        bounds::conversations(&query)?;
        self.state().conversations(user, query)
    }

    async fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        bounds::history(&query)?;
        self.state().history(query)
    }

    async fn messages(&self, query: MessagesQuery) -> Answer<Vec<Option<Message>>> {
        bounds::messages(&query)?;
        self.state().messages(&query)
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        let members = bounds::members(&conversation)?;
        self.state().create(&conversation, &members)
    }

    async fn create_direct(&self, request: DirectRequest) -> Answer<Created> {
        bounds::direct(&request)?;
        self.state().create_direct(request)
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        self.state().add_member(change)
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        self.state().remove_member(change)
    }

    async fn members(&self, query: MembersQuery) -> Answer<MembersPage> {
        bounds::members_page(&query)?;
        self.state().members(&query)
    }

    async fn contacts(&self, user: UserId) -> Answer<Vec<UserId>> {
        Ok(self.state().relations.contacts(user))
    }

    async fn blocks(&self, user: UserId) -> Answer<Vec<UserId>> {
        Ok(self.state().relations.blocks(user))
    }

    async fn audience(&self, users: Vec<UserId>) -> Answer<Vec<ContactAudience>> {
        bounds::list(&users)?;
        let state = self.state();
        Ok(users.into_iter().map(|user| ContactAudience { user, visible: state.relations.audience(user) }).collect())
    }

    async fn relation(&self, user: UserId, other: UserId) -> Answer<Relation> {
        Ok(self.state().relations.relation(user, other))
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        bounds::two_users(user, contact)?;
        self.state().change_relation(user, contact, |relations| relations.add_contact(user, contact))
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.state().change_relation(user, contact, |relations| Ok(relations.remove_contact(user, contact)))
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        bounds::two_users(user, blocked)?;
        self.state().change_relation(user, blocked, |relations| relations.block(user, blocked))
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.state().change_relation(user, blocked, |relations| Ok(relations.unblock(user, blocked)))
    }

    async fn erase_user(&self, user: UserId, at: Timestamp) -> Answer<Erased> {
        bounds::timestamp(at)?;
        self.state().erase(user, at)
    }

    async fn pending(&self, query: PendingQuery) -> Answer<PendingPage> {
        bounds::pending(&query)?;
        self.state().pending(&query)
    }

    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        bounds::list(&confirmations)?;
        self.state().announced(&confirmations);
        Ok(())
    }

    async fn postpone(&self, postponements: Vec<Postponement>) -> Answer<()> {
        bounds::postponements(&postponements)?;
        self.state().postpone(&postponements);
        Ok(())
    }

    async fn read_documents(&self, keys: Vec<DocumentKey>) -> Answer<Vec<Option<Document>>> {
        bounds::document_keys(&keys)?;
        let state = self.state();
        Ok(keys.iter().map(|key| state.documents.read(key)).collect())
    }

    async fn put_document(&self, put: DocumentPut) -> Answer<u64> {
        bounds::document_put(&put)?;
        self.state().documents.put(put)
    }

    async fn delete_document(&self, key: DocumentKey, expected: u64) -> Answer<()> {
        bounds::document_key(&key)?;
        self.state().documents.delete(&key, expected)
    }

    async fn document_names(&self, scope: DocumentScope) -> Answer<Vec<String>> {
        bounds::document_scope(&scope)?;
        Ok(self.state().documents.names(&scope))
    }
}

impl Directory for FakeRecords {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let state = self.state();
        let users: BTreeSet<UserId> =
            state.conversations.values().flat_map(|conversation| conversation.members.keys().copied()).collect();
        Ok(users.into_iter().filter(|user| Some(*user) > after).take(limit as usize).collect())
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        Ok(self.state().conversations.keys().copied().filter(|id| Some(*id) > after).take(limit as usize).collect())
    }
}
