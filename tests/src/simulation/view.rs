//! What a client shows to its user: the state that it fetched, with the events that it received since.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::Delivery;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::oracle::counters::MessageEvent;

/// The state that one client shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Messages by conversation and sequence.
    pub(crate) messages: Messages,
    /// The newest message received as an event since the last resync, by conversation.
    pub(crate) newest: BTreeMap<ConversationId, Seq>,
    /// The presence of other users, with the generation of the last transition.
    pub(crate) presence: BTreeMap<UserId, (bool, u64)>,
    /// The conversations with their members.
    pub(crate) conversations: BTreeMap<ConversationId, ShownConversation>,
    /// The counters. The total is their sum.
    pub(crate) counters: BTreeMap<ConversationId, ShownCounter>,
    /// The users that the user has added as contacts.
    pub(crate) contacts: BTreeSet<UserId>,
    /// The users that the user has blocked.
    pub(crate) blocked: BTreeSet<UserId>,
}

pub(crate) type Messages = BTreeMap<(ConversationId, Seq), (MessageId, String)>;

/// The members of a conversation and their read positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShownConversation {
    pub(crate) members: BTreeSet<UserId>,
    pub(crate) member_count: u64,
    pub(crate) reads: BTreeMap<UserId, Seq>,
}

/// The unread messages of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShownCounter {
    pub(crate) unread: u64,
    /// The user's own position.
    pub(crate) read: Seq,
    /// The changes up to this sequence number are included; `None` if that is not known.
    pub(crate) seq: Option<Seq>,
}

/// A fetched state, which replaces what was shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchedState {
    pub(crate) messages: Messages,
    pub(crate) conversations: BTreeMap<ConversationId, ShownConversation>,
    pub(crate) counters: BTreeMap<ConversationId, ShownCounter>,
    pub(crate) contacts: BTreeSet<UserId>,
    pub(crate) blocked: BTreeSet<UserId>,
    /// A part of it is from the records, because the store was unavailable: it has to be fetched again.
    pub(crate) is_provisional: bool,
}

#[derive(Deserialize)]
struct SentEvent {
    conversation: ConversationId,
    seq: Seq,
    sender_id: UserId,
}

#[derive(Deserialize)]
struct ReadUpdateEvent {
    conversation: ConversationId,
    reader: UserId,
    up_to: Seq,
}

#[derive(Deserialize)]
struct UnreadUpdateEvent {
    conversation: ConversationId,
    unread: u64,
    read: Seq,
    seq: Seq,
}

#[derive(Deserialize)]
struct AddedEvent {
    id: ConversationId,
    members: BTreeSet<UserId>,
    member_count: u64,
    reads: BTreeMap<UserId, Seq>,
    unread: u64,
    read: Seq,
    seq: Seq,
}

#[derive(Deserialize)]
struct MembersEvent {
    conversation: ConversationId,
    added: Vec<UserId>,
    removed: Vec<UserId>,
    member_count: u64,
}

#[derive(Deserialize)]
struct RemovedEvent {
    conversation: ConversationId,
}

#[derive(Deserialize)]
struct ContactEvent {
    user: UserId,
    contact: bool,
    blocked: bool,
}

fn read_then<T: DeserializeOwned>(event: &Delivery, apply: impl FnOnce(T)) {
    if let Ok(payload) = serde_json::from_str(&event.payload) {
        apply(payload);
    }
}

impl View {
    /// Replaces everything but presence by a fetched state.
    pub(crate) fn replace(&mut self, fetched: FetchedState) {
        let FetchedState { messages, conversations, counters, contacts, blocked, .. } = fetched;
        *self = Self {
            messages,
            conversations,
            counters,
            contacts,
            blocked,
            newest: std::mem::take(&mut self.newest),
            presence: std::mem::take(&mut self.presence),
        };
    }

    /// The unread messages in all conversations.
    pub(crate) fn total(&self) -> u64 {
        self.counters.values().map(|counter| counter.unread).sum()
    }

    /// Applies an event about anything but presence, for a device of this user.
    pub(crate) fn apply(&mut self, user: UserId, event: &Delivery) {
        if let Some(payload) = MessageEvent::read(&event.payload) {
            self.apply_message(&event.name, &payload);
        }
        match event.name.as_ref() {
            "message.new" => read_then(event, |sent| self.count(user, &sent)),
            "message.read_update" => read_then(event, |update| self.move_position(&update)),
            "unread.update" => read_then(event, |update| self.set_counter(user, &update)),
            "conversation.added" => read_then(event, |added| self.add(added)),
            "conversation.members" => read_then(event, |change| self.change_members(&change)),
            "conversation.removed" => read_then(event, |removed| self.remove(&removed)),
            "contact.update" => read_then(event, |update| self.set_contact(&update)),
            _ => {}
        }
    }

    fn apply_message(&mut self, name: &str, payload: &MessageEvent) {
        let key = (payload.conversation, payload.seq);
        match name {
            "message.new" | "message.updated" => {
                self.messages.insert(key, (payload.id, payload.content.clone()));
            }
            "message.deleted" => drop(self.messages.remove(&key)),
            _ => {}
        }
    }

    fn count(&mut self, user: UserId, sent: &SentEvent) {
        let counter = self.counters.entry(sent.conversation).or_default();
        if sent.sender_id != user && counter.seq.is_none_or(|seq| seq < sent.seq) {
            counter.unread += 1;
        }
        counter.seq = counter.seq.max(Some(sent.seq));
    }

    fn move_position(&mut self, update: &ReadUpdateEvent) {
        if let Some(shown) = self.conversations.get_mut(&update.conversation) {
            let read = shown.reads.entry(update.reader).or_default();
            *read = update.up_to.max(*read);
        }
    }

    fn set_counter(&mut self, user: UserId, update: &UnreadUpdateEvent) {
        let UnreadUpdateEvent { conversation, unread, read, seq } = *update;
        self.counters.insert(conversation, ShownCounter { unread, read, seq: Some(seq) });
        self.move_position(&ReadUpdateEvent { conversation, reader: user, up_to: read });
    }

    fn add(&mut self, added: AddedEvent) {
        let AddedEvent { id, members, member_count, mut reads, unread, read, seq } = added;
        // A repeated event may be older than a receipt that came before it.
        let known = self.conversations.get(&id).map(|shown| &shown.reads);
        for (user, position) in &mut reads {
            *position = known.and_then(|known| known.get(user)).copied().unwrap_or_default().max(*position);
        }
        self.conversations.insert(id, ShownConversation { members, member_count, reads });
        self.counters.insert(id, ShownCounter { unread, read, seq: Some(seq) });
    }

    fn change_members(&mut self, change: &MembersEvent) {
        let Some(shown) = self.conversations.get_mut(&change.conversation) else { return };
        for user in &change.removed {
            shown.members.remove(user);
            shown.reads.remove(user);
        }
        for user in &change.added {
            shown.members.insert(*user);
            shown.reads.entry(*user).or_default();
        }
        shown.member_count = change.member_count;
    }

    fn remove(&mut self, removed: &RemovedEvent) {
        self.conversations.remove(&removed.conversation);
        self.counters.remove(&removed.conversation);
        self.messages.retain(|(conversation, _), _| *conversation != removed.conversation);
    }

    fn set_contact(&mut self, update: &ContactEvent) {
        for (is_in, users) in [(update.contact, &mut self.contacts), (update.blocked, &mut self.blocked)] {
            if is_in {
                users.insert(update.user);
            } else {
                users.remove(&update.user);
            }
        }
    }
}
