//! Implements `records`: the system of record. Grants, the lengths of lists and what the call may use are checked here,
//! and documents are those of the function that calls.

use roost_core::ids::{Seq, UserId};
use roost_core::limits::{DOCUMENT_KEYS_MAX, LIST_MAX, MEMBERS_MAX, PAGE_MAX};
use roost_core::message_kind;
use roost_core::port::{
    Answer, Changed, Confirmation, DirectRequest, DocumentPut, Edit, Erased, MemberChange, Membership, MessagesQuery,
    NewConversation, Operation, Records, RecordsError,
};
use roost_core::time::Timestamp;

use super::super::bindings::records as wit;
use super::super::bindings::types::Id;
use super::super::conversions::{document_key, document_put, document_scope, list};
use super::super::quota::{DOCUMENTS_BYTES_KEY, Resource};
use super::super::state::InstanceState;

type ImportResult<T> = wasmtime::Result<Result<T, wit::Error>>;

impl InstanceState {
    /// Whether the function may use the operation now, and the lists in its request are not too long.
    fn allow_records(
        &mut self,
        operation: Operation,
        (items, items_max): (usize, usize),
    ) -> wasmtime::Result<Result<(), RecordsError>> {
        self.refuse_in_describe("records")?;
        if let Err(missing) = self.identity.grants.check_records(operation) {
            return Ok(Err(RecordsError::Denied(missing)));
        }
        if items > items_max {
            return Ok(Err(RecordsError::TooLarge(format!(
                "a list has {items} entries, but at most {items_max} are allowed; send several requests"
            ))));
        }
        Ok(self.take(Resource::RecordsOperations, 1).map_err(RecordsError::QuotaExceeded))
    }

    /// Whether the caller, if it is a user, may put these users into a conversation. It does not matter in whose name
    /// the function does that.
    async fn check_additions(&self, added: &[UserId]) -> Answer<()> {
        let policy = self.identity.world.additions();
        let Some(user) = self.user else { return Ok(()) };
        let mut contacts = Vec::new();
        if policy.needs_contacts(user, added) {
            let audiences = self.identity.world.records.audience(vec![user]).await?;
            contacts.extend(audiences.into_iter().flat_map(|audience| audience.visible));
        }
        policy.check(user, added, &contacts)
    }

    /// Whether the caller may send messages of this type.
    fn check_kind(&self, kind: &str) -> Answer<()> {
        if self.user.is_some() { message_kind::check_of_user(kind) } else { Ok(()) }
    }

    /// Whether the caller may edit messages of the type of this one. A message that the caller may not see has no type
    /// here; the records refuse it.
    async fn check_edited(&self, edit: &Edit) -> Answer<()> {
        if self.user.is_none() {
            return Ok(());
        }
        let Edit { conversation, message, editor: user, .. } = *edit;
        let query = MessagesQuery { user, conversation, messages: vec![message] };
        let found = self.identity.world.records.messages(query).await?;
        found.into_iter().flatten().try_for_each(|message| self.check_kind(&message.kind))
    }

    /// Remembers who made a change, and translates the answer.
    async fn changed(&self, changed: Result<Changed, wit::Error>) -> ImportResult<wit::Changed> {
        if let Ok(changed) = &changed {
            self.publisher().remember_origin(changed).await;
        }
        Ok(changed.map(Into::into))
    }
}

/// Calls the records if that is allowed, and translates the answer.
macro_rules! ask {
    ($state:ident, $operation:ident, $method:ident($($argument:expr),*) => $translate:expr) => {
        ask!($state, $operation, $method($($argument),*), at_most (0, 0) => $translate)
    };
    ($state:ident, $operation:ident, $method:ident($($argument:expr),*), at_most $bound:expr => $translate:expr) => {
        match $state.allow_records(Operation::$operation, $bound)? {
            Ok(()) => Ok($state
                .identity
                .world
                .records
                .$method($($argument),*)
                .await
                .map($translate)
                .map_err(Into::into)),
            Err(error) => Ok(Err(error.into())),
        }
    };
}

impl wit::Host for InstanceState {
    async fn append_message(&mut self, draft: wit::Draft) -> ImportResult<wit::Changed> {
        if let Err(error) = self.check_kind(&draft.kind) {
            return Ok(Err(error.into()));
        }
        let changed: ImportResult<Changed> =
            ask!(self, AppendMessage, append_message(draft.into()) => |changed| changed);
        self.changed(changed?).await
    }

    async fn edit_message(&mut self, edit: wit::Edit) -> ImportResult<wit::Changed> {
        if let Err(error) = self.allow_records(Operation::EditMessage, (0, 0))? {
            return Ok(Err(error.into()));
        }
        let edit: Edit = edit.into();
        if let Err(error) = self.check_edited(&edit).await {
            return Ok(Err(error.into()));
        }
        let changed = self.identity.world.records.edit_message(edit).await;
        self.changed(changed.map_err(Into::into)).await
    }

    async fn delete_message(
        &mut self,
        conversation: Id,
        message: Id,
        actor: Option<Id>,
        at: u64,
    ) -> ImportResult<wit::Changed> {
        let changed: ImportResult<Changed> = ask!(
            self,
            DeleteMessage,
            delete_message(conversation.into(), message.into(), actor.map(Into::into), Timestamp(at))
                => |changed| changed
        );
        self.changed(changed?).await
    }

    async fn mark_read(&mut self, user: Id, conversation: Id, up_to: Option<u64>) -> ImportResult<wit::ReadMark> {
        ask!(
            self,
            MarkRead,
            mark_read(user.into(), conversation.into(), up_to.map(Seq)) => Into::into
        )
    }

    async fn unread(&mut self, requests: Vec<wit::UnreadRequest>) -> ImportResult<Vec<wit::UnreadSnapshot>> {
        let named = requests
            .iter()
            .filter_map(|request| request.conversations.as_ref().map(Vec::len))
            .fold(requests.len(), usize::max);
        ask!(self, Unread, unread(list(requests)), at_most (named, LIST_MAX) => list)
    }

    async fn changes(&mut self, ranges: Vec<wit::ChangeRange>) -> ImportResult<Vec<Vec<wit::Change>>> {
        let bound = (ranges.len(), LIST_MAX);
        ask!(
            self,
            Changes,
            changes(list(ranges)), at_most bound
                => |answers| answers.into_iter().map(list).collect()
        )
    }

    async fn last_messages(&mut self, conversations: Vec<Id>) -> ImportResult<Vec<wit::LastMessage>> {
        let bound = (conversations.len(), LIST_MAX);
        ask!(self, LastMessages, last_messages(list(conversations)), at_most bound => list)
    }

    async fn membership(&mut self, conversation: Id, user: Id) -> ImportResult<wit::MemberView> {
        let user: UserId = user.into();
        let membership: ImportResult<Membership> =
            ask!(self, Membership, membership(conversation.into(), user) => |membership| membership);
        let membership = membership?;
        if let Ok(membership) = &membership {
            self.recipients.remember(user, &membership.members);
        }
        Ok(membership.map(Into::into))
    }

    async fn conversations(&mut self, user: Id, query: wit::ConversationQuery) -> ImportResult<wit::ConversationPage> {
        let named = match &query {
            wit::ConversationQuery::Named(ids) => ids.len(),
            wit::ConversationQuery::Page(_) => 0,
        };
        ask!(
            self,
            Conversations,
            conversations(user.into(), query.into()), at_most (named, LIST_MAX) => Into::into
        )
    }

    async fn history(&mut self, query: wit::HistoryQuery) -> ImportResult<wit::HistoryPage> {
        ask!(self, History, history(query.into()) => Into::into)
    }

    async fn messages(&mut self, query: wit::MessagesQuery) -> ImportResult<Vec<Option<wit::Message>>> {
        let bound = (query.messages.len(), PAGE_MAX as usize);
        ask!(
            self,
            Messages,
            messages(query.into()), at_most bound
                => |messages| messages.into_iter().map(|message| message.map(Into::into)).collect()
        )
    }

    async fn create_conversation(&mut self, conversation: wit::NewConversation) -> ImportResult<wit::Created> {
        let bound = (conversation.members.len(), MEMBERS_MAX);
        if let Err(error) = self.allow_records(Operation::CreateConversation, bound)? {
            return Ok(Err(error.into()));
        }
        let conversation: NewConversation = conversation.into();
        let added = [&conversation.members[..], &[conversation.creator]].concat();
        if let Err(error) = self.check_additions(&added).await {
            return Ok(Err(error.into()));
        }
        let created = self.identity.world.records.create_conversation(conversation).await;
        Ok(created.map(Into::into).map_err(Into::into))
    }

    async fn create_direct(&mut self, request: wit::DirectRequest) -> ImportResult<wit::Created> {
        if let Err(error) = self.allow_records(Operation::CreateDirect, (0, 0))? {
            return Ok(Err(error.into()));
        }
        let mut request: DirectRequest = request.into();
        let additions = self.check_additions(&request.users()).await;
        request.may_create = additions.is_ok();
        let created = match (self.identity.world.records.create_direct(request).await, additions) {
            // There is no pair, and the user may not create one: the reason is that of the configuration.
            (Err(RecordsError::NotFound(_)), Err(error)) => Err(error),
            (created, _) => created,
        };
        Ok(created.map(Into::into).map_err(Into::into))
    }

    async fn add_member(&mut self, change: wit::MemberChange) -> ImportResult<Vec<Id>> {
        if let Err(error) = self.allow_records(Operation::AddMember, (0, 0))? {
            return Ok(Err(error.into()));
        }
        let change: MemberChange = change.into();
        if let Err(error) = self.check_additions(&[change.user]).await {
            return Ok(Err(error.into()));
        }
        Ok(self.identity.world.records.add_member(change).await.map(list).map_err(Into::into))
    }

    async fn remove_member(&mut self, change: wit::MemberChange) -> ImportResult<Vec<Id>> {
        ask!(self, RemoveMember, remove_member(change.into()) => list)
    }

    async fn members(&mut self, query: wit::MembersQuery) -> ImportResult<wit::MembersPage> {
        ask!(self, Members, members(query.into()) => Into::into)
    }

    async fn contacts(&mut self, user: Id) -> ImportResult<Vec<Id>> {
        ask!(self, Contacts, contacts(user.into()) => list)
    }

    async fn blocks(&mut self, user: Id) -> ImportResult<Vec<Id>> {
        ask!(self, Blocks, blocks(user.into()) => list)
    }

    async fn audience(&mut self, users: Vec<Id>) -> ImportResult<Vec<wit::ContactAudience>> {
        let bound = (users.len(), LIST_MAX);
        ask!(self, Audience, audience(list(users)), at_most bound => list)
    }

    async fn relation(&mut self, user: Id, other: Id) -> ImportResult<wit::UserRelation> {
        ask!(self, Relation, relation(user.into(), other.into()) => Into::into)
    }

    async fn add_contact(&mut self, user: Id, contact: Id) -> ImportResult<()> {
        ask!(self, AddContact, add_contact(user.into(), contact.into()) => |()| ())
    }

    async fn remove_contact(&mut self, user: Id, contact: Id) -> ImportResult<()> {
        ask!(self, RemoveContact, remove_contact(user.into(), contact.into()) => |()| ())
    }

    async fn block(&mut self, user: Id, blocked: Id) -> ImportResult<()> {
        ask!(self, Block, block(user.into(), blocked.into()) => |()| ())
    }

    async fn unblock(&mut self, user: Id, blocked: Id) -> ImportResult<()> {
        ask!(self, Unblock, unblock(user.into(), blocked.into()) => |()| ())
    }

    async fn erase_user(&mut self, user: Id, at: u64) -> ImportResult<wit::Erased> {
        let erased: ImportResult<Erased> =
            ask!(self, EraseUser, erase_user(user.into(), Timestamp(at)) => |erased| erased);
        let erased = erased?;
        for changed in erased.iter().flat_map(|erased| &erased.deleted) {
            self.publisher().remember_origin(changed).await;
        }
        Ok(erased.map(Into::into))
    }

    async fn pending(&mut self, query: wit::PendingQuery) -> ImportResult<wit::PendingPage> {
        ask!(self, Pending, pending(query.into()) => Into::into)
    }

    async fn announced(&mut self, confirmations: Vec<wit::Confirmation>) -> ImportResult<()> {
        if let Err(error) = self.allow_records(Operation::Announced, (confirmations.len(), LIST_MAX))? {
            return Ok(Err(error.into()));
        }
        let confirmations: Vec<Confirmation> = list(confirmations);
        // First, so that a change whose calls are not queued stays pending and is announced again.
        if let Err(error) = self.publisher().announce(&confirmations).await {
            return Ok(Err(error.into()));
        }
        Ok(self.identity.world.records.announced(confirmations).await.map_err(Into::into))
    }

    async fn postpone(&mut self, postponements: Vec<wit::Postponement>) -> ImportResult<()> {
        let bound = (postponements.len(), LIST_MAX);
        ask!(self, Postpone, postpone(list(postponements)), at_most bound => |()| ())
    }

    async fn read_documents(&mut self, keys: Vec<wit::DocumentKey>) -> ImportResult<Vec<Option<wit::Document>>> {
        let bound = (keys.len(), DOCUMENT_KEYS_MAX);
        ask!(
            self,
            ReadDocuments,
            read_documents(keys.into_iter().map(|key| document_key(&self.identity.name, key)).collect()), at_most bound
                => |documents| documents.into_iter().map(|document| document.map(Into::into)).collect()
        )
    }

    async fn put_document(&mut self, put: wit::DocumentPut) -> ImportResult<u64> {
        if let Err(error) = self.allow_records(Operation::PutDocument, (0, 0))? {
            return Ok(Err(error.into()));
        }
        let bytes_max = Some(self.identity.documents_bytes_max);
        let put = DocumentPut { bytes_max, ..document_put(&self.identity.name, put) };
        let answer = self.identity.world.records.put_document(put).await;
        if matches!(answer, Err(RecordsError::QuotaExceeded(_))) {
            self.note_refusal(DOCUMENTS_BYTES_KEY);
        }
        Ok(answer.map_err(Into::into))
    }

    async fn delete_document(&mut self, key: wit::DocumentKey, expected: u64) -> ImportResult<()> {
        ask!(self, DeleteDocument, delete_document(document_key(&self.identity.name, key), expected) => |()| ())
    }

    async fn document_names(&mut self, owner: wit::Owner) -> ImportResult<Vec<String>> {
        ask!(self, DocumentNames, document_names(document_scope(&self.identity.name, owner)) => |names| names)
    }
}
