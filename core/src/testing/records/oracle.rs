//! What is true, read past the port: for comparing caches and clients with.

use std::collections::BTreeMap;

use super::FakeRecords;
use crate::ids::{ConversationId, UserId};
use crate::port::{Counter, Message};

impl FakeRecords {
    /// Every conversation, in ascending order.
    pub fn conversation_ids(&self) -> Vec<ConversationId> {
        self.state().talks.keys().copied().collect()
    }

    /// The members, in ascending order; none for an unknown conversation.
    pub fn members_of(&self, conversation: ConversationId) -> Vec<UserId> {
        self.state().talks.get(&conversation).map(|talk| talk.member_ids()).unwrap_or_default()
    }

    /// The conversations that the user is a member of, in ascending order.
    pub fn conversations_of(&self, user: UserId) -> Vec<ConversationId> {
        let state = self.state();
        let mine = state.talks.values().filter(|talk| talk.members.contains_key(&user));
        mine.map(|talk| talk.id).collect()
    }

    /// The user's standing in every conversation that the user is a member of, zero counts included.
    pub fn standings_of(&self, user: UserId) -> BTreeMap<ConversationId, Counter> {
        let state = self.state();
        let counters = state.talks.values().filter_map(|talk| talk.counter(user));
        counters.map(|counter| (counter.conversation, counter)).collect()
    }

    /// The user's unread messages by conversation, zero counts included.
    pub fn unread_of(&self, user: UserId) -> BTreeMap<ConversationId, u64> {
        self.standings_of(user).into_iter().map(|(conversation, counter)| (conversation, counter.count)).collect()
    }

    /// The newest message that is not deleted, whoever asks.
    pub fn last_message_of(&self, conversation: ConversationId) -> Option<Message> {
        let state = self.state();
        state.talks.get(&conversation)?.standing().next().cloned()
    }

    /// Every message ever stored, oldest first, deleted ones included.
    pub fn messages_of(&self, conversation: ConversationId) -> Vec<Message> {
        let state = self.state();
        let Some(talk) = state.talks.get(&conversation) else {
            return Vec::new();
        };
        let mut messages: Vec<Message> = talk.messages.values().cloned().collect();
        messages.sort_by_key(|message| message.seq);
        messages
    }

    /// Those who may see the user's presence, in ascending order.
    pub fn audience_of(&self, user: UserId) -> Vec<UserId> {
        self.state().people.audience(user)
    }
}
