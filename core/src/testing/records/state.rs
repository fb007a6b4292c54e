//! The state of the fake: all conversations, and what each operation does to them.

use std::collections::{BTreeMap, BTreeSet};

use super::contacts::ContactsAndBlocks;
use super::conversation::{FakeConversation, FakeMember};
use super::documents::FakeDocuments;
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::limits::CHANGES_MAX;
use crate::port::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, Conversation, ConversationPage, ConversationQuery,
    Created, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, MemberChange, Membership, Message, MessagesQuery,
    NewConversation, Pending, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot, records_bounds as bounds,
};
use crate::time::Timestamp;

/// The moves of a member that are not confirmed: the time of the oldest, and their number.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnconfirmedMoves {
    pub(super) since: Timestamp,
    pub(super) moves: u64,
}

/// Everything that the fake stores.
#[derive(Debug, Default)]
pub(super) struct FakeState {
    seed: u64,
    generated_ids: u64,
    /// The latest timestamp that any call has named.
    latest: Timestamp,
    pub(super) conversations: BTreeMap<ConversationId, FakeConversation>,
    conversation_of_message: BTreeMap<MessageId, ConversationId>,
    pub(super) relations: ContactsAndBlocks,
    pub(super) documents: FakeDocuments,
    moves: BTreeMap<(ConversationId, UserId), UnconfirmedMoves>,
}

impl FakeState {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    fn generate_id(&mut self) -> u128 {
        self.generated_ids += 1;
        (u128::from(self.seed) << 64) | (1 << 63) | u128::from(self.generated_ids)
    }

    fn note_time(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
    }

    /// The conversation and the position of the user, who must be a member.
    fn as_member(&self, conversation: ConversationId, user: UserId) -> Answer<(&FakeConversation, FakeMember)> {
        let found = self.conversations.get(&conversation).ok_or(RecordsError::NotAMember)?;
        Ok((found, found.member(user)?))
    }

    fn conversation_mut(&mut self, conversation: ConversationId) -> Answer<&mut FakeConversation> {
        self.conversations.get_mut(&conversation).ok_or_else(|| RecordsError::NotFound("no such conversation".into()))
    }

    fn refuse_blocked(&self, found: &FakeConversation) -> Answer<()> {
        match found.pair() {
            Some((one, other)) if self.relations.is_blocked(one, other) => Err(RecordsError::Blocked),
            _ => Ok(()),
        }
    }

    pub(super) fn append(&mut self, draft: Draft) -> Answer<Changed> {
        let (found, _) = self.as_member(draft.conversation, draft.sender)?;
        if let Some(home) = draft.id.and_then(|id| self.conversation_of_message.get(&id)) {
            let stored = draft.id.and_then(|id| found.messages.get(&id));
            return match stored.filter(|stored| *home == found.id && stored.sender == draft.sender) {
                Some(stored) => found.changed(stored.seq, true),
                None => Err(RecordsError::Conflict("the message's id is taken".into())),
            };
        }
        self.refuse_blocked(found)?;
        self.note_time(draft.at);
        let id = draft.id.unwrap_or_else(|| MessageId::from_u128(self.generate_id()));
        self.conversation_of_message.insert(id, draft.conversation);
        let found = self.conversation_mut(draft.conversation)?;
        let seq = found.add_change(ChangeKind::Sent, id, draft.at);
        let message = Message {
            id,
            conversation: draft.conversation,
            seq,
            sender: draft.sender,
            kind: draft.kind,
            content: draft.content,
            created_at: draft.at,
            edited_at: None,
            deleted: false,
        };
        found.messages.insert(id, message);
        found.changed(seq, false)
    }

    /// A message that the user, a member, may see.
    fn message(
        &self,
        conversation: ConversationId,
        message: MessageId,
        user: UserId,
    ) -> Answer<(&FakeConversation, &Message)> {
        let (found, member) = self.as_member(conversation, user)?;
        let visible = found.messages.get(&message).filter(|message| message.seq > member.joined);
        visible.map(|message| (found, message)).ok_or_else(|| RecordsError::NotFound("no such message".into()))
    }

    pub(super) fn edit(&mut self, edit: Edit) -> Answer<Changed> {
        let (found, message) = self.message(edit.conversation, edit.message, edit.editor)?;
        if message.deleted {
            return Err(RecordsError::NotFound("the message was deleted".into()));
        }
        require_sender(message, edit.editor)?;
        if message.content == edit.content {
            return found.changed(found.latest_change(edit.message), true);
        }
        self.refuse_blocked(found)?;
        self.note_time(edit.at);
        let found = self.conversation_mut(edit.conversation)?;
        let seq = found.add_change(ChangeKind::Edited, edit.message, edit.at);
        if let Some(message) = found.messages.get_mut(&edit.message) {
            message.content = edit.content;
            message.edited_at = Some(edit.at);
        }
        found.changed(seq, false)
    }

    pub(super) fn delete(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        actor: UserId,
        at: Timestamp,
    ) -> Answer<Changed> {
        let (found, message) = self.message(conversation, id, actor)?;
        require_sender(message, actor)?;
        if message.deleted {
            return found.changed(found.latest_change(id), true);
        }
        self.note_time(at);
        let found = self.conversation_mut(conversation)?;
        let seq = found.add_change(ChangeKind::Deleted, id, at);
        if let Some(message) = found.messages.get_mut(&id) {
            message.content = String::new();
            message.deleted = true;
        }
        found.changed(seq, false)
    }

    pub(super) fn mark_read(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        up_to: Option<Seq>,
    ) -> Answer<ReadMark> {
        let (found, member) = self.as_member(conversation, user)?;
        let read = member.read.max(up_to.map_or(found.seq(), |up_to| up_to.min(found.seq())));
        let moved = read > member.read;
        let found = self.conversation_mut(conversation)?;
        if let Some(member) = found.members.get_mut(&user) {
            member.read = read;
        }
        let counter = found.counter(user).ok_or(RecordsError::NotAMember)?;
        let members = found.member_ids();
        if moved {
            self.add_move(conversation, user, self.latest);
        }
        Ok(ReadMark { counter, moved, members })
    }

    fn add_move(&mut self, conversation: ConversationId, user: UserId, since: Timestamp) {
        let unconfirmed = self.moves.entry((conversation, user)).or_insert(UnconfirmedMoves { since, moves: 0 });
        unconfirmed.moves += 1;
        unconfirmed.since = unconfirmed.since.min(since);
    }

    pub(super) fn unread(&self, request: UnreadRequest) -> UnreadSnapshot {
        let named = |found: &&FakeConversation| match &request.conversations {
            Some(named) => named.contains(&found.id),
            None => true,
        };
        let counters =
            self.conversations.values().filter(named).filter_map(|found| found.counter(request.user)).collect();
        UnreadSnapshot { user: request.user, counters }
    }

    pub(super) fn changes(&self, range: ChangeRange) -> Vec<Change> {
        let Some(found) = self.conversations.get(&range.conversation) else {
            return Vec::new();
        };
        let up_to = range.up_to.min(found.seq());
        let oldest = range.after.0.max(up_to.0.saturating_sub(CHANGES_MAX as u64));
        (oldest..up_to.0).filter_map(|seq| found.change(Seq(seq).next())).collect()
    }

    pub(super) fn last_message(&self, conversation: ConversationId) -> LastMessage {
        let found = self.conversations.get(&conversation);
        LastMessage {
            conversation,
            version: found.map_or(Seq::ZERO, FakeConversation::seq),
            message: found.and_then(|found| found.visible_messages().next().cloned()),
        }
    }

    pub(super) fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        let (found, member) = self.as_member(conversation, user)?;
        let blocked = self.refuse_blocked(found).is_err();
        Ok(Membership { joined: member.joined, members: found.member_ids(), blocked })
    }

    pub(super) fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        let mut all: Vec<Conversation> = self.conversations.values().filter_map(|found| found.view(user)).collect();
        all.sort_by_key(|conversation| std::cmp::Reverse((conversation.updated_at, conversation.id)));
        match query {
            ConversationQuery::Named(named) => {
                all.retain(|conversation| named.contains(&conversation.id));
                Ok(ConversationPage { conversations: all, next: None })
            }
            ConversationQuery::Page { cursor, limit } => {
                if let Some(after) = cursor.map(|cursor| parse_cursor(&cursor)).transpose()? {
                    all.retain(|conversation| (conversation.updated_at, conversation.id) < after);
                }
                let more = all.len() > limit as usize;
                all.truncate(limit as usize);
                let next = all.last().filter(|_| more).map(|last| format!("{}.{}", last.updated_at.0, last.id));
                Ok(ConversationPage { conversations: all, next })
            }
        }
    }

    pub(super) fn history(&self, query: HistoryQuery) -> Answer<HistoryPage> {
        let (found, member) = self.as_member(query.conversation, query.user)?;
        let before = query.before.unwrap_or(Seq(u64::MAX));
        let mut visible =
            found.visible_messages().filter(|message| message.seq > member.joined && message.seq < before);
        let messages: Vec<Message> = visible.by_ref().take(query.limit as usize).cloned().collect();
        let next_before = visible.next().and(messages.last()).map(|message| message.seq);
        Ok(HistoryPage { messages, next_before })
    }

    pub(super) fn messages(&self, query: &MessagesQuery) -> Answer<Vec<Option<Message>>> {
        let (found, member) = self.as_member(query.conversation, query.user)?;
        let visible = |id| {
            let message: &Message = found.messages.get(id)?;
            (message.seq > member.joined && !message.deleted).then(|| message.clone())
        };
        Ok(query.messages.iter().map(visible).collect())
    }

    pub(super) fn create(&mut self, new: &NewConversation, members: &[UserId]) -> Answer<Created> {
        if let Some(found) = new.id.and_then(|id| self.conversations.get(&id)) {
            let same = found.creator == new.creator && found.member_ids() == members;
            let conversation = found.view(new.creator).filter(|_| same);
            return conversation
                .map(|conversation| Created { conversation, repeated: true })
                .ok_or_else(|| RecordsError::Conflict("the conversation's id is taken".into()));
        }
        if let [one, other] = members
            && self.relations.is_blocked(*one, *other)
        {
            return Err(RecordsError::Blocked);
        }
        self.note_time(new.at);
        let id = new.id.unwrap_or_else(|| ConversationId::from_u128(self.generate_id()));
        let position = FakeMember { joined: Seq::ZERO, read: Seq::ZERO };
        let created = FakeConversation {
            id,
            creator: new.creator,
            members: members.iter().map(|&member| (member, position)).collect(),
            messages: BTreeMap::new(),
            changes: Vec::new(),
            unannounced: BTreeSet::new(),
            updated_at: new.at,
        };
        self.conversations.insert(id, created);
        let conversation = Conversation { id, members: members.to_vec(), joined: Seq::ZERO, updated_at: new.at };
        Ok(Created { conversation, repeated: false })
    }

    /// The conversation whose members change. Only services learn that there is no such conversation.
    fn conversation_to_change(&self, change: &MemberChange) -> Answer<&FakeConversation> {
        match (self.conversations.get(&change.conversation), change.actor) {
            (Some(found), Some(actor)) => found.member(actor).map(|_| found),
            (Some(found), None) => Ok(found),
            (None, Some(_)) => Err(RecordsError::NotAMember),
            (None, None) => Err(RecordsError::NotFound("no such conversation".into())),
        }
    }

    pub(super) fn add_member(&mut self, change: MemberChange) -> Answer<Vec<UserId>> {
        let found = self.conversation_to_change(&change)?;
        if found.members.contains_key(&change.user) {
            return Ok(found.member_ids());
        }
        if change.actor.is_some_and(|actor| self.relations.is_blocked(actor, change.user)) {
            return Err(RecordsError::Blocked);
        }
        bounds::member_count(found.members.len() + 1)?;
        let seq = found.seq();
        self.note_time(change.at);
        self.add_move(change.conversation, change.user, change.at);
        let found = self.conversation_mut(change.conversation)?;
        found.members.insert(change.user, FakeMember { joined: seq, read: seq });
        Ok(found.member_ids())
    }

    pub(super) fn remove_member(&mut self, change: MemberChange) -> Answer<Vec<UserId>> {
        let found = self.conversation_to_change(&change)?;
        if change.actor.is_some_and(|actor| actor != change.user && actor != found.creator) {
            return Err(RecordsError::Forbidden(
                "only the conversation's creator and services may remove other members".into(),
            ));
        }
        let is_member = found.members.contains_key(&change.user);
        if is_member {
            self.note_time(change.at);
            self.add_move(change.conversation, change.user, change.at);
        }
        let found = self.conversation_mut(change.conversation)?;
        found.members.remove(&change.user);
        Ok(found.member_ids())
    }

    pub(super) fn pending(&self, before: Timestamp, limit: usize) -> Vec<Pending> {
        let changes = self.conversations.values().flat_map(|found| {
            found.unannounced.iter().filter_map(move |&seq| {
                let since = found.stored_change(seq)?.since;
                Some((since, Pending::Change(found.changed(seq, false).ok()?)))
            })
        });
        let members = self.moves.iter().flat_map(|(&(conversation, user), unconfirmed)| {
            (0..unconfirmed.moves).map(move |_| (unconfirmed.since, Pending::Member(conversation, user)))
        });
        let mut all: Vec<_> = changes.chain(members).filter(|(since, _)| *since < before).collect();
        all.sort_by_key(|(since, _)| *since);
        all.into_iter().map(|(_, pending)| pending).take(limit).collect()
    }

    pub(super) fn announced(&mut self, confirmations: &[Confirmation]) {
        for confirmation in confirmations {
            match *confirmation {
                Confirmation::Change(conversation, seq) => {
                    if let Some(found) = self.conversations.get_mut(&conversation) {
                        found.unannounced.remove(&seq);
                    }
                }
                Confirmation::Member(conversation, user) => {
                    if let Some(unconfirmed) = self.moves.get_mut(&(conversation, user)) {
                        unconfirmed.moves -= 1;
                    }
                    self.moves.retain(|_, unconfirmed| unconfirmed.moves > 0);
                }
            }
        }
    }
}

fn require_sender(message: &Message, user: UserId) -> Answer<()> {
    if message.sender == user {
        return Ok(());
    }
    Err(RecordsError::Forbidden("only the sender may change a message".into()))
}

fn parse_cursor(cursor: &str) -> Answer<(Timestamp, ConversationId)> {
    let invalid =
        || RecordsError::Invalid("the cursor is not one of an earlier page; leave it out for the first page".into());
    let (timestamp, id) = cursor.split_once('.').ok_or_else(invalid)?;
    Ok((Timestamp(timestamp.parse().map_err(|_| invalid())?), id.parse().map_err(|_| invalid())?))
}
