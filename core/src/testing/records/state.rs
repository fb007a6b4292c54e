//! The state of the fake: all conversations, and what each operation does to them.

use std::collections::{BTreeMap, BTreeSet};

use super::contacts::ContactsAndBlocks;
use super::conversation::{FakeConversation, FakeMember, FakeTries};
use super::documents::FakeDocuments;
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::limits::{CHANGES_MAX, COUNTERS_MAX, RECEIPT_AUTHORS_MAX};
use crate::port::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Conversation, ConversationPage, ConversationQuery, Created,
    Draft, Edit, HistoryPage, HistoryQuery, LastMessage, Member, MemberChange, MembersPage, MembersQuery, Membership,
    Message, MessagesQuery, NewConversation, PendingId, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot,
    records_bounds as bounds,
};
use crate::time::Timestamp;

/// Moves of one kind that are not confirmed: the time of the oldest, their number, and the tries of recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnconfirmedMoves {
    pub(super) since: Timestamp,
    pub(super) moves: u64,
    pub(super) tries: FakeTries,
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
    /// The pair of two users, who are in ascending order.
    pub(super) pairs: BTreeMap<[UserId; 2], ConversationId>,
    /// By their ids, which are never those of changes.
    pub(super) moves: BTreeMap<PendingId, UnconfirmedMoves>,
    /// The number of conversations of each user.
    memberships: BTreeMap<UserId, u64>,
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

    pub(super) fn conversation_mut(&mut self, conversation: ConversationId) -> Answer<&mut FakeConversation> {
        self.conversations.get_mut(&conversation).ok_or_else(|| RecordsError::NotFound("no such conversation".into()))
    }

    /// The conversation as a member sees it.
    pub(super) fn view(&self, found: &FakeConversation, user: UserId) -> Option<Conversation> {
        found.view(user, |other| self.relations.is_blocked(user, other))
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

    /// A message that this user may delete: the sender, or the creator of a conversation that is no pair.
    fn message_to_delete(
        &self,
        conversation: ConversationId,
        message: MessageId,
        user: UserId,
    ) -> Answer<(&FakeConversation, &Message)> {
        let (found, message) = self.message(conversation, message, user)?;
        if message.sender != user && (found.direct || !found.is_creator(user)) {
            return Err(RecordsError::Forbidden(
                "only the sender, the creator of the group and services may delete a message".into(),
            ));
        }
        Ok((found, message))
    }

    /// A message as a service finds it.
    fn stored_message(
        &self,
        conversation: ConversationId,
        message: MessageId,
    ) -> Answer<(&FakeConversation, &Message)> {
        let found = self.conversations.get(&conversation);
        let stored = found.and_then(|found| Some((found, found.messages.get(&message)?)));
        stored.ok_or_else(|| RecordsError::NotFound("no such message".into()))
    }

    pub(super) fn edit(&mut self, edit: Edit) -> Answer<Changed> {
        let (found, message) = self.message(edit.conversation, edit.message, edit.editor)?;
        if message.deleted {
            return Err(RecordsError::NotFound("the message was deleted".into()));
        }
        require_sender(message, edit.editor)?;
        if message.content == edit.content {
            return found.changed_with_positions(found.latest_change(edit.message), true);
        }
        self.refuse_blocked(found)?;
        self.note_time(edit.at);
        let found = self.conversation_mut(edit.conversation)?;
        let seq = found.add_change(ChangeKind::Edited, edit.message, edit.at);
        if let Some(message) = found.messages.get_mut(&edit.message) {
            message.content = edit.content;
            message.edited_at = Some(edit.at);
        }
        found.changed_with_positions(seq, false)
    }

    pub(super) fn delete(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        actor: Option<UserId>,
        at: Timestamp,
    ) -> Answer<Changed> {
        let (found, message) = match actor {
            Some(actor) => self.message_to_delete(conversation, id, actor)?,
            None => self.stored_message(conversation, id)?,
        };
        if message.deleted {
            return found.changed_with_positions(found.latest_change(id), true);
        }
        self.note_time(at);
        let found = self.conversation_mut(conversation)?;
        let seq = found.add_change(ChangeKind::Deleted, id, at);
        if let Some(message) = found.messages.get_mut(&id) {
            message.content = String::new();
            message.deleted = true;
        }
        found.changed_with_positions(seq, false)
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
        let (member_count, before) = (found.members.len() as u32, member.read);
        let audience = found.receipt_audience(user, (before, read));
        let audience = audience.into_iter().filter(|other| !self.relations.is_blocked(user, *other));
        let audience = audience.take(RECEIPT_AUTHORS_MAX).collect();
        let found = self.conversation_mut(conversation)?;
        if let Some(member) = found.members.get_mut(&user) {
            member.read = read;
        }
        let counter = found.counter(user).ok_or(RecordsError::NotAMember)?;
        if moved {
            self.add_move(PendingId::Member(conversation, user), self.latest);
        }
        Ok(ReadMark { counter, moved, member_count, audience })
    }

    fn add_move(&mut self, id: PendingId, since: Timestamp) {
        let new = UnconfirmedMoves { since, moves: 0, tries: FakeTries::default() };
        let unconfirmed = self.moves.entry(id).or_insert(new);
        unconfirmed.moves += 1;
        unconfirmed.since = unconfirmed.since.min(since);
    }

    /// Changes what a user has said about another one, and notes it in the outbox if something changed.
    pub(super) fn change_relation(
        &mut self,
        user: UserId,
        other: UserId,
        change: impl FnOnce(&mut ContactsAndBlocks) -> Answer<bool>,
    ) -> Answer<()> {
        if change(&mut self.relations)? {
            self.move_contact(user, other);
        }
        Ok(())
    }

    /// Notes that what a user has said about another one changed.
    pub(super) fn move_contact(&mut self, user: UserId, other: UserId) {
        self.add_move(PendingId::Contact(user, other), self.latest);
    }

    /// Answers all requests, which share what one answer may hold.
    pub(super) fn unread(&self, requests: Vec<UnreadRequest>) -> Vec<UnreadSnapshot> {
        let mut left = COUNTERS_MAX;
        let answer = |UnreadRequest { user, conversations, after }| match conversations {
            Some(named) => {
                let named: BTreeSet<ConversationId> = named.into_iter().collect();
                let found = named.iter().filter_map(|id| self.conversations.get(id));
                UnreadSnapshot { user, counters: found.filter_map(|found| found.counter(user)).collect(), more: false }
            }
            None => {
                let of_user = self.conversations.values().filter(|found| found.members.contains_key(&user));
                let mut above = of_user.filter(|found| Some(found.id) > after);
                let counters: Vec<_> = above.by_ref().take(left).filter_map(|found| found.counter(user)).collect();
                left -= counters.len();
                UnreadSnapshot { user, counters, more: above.next().is_some() }
            }
        };
        requests.into_iter().map(answer).collect()
    }

    /// Answers all ranges, which share what one answer may hold.
    pub(super) fn changes(&self, ranges: Vec<ChangeRange>) -> Vec<Vec<Change>> {
        let mut left = bounds::ChangesLeft::ALL;
        ranges.into_iter().map(|range| left.take_newest(self.changes_of(range))).collect()
    }

    fn changes_of(&self, range: ChangeRange) -> Vec<Change> {
        let Some(found) = self.conversations.get(&range.conversation) else {
            return Vec::new();
        };
        let up_to = range.up_to.min(found.seq());
        let oldest = range.after.0.max(up_to.0.saturating_sub(CHANGES_MAX as u64));
        (oldest..up_to.0).filter_map(|seq| found.change(Seq(seq).next())).collect()
    }

    pub(super) fn last_message(&self, conversation: ConversationId) -> LastMessage {
        match self.conversations.get(&conversation) {
            Some(found) => found.last_message(),
            None => LastMessage { conversation, version: Seq::ZERO, message: None },
        }
    }

    pub(super) fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        let (found, member) = self.as_member(conversation, user)?;
        let blocked = self.refuse_blocked(found).is_err();
        Ok(Membership { joined: member.joined, members: found.member_ids(), blocked })
    }

    pub(super) fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        let mut all: Vec<Conversation> =
            self.conversations.values().filter_map(|found| self.view(found, user)).collect();
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
            let conversation = self.view(found, new.creator).filter(|_| same);
            return conversation
                .map(|conversation| Created { conversation, repeated: true })
                .ok_or_else(|| RecordsError::Conflict("the conversation's id is taken".into()));
        }
        if self.relations.is_any_blocked(members) {
            return Err(RecordsError::Blocked);
        }
        members.iter().try_for_each(|member| self.check_one_more(*member))?;
        self.note_time(new.at);
        members.iter().for_each(|member| *self.memberships.entry(*member).or_default() += 1);
        let id = new.id.unwrap_or_else(|| ConversationId::from_u128(self.generate_id()));
        let position = FakeMember { joined: Seq::ZERO, read: Seq::ZERO };
        let created = FakeConversation {
            id,
            creator: new.creator,
            direct: false,
            members: members.iter().map(|&member| (member, position)).collect(),
            messages: BTreeMap::new(),
            changes: Vec::new(),
            unannounced: BTreeMap::new(),
            updated_at: new.at,
            changed_at: new.at,
        };
        let conversation = self.view(&created, new.creator).ok_or(RecordsError::NotAMember)?;
        self.conversations.insert(id, created);
        self.add_move(PendingId::Creation(id), new.at);
        Ok(Created { conversation, repeated: false })
    }

    /// Checks that the user may be in one conversation more.
    fn check_one_more(&self, user: UserId) -> Answer<()> {
        bounds::conversation_count(user, self.memberships.get(&user).copied().unwrap_or_default() + 1)
    }

    pub(super) fn members(&self, query: &MembersQuery) -> Answer<MembersPage> {
        let found = match (self.conversations.get(&query.conversation), query.actor) {
            (Some(found), Some(actor)) => found.member(actor).map(|_| found)?,
            (Some(found), None) => found,
            (None, Some(_)) => return Err(RecordsError::NotAMember),
            (None, None) => return Err(RecordsError::NotFound("no such conversation".into())),
        };
        let mut above = found.members.iter().filter(|(user, _)| Some(**user) > query.after);
        let members: Vec<Member> = above
            .by_ref()
            .take(query.limit as usize)
            .map(|(&user, member)| {
                let is_blocked = query.actor.is_some_and(|actor| self.relations.is_blocked(actor, user));
                Member { user, joined: member.joined, read: member.shown_read(is_blocked) }
            })
            .collect();
        let next = above.next().and(members.last()).map(|last| last.user);
        Ok(MembersPage { members, next })
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
        if found.direct {
            return Err(RecordsError::Direct);
        }
        if found.members.contains_key(&change.user) {
            return Ok(found.member_ids());
        }
        if found.members.keys().any(|member| self.relations.is_blocked(*member, change.user)) {
            return Err(RecordsError::Blocked);
        }
        bounds::member_count(found.members.len() + 1)?;
        self.check_one_more(change.user)?;
        let seq = found.seq();
        self.note_time(change.at);
        self.add_move(PendingId::Membership(change.conversation, change.user), change.at);
        *self.memberships.entry(change.user).or_default() += 1;
        let found = self.conversation_mut(change.conversation)?;
        found.members.insert(change.user, FakeMember { joined: seq, read: seq });
        Ok(found.member_ids())
    }

    pub(super) fn remove_member(&mut self, change: MemberChange) -> Answer<Vec<UserId>> {
        let found = self.conversation_to_change(&change)?;
        if found.direct && found.members.len() > 1 {
            return Err(RecordsError::Direct);
        }
        if change.actor.is_some_and(|actor| actor != change.user && !found.is_creator(actor)) {
            return Err(RecordsError::Forbidden(
                "only the conversation's creator and services may remove other members".into(),
            ));
        }
        if found.members.contains_key(&change.user) {
            self.leave(change.conversation, change.user, change.at);
        }
        Ok(self.conversation_mut(change.conversation)?.member_ids())
    }

    /// Removes a member.
    pub(super) fn leave(&mut self, conversation: ConversationId, user: UserId, at: Timestamp) {
        *self.memberships.entry(user).or_default() -= 1;
        self.note_time(at);
        self.add_move(PendingId::Membership(conversation, user), at);
        if let Some(found) = self.conversations.get_mut(&conversation) {
            found.members.remove(&user);
        }
    }
}

fn require_sender(message: &Message, user: UserId) -> Answer<()> {
    if message.sender == user {
        return Ok(());
    }
    Err(RecordsError::Forbidden("only the sender may edit a message".into()))
}

fn parse_cursor(cursor: &str) -> Answer<(Timestamp, ConversationId)> {
    let invalid =
        || RecordsError::Invalid("the cursor is not one of an earlier page; leave it out for the first page".into());
    let (timestamp, id) = cursor.split_once('.').ok_or_else(invalid)?;
    Ok((Timestamp(timestamp.parse().map_err(|_| invalid())?), id.parse().map_err(|_| invalid())?))
}
