//! The records port and the directory on a backend: first the bounds, then one request. The answer to a list must have
//! one entry for each entry that was asked, in the same order.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::limits::{
    CHANGES_MAX, COUNTERS_MAX, DOCUMENTS_MAX, ERASED_MESSAGES, LIST_MAX, PAGE_DEFAULT, RECEIPT_AUTHORS_MAX,
};
use roost_core::port::{
    Answer, Change, ChangeRange, Changed, Confirmation, ContactAudience, ConversationPage, ConversationQuery, Created,
    DirectRequest, Directory, Document, DocumentKey, DocumentPut, DocumentScope, Draft, Edit, Erased, HistoryPage,
    HistoryQuery, LastMessage, MemberChange, MembersPage, MembersQuery, Membership, Message, MessagesQuery,
    NewConversation, Operation, PendingPage, PendingQuery, Postponement, ReadMark, Records, RecordsError, Relation,
    UnreadRequest, UnreadSnapshot, records_bounds as bounds,
};
use roost_core::time::Timestamp;

use super::answer::BackendError;
use super::{HttpRecords, OperationName, wire};

impl Records for HttpRecords {
    async fn append_message(&self, draft: Draft) -> Answer<Changed> {
        bounds::draft(&draft)?;
        let answer: wire::Changed = self.ask(Operation::AppendMessage, wire::AppendMessage::from(draft)).await?;
        Ok(answer.into())
    }

    async fn edit_message(&self, edit: Edit) -> Answer<Changed> {
        bounds::edit(&edit)?;
        let answer: wire::Changed = self.ask(Operation::EditMessage, wire::EditMessage::from(edit)).await?;
        Ok(answer.into())
    }

    async fn delete_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        bounds::timestamp(at)?;
        let question = wire::DeleteMessage { conversation, id: message, actor, at };
        let answer: wire::Changed = self.ask(Operation::DeleteMessage, question).await?;
        Ok(answer.into())
    }

    async fn mark_read(&self, user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer<ReadMark> {
        let question = wire::MarkRead { user, conversation, up_to };
        let answer: wire::ReadMark = self.ask(Operation::MarkRead, question).await?;
        if answer.counter.conversation == conversation && answer.audience.len() <= RECEIPT_AUTHORS_MAX {
            return Ok(answer.into());
        }
        let problem =
            format!("it is about another conversation, or names more than {RECEIPT_AUTHORS_MAX} users to tell");
        Err(malformed(Operation::MarkRead, problem))
    }

    async fn unread(&self, requests: Vec<UnreadRequest>) -> Answer<Vec<UnreadSnapshot>> {
        bounds::unread(&requests)?;
        let asked: Vec<UserId> = requests.iter().map(|request| request.user).collect();
        let question = wire::ReadUnread { requests: wire::list(requests) };
        let answer: wire::UnreadSnapshots = self.ask(Operation::Unread, &question).await?;
        check_order(Operation::Unread, &asked, answer.snapshots.iter().map(|snapshot| snapshot.user))?;
        let snapshots = wire::list(answer.snapshots);
        check_counters(&question.requests, &snapshots)?;
        Ok(snapshots)
    }

    async fn changes(&self, ranges: Vec<ChangeRange>) -> Answer<Vec<Vec<Change>>> {
        bounds::changes(&ranges)?;
        let asked = ranges.len();
        let question = wire::ReadChanges { ranges: wire::list(ranges) };
        let answer: wire::ChangeLists = self.ask(Operation::Changes, question).await?;
        check_order(Operation::Changes, &vec![(); asked], answer.changes.iter().map(|_| ()))?;
        // A backend need not know these bounds, which keep the answer within the memory of a function.
        let mut left = bounds::ChangesLeft::ALL;
        let bounded = |mut changes: Vec<wire::Change>| {
            changes.drain(..changes.len().saturating_sub(CHANGES_MAX));
            left.take_newest(wire::list(changes))
        };
        Ok(answer.changes.into_iter().map(bounded).collect())
    }

    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Answer<Vec<LastMessage>> {
        bounds::list(&conversations)?;
        let question = wire::ReadLastMessages { conversations };
        let answer: wire::LastMessages = self.ask(Operation::LastMessages, &question).await?;
        let answered = answer.last_messages.iter().map(|last| last.conversation);
        check_order(Operation::LastMessages, &question.conversations, answered)?;
        Ok(wire::list(answer.last_messages))
    }

    async fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        let answer: wire::Membership =
            self.ask(Operation::Membership, wire::ReadMembership { conversation, user }).await?;
        Ok(answer.into())
    }

    async fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        bounds::conversations(&query)?;
        let question = wire::ListConversations::from((user, query));
        let answer: wire::ConversationPage = self.ask(Operation::Conversations, &question).await?;
        check_conversations(&question, &answer)?;
        Ok(answer.into())
    }

    async fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        bounds::history(&query)?;
        let answer: wire::HistoryPage = self.ask(Operation::History, wire::ReadHistory::from(query)).await?;
        check_history(&query, &answer)?;
        Ok(answer.into())
    }

    async fn messages(&self, query: MessagesQuery) -> Answer<Vec<Option<Message>>> {
        bounds::messages(&query)?;
        let question = wire::ReadMessages::from(query);
        let answer: wire::Messages = self.ask(Operation::Messages, &question).await?;
        // A message that is not shown has no id to compare.
        let answered = question.messages.iter().zip(&answer.messages);
        let answered = answered.map(|(asked, message)| message.as_ref().map_or(*asked, |message| message.id));
        let surplus = answer.messages.iter().skip(question.messages.len()).map(|_| MessageId::from_u128(0));
        check_order(Operation::Messages, &question.messages, answered.chain(surplus))?;
        Ok(answer.messages.into_iter().map(|message| message.map(Into::into)).collect())
    }

    async fn create_conversation(&self, conversation: NewConversation) -> Answer<Created> {
        let members = bounds::members(&conversation)?;
        let question = wire::CreateConversation::from(NewConversation { members, ..conversation });
        let answer: wire::Created = self.ask(Operation::CreateConversation, question).await?;
        Ok(answer.into())
    }

    async fn create_direct(&self, request: DirectRequest) -> Answer<Created> {
        bounds::direct(&request)?;
        let answer: wire::Created = self.ask(Operation::CreateDirect, wire::CreateDirect::from(request)).await?;
        Ok(answer.into())
    }

    async fn add_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        let answer: wire::Members = self.ask(Operation::AddMember, wire::MemberChange::from(change)).await?;
        Ok(answer.members)
    }

    async fn remove_member(&self, change: MemberChange) -> Answer<Vec<UserId>> {
        bounds::timestamp(change.at)?;
        let answer: wire::Members = self.ask(Operation::RemoveMember, wire::MemberChange::from(change)).await?;
        Ok(answer.members)
    }

    async fn members(&self, query: MembersQuery) -> Answer<MembersPage> {
        bounds::members_page(&query)?;
        let answer: wire::MembersPage = self.ask(Operation::Members, wire::ListMembers::from(query)).await?;
        let users: Vec<UserId> = answer.members.iter().map(|member| member.user).collect();
        check_page(Operation::Members.into(), query.after, &users, query.limit)?;
        if answer.next_after.is_some() && answer.next_after != users.last().copied() {
            let problem = "its `next_after` is not the last member of the page".to_owned();
            return Err(malformed(Operation::Members, problem));
        }
        Ok(answer.into())
    }

    async fn contacts(&self, user: UserId) -> Answer<Vec<UserId>> {
        let answer: wire::Contacts = self.ask(Operation::Contacts, wire::ReadContacts { user }).await?;
        Ok(answer.contacts)
    }

    async fn blocks(&self, user: UserId) -> Answer<Vec<UserId>> {
        let answer: wire::BlockedUsers = self.ask(Operation::Blocks, wire::ReadBlocks { user }).await?;
        Ok(answer.blocked)
    }

    async fn audience(&self, users: Vec<UserId>) -> Answer<Vec<ContactAudience>> {
        bounds::list(&users)?;
        let question = wire::ReadAudience { users };
        let answer: wire::Audiences = self.ask(Operation::Audience, &question).await?;
        check_order(Operation::Audience, &question.users, answer.audiences.iter().map(|audience| audience.user))?;
        Ok(wire::list(answer.audiences))
    }

    async fn relation(&self, user: UserId, other: UserId) -> Answer<Relation> {
        let answer: wire::Relation = self.ask(Operation::Relation, wire::ReadRelation { user, other }).await?;
        Ok(answer.into())
    }

    async fn add_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        bounds::two_users(user, contact)?;
        self.command(Operation::AddContact, wire::Contact { user, contact }).await
    }

    async fn remove_contact(&self, user: UserId, contact: UserId) -> Answer<()> {
        self.command(Operation::RemoveContact, wire::Contact { user, contact }).await
    }

    async fn block(&self, user: UserId, blocked: UserId) -> Answer<()> {
        bounds::two_users(user, blocked)?;
        self.command(Operation::Block, wire::Blocked { user, blocked }).await
    }

    async fn unblock(&self, user: UserId, blocked: UserId) -> Answer<()> {
        self.command(Operation::Unblock, wire::Blocked { user, blocked }).await
    }

    async fn erase_user(&self, user: UserId, at: Timestamp) -> Answer<Erased> {
        bounds::timestamp(at)?;
        let answer: wire::Erased = self.ask(Operation::EraseUser, wire::EraseUser { user, at }).await?;
        check_erased(answer.into())
    }

    async fn pending(&self, query: PendingQuery) -> Answer<PendingPage> {
        bounds::pending(&query)?;
        // A timestamp after the year 9999 has no wire form; the end of 9999 asks for the same.
        let query = PendingQuery { before: query.before.min(bounds::TIMESTAMP_MAX), ..query };
        let limit = query.limit as usize;
        let answer: wire::PendingPage = self.ask(Operation::Pending, wire::ReadPending::from(query)).await?;
        if answer.pending.len() <= limit {
            return Ok(answer.into());
        }
        let problem = format!("its page has {} entries, at most {limit} were asked for", answer.pending.len());
        Err(malformed(Operation::Pending, problem))
    }

    async fn announced(&self, confirmations: Vec<Confirmation>) -> Answer<()> {
        bounds::list(&confirmations)?;
        self.command(Operation::Announced, wire::Announced { confirmations: wire::list(confirmations) }).await
    }

    async fn postpone(&self, postponements: Vec<Postponement>) -> Answer<()> {
        bounds::postponements(&postponements)?;
        self.command(Operation::Postpone, wire::Postpone { postponements: wire::list(postponements) }).await
    }

    async fn read_documents(&self, keys: Vec<DocumentKey>) -> Answer<Vec<Option<Document>>> {
        bounds::document_keys(&keys)?;
        let asked = keys.len();
        let question = wire::ReadDocuments { keys: wire::list(keys) };
        let answer: wire::Documents = self.ask(Operation::ReadDocuments, question).await?;
        check_order(Operation::ReadDocuments, &vec![(); asked], answer.documents.iter().map(|_| ()))?;
        Ok(answer.documents.into_iter().map(|document| document.map(Into::into)).collect())
    }

    async fn put_document(&self, put: DocumentPut) -> Answer<u64> {
        bounds::document_put(&put)?;
        let next = put.expected.map_or(1, |version| version.saturating_add(1));
        let answer: wire::DocumentVersion = self.ask(Operation::PutDocument, wire::PutDocument::from(put)).await?;
        if answer.version == next {
            return Ok(next);
        }
        let problem = format!("it answers version {} for a document that now has version {next}", answer.version);
        Err(malformed(Operation::PutDocument, problem))
    }

    async fn delete_document(&self, key: DocumentKey, expected: u64) -> Answer<()> {
        bounds::document_key(&key)?;
        self.command(Operation::DeleteDocument, wire::DeleteDocument { key: key.into(), expected }).await
    }

    async fn document_names(&self, scope: DocumentScope) -> Answer<Vec<String>> {
        bounds::document_scope(&scope)?;
        let answer: wire::DocumentNames = self.ask(Operation::DocumentNames, wire::DocumentScope::from(scope)).await?;
        let mut names = answer.names;
        if names.len() > DOCUMENTS_MAX {
            let problem = format!("its list has {} names, at most {DOCUMENTS_MAX} are allowed", names.len());
            return Err(malformed(Operation::DocumentNames, problem));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

impl HttpRecords {
    /// Asks for an operation whose answer has no content.
    async fn command(&self, operation: Operation, question: impl serde::Serialize + Send) -> Answer<()> {
        self.ask::<wire::Done>(operation, question).await.map(|_| ())
    }
}

impl Directory for HttpRecords {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let name = OperationName("users");
        let wire::Users { users } = self.ask(name, wire::ReadIds { after, limit }).await?;
        check_page(name, after, &users, limit)?;
        Ok(users)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        let name = OperationName("conversation-ids");
        let wire::ConversationIds { conversations } = self.ask(name, wire::ReadIds { after, limit }).await?;
        check_page(name, after, &conversations, limit)?;
        Ok(conversations)
    }
}

/// The error for an answer that the port does not allow.
fn malformed(name: impl Into<OperationName>, problem: String) -> RecordsError {
    BackendError::Malformed(problem).into_records_error(name.into().0)
}

/// Checks the counters of users. An answer that is larger than allowed would not fit into a function, and one that does
/// not go on would be asked for without end. A counter of a conversation that was not named would be taken for that of
/// another.
fn check_counters(requests: &[wire::UnreadRequest], snapshots: &[UnreadSnapshot]) -> Answer<()> {
    let all = || requests.iter().zip(snapshots).filter(|(request, _)| request.conversations.is_none());
    let count: usize = all().map(|(_, snapshot)| snapshot.counters.len()).sum();
    let starts_above = all().all(|(request, snapshot)| {
        snapshot.counters.first().is_none_or(|first| Some(first.conversation) > request.after)
    });
    let goes_on = count > 0 || !all().any(|(_, snapshot)| snapshot.more);
    let are_named = requests.iter().zip(snapshots).all(|(request, snapshot)| {
        let named = request.conversations.as_deref();
        named.is_none_or(|ids| snapshot.counters.iter().all(|counter| ids.contains(&counter.conversation)))
    });
    let problem = if count > COUNTERS_MAX {
        format!("it has {count} counters of users for whom all were asked, at most {COUNTERS_MAX} are allowed")
    } else if !starts_above || !goes_on {
        "its counters do not continue above `after`, in ascending order of the conversations".to_owned()
    } else if !are_named {
        "it has counters of conversations that were not named".to_owned()
    } else {
        return Ok(());
    };
    Err(malformed(Operation::Unread, problem))
}

/// Checks a page of conversations, or the named ones. A page that begins where the one before did would be asked for
/// without end.
fn check_conversations(question: &wire::ListConversations, page: &wire::ConversationPage) -> Answer<()> {
    let named = question.named.as_deref();
    let count_max = named.map_or(question.limit.unwrap_or(PAGE_DEFAULT) as usize, <[ConversationId]>::len);
    let is_asked = |found: &wire::Conversation| named.is_none_or(|ids| ids.contains(&found.id));
    let goes_on = page.next_cursor.is_none() || page.next_cursor != question.cursor;
    if page.conversations.len() <= count_max && page.conversations.iter().all(is_asked) && goes_on {
        return Ok(());
    }
    let problem = format!("its page is not at most {count_max} of the conversations asked, or does not go on");
    Err(malformed(Operation::Conversations, problem))
}

/// Checks a page of messages. One with messages of another conversation would show them to whoever may not see them,
/// and one that does not go back would be asked for without end.
fn check_history(query: &HistoryQuery, page: &wire::HistoryPage) -> Answer<()> {
    let before = query.before.unwrap_or(Seq(u64::MAX));
    let is_asked =
        page.messages.iter().all(|message| message.conversation == query.conversation && message.seq < before);
    let goes_back = page.messages.is_sorted_by(|newer, older| newer.seq > older.seq);
    let lowest = page.messages.last().map(|message| message.seq);
    let goes_on = page.next_before.is_none_or(|next| next < before && lowest.is_none_or(|lowest| next <= lowest));
    if page.messages.len() <= query.limit as usize && is_asked && goes_back && goes_on {
        return Ok(());
    }
    let problem = format!(
        "its page is not at most {} messages of the conversation below `before`, newest first, or does not go on",
        query.limit
    );
    Err(malformed(Operation::History, problem))
}

/// Checks a step of erasing a user: an answer that is larger than allowed would not fit into a function.
fn check_erased(erased: Erased) -> Answer<Erased> {
    let Erased { left, deleted, related, .. } = &erased;
    if left.len() <= LIST_MAX && related.len() <= LIST_MAX && deleted.len() <= ERASED_MESSAGES {
        return Ok(erased);
    }
    let problem =
        format!("its step has more than {LIST_MAX} conversations or users, or more than {ERASED_MESSAGES} messages");
    Err(malformed(Operation::EraseUser, problem))
}

/// Checks a page of ids. A page that breaks its promise would end a walk through all ids too early, or never.
fn check_page<I: Ord + Copy>(name: OperationName, after: Option<I>, ids: &[I], limit: u32) -> Answer<()> {
    let above = after.is_none_or(|after| ids.first().is_none_or(|first| *first > after));
    if above && ids.is_sorted_by(|one, other| one < other) && ids.len() <= limit as usize {
        return Ok(());
    }
    let problem = format!("its list is not at most {limit} ids above the one asked, in ascending order");
    Err(malformed(name, problem))
}

/// Checks that the answers are for what was asked, in the same order, because the caller matches them by position.
fn check_order<T: PartialEq + Copy>(
    operation: Operation,
    asked: &[T],
    answered: impl Iterator<Item = T>,
) -> Answer<()> {
    if answered.eq(asked.iter().copied()) {
        return Ok(());
    }
    let problem = format!("its list does not answer the {} entries asked, in their order", asked.len());
    Err(malformed(operation, problem))
}
