//! The truth, read past the port: tests compare caches and clients with it.

use std::collections::BTreeMap;

use super::FakeRecords;
use crate::ids::{ConversationId, UserId};
use crate::port::{Counter, Message};

impl FakeRecords {
    /// Every conversation, in ascending order.
    pub fn conversation_ids(&self) -> Vec<ConversationId> {
        self.state().conversations.keys().copied().collect()
    }

    /// The members, in ascending order; none for an unknown conversation.
    pub fn members_of(&self, conversation: ConversationId) -> Vec<UserId> {
        self.state().conversations.get(&conversation).map(|conversation| conversation.member_ids()).unwrap_or_default()
    }

    /// The conversations that the user is a member of, in ascending order.
    pub fn conversations_of(&self, user: UserId) -> Vec<ConversationId> {
        let state = self.state();
        let mine = state.conversations.values().filter(|conversation| conversation.members.contains_key(&user));
        mine.map(|conversation| conversation.id).collect()
    }

    /// The user's counter in every conversation that the user is a member of, zero counts included.
    pub fn counters_of(&self, user: UserId) -> BTreeMap<ConversationId, Counter> {
        let state = self.state();
        let counters = state.conversations.values().filter_map(|conversation| conversation.counter(user));
        counters.map(|counter| (counter.conversation, counter)).collect()
    }

    /// The user's unread messages by conversation, zero counts included.
    pub fn unread_of(&self, user: UserId) -> BTreeMap<ConversationId, u64> {
        self.counters_of(user).into_iter().map(|(conversation, counter)| (conversation, counter.count)).collect()
    }

    /// The newest message that is not deleted, whether or not a user may see it.
    pub fn last_message_of(&self, conversation: ConversationId) -> Option<Message> {
        let state = self.state();
        state.conversations.get(&conversation)?.visible_messages().next().cloned()
    }

    /// Every message ever stored, oldest first, deleted ones included.
    pub fn messages_of(&self, conversation: ConversationId) -> Vec<Message> {
        let state = self.state();
        let Some(conversation) = state.conversations.get(&conversation) else {
            return Vec::new();
        };
        let mut messages: Vec<Message> = conversation.messages.values().cloned().collect();
        messages.sort_by_key(|message| message.seq);
        messages
    }

    /// The contacts that the user has added, in ascending order.
    pub fn contacts_of(&self, user: UserId) -> Vec<UserId> {
        self.state().relations.contacts(user)
    }

    /// The users that the user has blocked, in ascending order.
    pub fn blocks_of(&self, user: UserId) -> Vec<UserId> {
        self.state().relations.blocks(user)
    }

    /// Whether the user has created the conversation.
    pub fn is_creator(&self, conversation: ConversationId, user: UserId) -> bool {
        self.state().conversations.get(&conversation).is_some_and(|conversation| conversation.creator == user)
    }

    /// The users who may see the user's presence, in ascending order.
    pub fn audience_of(&self, user: UserId) -> Vec<UserId> {
        self.state().relations.audience(user)
    }
}
