//! All conversations and what the calls do to them.

use std::collections::BTreeMap;

use super::people::People;
use super::talk::{Member, Talk};
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::limits::CHANGES_MAX;
use crate::port::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, Conversation, ConversationPage, ConversationQuery,
    Created, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, MemberChange, Membership, Message, NewConversation,
    Pending, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot, records_bounds as bounds,
};
use crate::time::Timestamp;

/// A standing that moved and is not confirmed: since when, and how many moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) since: Timestamp,
    pub(super) moves: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    seed: u64,
    made_up: u64,
    latest: Timestamp,
    pub(super) talks: BTreeMap<ConversationId, Talk>,
    homes: BTreeMap<MessageId, ConversationId>,
    pub(super) people: People,
    moved: BTreeMap<(ConversationId, UserId), Moved>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    fn make_up(&mut self) -> u128 {
        self.made_up += 1;
        (u128::from(self.seed) << 64) | (1 << 63) | u128::from(self.made_up)
    }

    fn saw(&mut self, at: Timestamp) {
        self.latest = self.latest.max(at);
    }

    /// The conversation, of which the user must be a member.
    fn talk(&self, conversation: ConversationId, user: UserId) -> Answer<(&Talk, Member)> {
        let talk = self.talks.get(&conversation).ok_or(RecordsError::NotAMember)?;
        Ok((talk, talk.member(user)?))
    }

    fn talk_mut(&mut self, conversation: ConversationId) -> Answer<&mut Talk> {
        self.talks.get_mut(&conversation).ok_or_else(|| RecordsError::NotFound("no such conversation".into()))
    }

    fn refuse_blocked(&self, talk: &Talk) -> Answer<()> {
        match talk.pair() {
            Some((one, other)) if self.people.apart(one, other) => Err(RecordsError::Blocked),
            _ => Ok(()),
        }
    }

    pub(super) fn append(&mut self, draft: Draft) -> Answer<Changed> {
        let (talk, _) = self.talk(draft.conversation, draft.sender)?;
        if let Some(home) = draft.id.and_then(|id| self.homes.get(&id)) {
            let known = draft.id.and_then(|id| talk.messages.get(&id));
            return match known.filter(|known| *home == talk.id && known.sender == draft.sender) {
                Some(known) => talk.changed(known.seq, true),
                None => Err(RecordsError::Conflict("the message's id is taken".into())),
            };
        }
        self.refuse_blocked(talk)?;
        self.saw(draft.at);
        let id = draft.id.unwrap_or_else(|| MessageId::from_u128(self.make_up()));
        self.homes.insert(id, draft.conversation);
        let talk = self.talk_mut(draft.conversation)?;
        let seq = talk.step(ChangeKind::Sent, id, draft.at);
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
        talk.messages.insert(id, message);
        talk.changed(seq, false)
    }

    /// A message that the member may see.
    fn message(&self, conversation: ConversationId, message: MessageId, user: UserId) -> Answer<(&Talk, &Message)> {
        let (talk, member) = self.talk(conversation, user)?;
        let visible = talk.messages.get(&message).filter(|message| message.seq > member.joined);
        visible.map(|message| (talk, message)).ok_or_else(|| RecordsError::NotFound("no such message".into()))
    }

    pub(super) fn edit(&mut self, edit: Edit) -> Answer<Changed> {
        let (talk, message) = self.message(edit.conversation, edit.message, edit.editor)?;
        if message.deleted {
            return Err(RecordsError::NotFound("the message was deleted".into()));
        }
        own(message, edit.editor)?;
        if message.content == edit.content {
            return talk.changed(talk.latest_step(edit.message), true);
        }
        self.refuse_blocked(talk)?;
        self.saw(edit.at);
        let talk = self.talk_mut(edit.conversation)?;
        let seq = talk.step(ChangeKind::Edited, edit.message, edit.at);
        if let Some(message) = talk.messages.get_mut(&edit.message) {
            message.content = edit.content;
            message.edited_at = Some(edit.at);
        }
        talk.changed(seq, false)
    }

    pub(super) fn delete(
        &mut self,
        conversation: ConversationId,
        id: MessageId,
        actor: UserId,
        at: Timestamp,
    ) -> Answer<Changed> {
        let (talk, message) = self.message(conversation, id, actor)?;
        own(message, actor)?;
        if message.deleted {
            return talk.changed(talk.latest_step(id), true);
        }
        self.saw(at);
        let talk = self.talk_mut(conversation)?;
        let seq = talk.step(ChangeKind::Deleted, id, at);
        if let Some(message) = talk.messages.get_mut(&id) {
            message.content = String::new();
            message.deleted = true;
        }
        talk.changed(seq, false)
    }

    pub(super) fn mark_read(
        &mut self,
        user: UserId,
        conversation: ConversationId,
        up_to: Option<Seq>,
    ) -> Answer<ReadMark> {
        let (talk, member) = self.talk(conversation, user)?;
        let read = member.read.max(up_to.map_or(talk.seq(), |up_to| up_to.min(talk.seq())));
        let moved = read > member.read;
        let talk = self.talk_mut(conversation)?;
        if let Some(member) = talk.members.get_mut(&user) {
            member.read = read;
        }
        let counter = talk.counter(user).ok_or(RecordsError::NotAMember)?;
        let members = talk.member_ids();
        if moved {
            self.moved(conversation, user, self.latest);
        }
        Ok(ReadMark { counter, moved, members })
    }

    fn moved(&mut self, conversation: ConversationId, user: UserId, since: Timestamp) {
        let moved = self.moved.entry((conversation, user)).or_insert(Moved { since, moves: 0 });
        moved.moves += 1;
        moved.since = moved.since.min(since);
    }

    pub(super) fn unread(&self, request: UnreadRequest) -> UnreadSnapshot {
        let named = |talk: &&Talk| match &request.conversations {
            Some(named) => named.contains(&talk.id),
            None => true,
        };
        let counters = self.talks.values().filter(named).filter_map(|talk| talk.counter(request.user)).collect();
        UnreadSnapshot { user: request.user, counters }
    }

    pub(super) fn changes(&self, range: ChangeRange) -> Vec<Change> {
        let Some(talk) = self.talks.get(&range.conversation) else {
            return Vec::new();
        };
        let up_to = range.up_to.min(talk.seq());
        let oldest = range.after.0.max(up_to.0.saturating_sub(CHANGES_MAX as u64));
        (oldest..up_to.0).filter_map(|seq| talk.change(Seq(seq).next())).collect()
    }

    pub(super) fn last_message(&self, conversation: ConversationId) -> LastMessage {
        let talk = self.talks.get(&conversation);
        LastMessage {
            conversation,
            version: talk.map_or(Seq::ZERO, Talk::seq),
            message: talk.and_then(|talk| talk.standing().next().cloned()),
        }
    }

    pub(super) fn membership(&self, conversation: ConversationId, user: UserId) -> Answer<Membership> {
        let (talk, member) = self.talk(conversation, user)?;
        let blocked = self.refuse_blocked(talk).is_err();
        Ok(Membership { joined: member.joined, members: talk.member_ids(), blocked })
    }

    pub(super) fn conversations(&self, user: UserId, query: ConversationQuery) -> Answer<ConversationPage> {
        let mut all: Vec<Conversation> = self.talks.values().filter_map(|talk| talk.view(user)).collect();
        all.sort_by_key(|conversation| std::cmp::Reverse((conversation.updated_at, conversation.id)));
        match query {
            ConversationQuery::Named(named) => {
                all.retain(|conversation| named.contains(&conversation.id));
                Ok(ConversationPage { conversations: all, next: None })
            }
            ConversationQuery::Page { cursor, limit } => {
                if let Some(after) = cursor.map(|cursor| read_cursor(&cursor)).transpose()? {
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
        let (talk, member) = self.talk(query.conversation, query.user)?;
        let before = query.before.unwrap_or(Seq(u64::MAX));
        let mut visible = talk.standing().filter(|message| message.seq > member.joined && message.seq < before);
        let messages: Vec<Message> = visible.by_ref().take(query.limit as usize).cloned().collect();
        let next_before = visible.next().and(messages.last()).map(|message| message.seq);
        Ok(HistoryPage { messages, next_before })
    }

    pub(super) fn create(&mut self, new: &NewConversation, members: &[UserId]) -> Answer<Created> {
        if let Some(talk) = new.id.and_then(|id| self.talks.get(&id)) {
            let same = talk.creator == new.creator && talk.member_ids() == members;
            let conversation = talk.view(new.creator).filter(|_| same);
            return conversation
                .map(|conversation| Created { conversation, repeated: true })
                .ok_or_else(|| RecordsError::Conflict("the conversation's id is taken".into()));
        }
        if let [one, other] = members
            && self.people.apart(*one, *other)
        {
            return Err(RecordsError::Blocked);
        }
        self.saw(new.at);
        let id = new.id.unwrap_or_else(|| ConversationId::from_u128(self.make_up()));
        let fresh = Member { joined: Seq::ZERO, read: Seq::ZERO };
        let talk = Talk {
            id,
            creator: new.creator,
            members: members.iter().map(|&member| (member, fresh)).collect(),
            messages: BTreeMap::new(),
            steps: Vec::new(),
            unannounced: std::collections::BTreeSet::new(),
            updated_at: new.at,
        };
        self.talks.insert(id, talk);
        let conversation = Conversation { id, members: members.to_vec(), joined: Seq::ZERO, updated_at: new.at };
        Ok(Created { conversation, repeated: false })
    }

    /// The conversation whose members somebody wants to change. Only services learn that there is none.
    fn to_change(&self, change: &MemberChange) -> Answer<&Talk> {
        match (self.talks.get(&change.conversation), change.actor) {
            (Some(talk), Some(actor)) => talk.member(actor).map(|_| talk),
            (Some(talk), None) => Ok(talk),
            (None, Some(_)) => Err(RecordsError::NotAMember),
            (None, None) => Err(RecordsError::NotFound("no such conversation".into())),
        }
    }

    pub(super) fn add_member(&mut self, change: MemberChange) -> Answer<Vec<UserId>> {
        let talk = self.to_change(&change)?;
        if talk.members.contains_key(&change.user) {
            return Ok(talk.member_ids());
        }
        if change.actor.is_some_and(|actor| self.people.apart(actor, change.user)) {
            return Err(RecordsError::Blocked);
        }
        bounds::member_count(talk.members.len() + 1)?;
        let seq = talk.seq();
        self.saw(change.at);
        self.moved(change.conversation, change.user, change.at);
        let talk = self.talk_mut(change.conversation)?;
        talk.members.insert(change.user, Member { joined: seq, read: seq });
        Ok(talk.member_ids())
    }

    pub(super) fn remove_member(&mut self, change: MemberChange) -> Answer<Vec<UserId>> {
        let talk = self.to_change(&change)?;
        if change.actor.is_some_and(|actor| actor != change.user && actor != talk.creator) {
            return Err(RecordsError::Forbidden("only the creator removes others".into()));
        }
        let was_there = talk.members.contains_key(&change.user);
        if was_there {
            self.saw(change.at);
            self.moved(change.conversation, change.user, change.at);
        }
        let talk = self.talk_mut(change.conversation)?;
        talk.members.remove(&change.user);
        Ok(talk.member_ids())
    }

    pub(super) fn pending(&self, before: Timestamp, limit: usize) -> Vec<Pending> {
        let changes = self.talks.values().flat_map(|talk| {
            talk.unannounced.iter().filter_map(move |&seq| {
                let since = talk.steps.get(usize::try_from(seq.previous().0).ok()?)?.since;
                Some((since, Pending::Change(talk.changed(seq, false).ok()?)))
            })
        });
        let members = self.moved.iter().flat_map(|(&(talk, user), moved)| {
            (0..moved.moves).map(move |_| (moved.since, Pending::Member(talk, user)))
        });
        let mut all: Vec<_> = changes.chain(members).filter(|(since, _)| *since < before).collect();
        all.sort_by_key(|(since, _)| *since);
        all.into_iter().map(|(_, pending)| pending).take(limit).collect()
    }

    pub(super) fn announced(&mut self, confirmations: &[Confirmation]) {
        for confirmation in confirmations {
            match *confirmation {
                Confirmation::Change(conversation, seq) => {
                    if let Some(talk) = self.talks.get_mut(&conversation) {
                        talk.unannounced.remove(&seq);
                    }
                }
                Confirmation::Member(conversation, user) => {
                    if let Some(moved) = self.moved.get_mut(&(conversation, user)) {
                        moved.moves -= 1;
                    }
                    self.moved.retain(|_, moved| moved.moves > 0);
                }
            }
        }
    }
}

fn own(message: &Message, user: UserId) -> Answer<()> {
    if message.sender == user {
        return Ok(());
    }
    Err(RecordsError::Forbidden("only the sender may change a message".into()))
}

fn read_cursor(cursor: &str) -> Answer<(Timestamp, ConversationId)> {
    let invalid = || RecordsError::Invalid("not a cursor of an earlier page".into());
    let (moment, id) = cursor.split_once('.').ok_or_else(invalid)?;
    Ok((Timestamp(moment.parse().map_err(|_| invalid())?), id.parse().map_err(|_| invalid())?))
}
