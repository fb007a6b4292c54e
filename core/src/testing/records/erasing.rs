//! Erasing a user, step by step.

use std::collections::BTreeSet;

use super::state::FakeState;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::key::Owner;
use crate::limits::{ERASED_CONVERSATIONS, ERASED_MESSAGES, ERASED_RELATIONS};
use crate::port::{Answer, Erased, NOBODY};
use crate::time::Timestamp;

impl FakeState {
    pub(super) fn erase(&mut self, user: UserId, at: Timestamp) -> Answer<Erased> {
        self.documents.erase(Owner::User(user));
        let related = self.relations.erase(user, ERASED_RELATIONS);
        if !related.is_empty() {
            related.iter().for_each(|other| self.move_contact(*other, user));
            return Ok(Erased { related, ..Erased::default() });
        }
        let left = self.leave_all(user, at);
        if !left.is_empty() {
            return Ok(Erased { left, ..Erased::default() });
        }
        let kept: Vec<(ConversationId, MessageId)> = self.kept_messages(user).take(ERASED_MESSAGES).collect();
        let mut deleted = Vec::new();
        for (conversation, message) in kept {
            deleted.push(self.delete(conversation, message, None, at)?);
        }
        if !deleted.is_empty() {
            return Ok(Erased { deleted, ..Erased::default() });
        }
        Ok(Erased { done: self.disown(user), ..Erased::default() })
    }

    /// Removes the user from some conversations, and answers which.
    fn leave_all(&mut self, user: UserId, at: Timestamp) -> Vec<ConversationId> {
        let joined = self.conversations.values().filter(|found| found.members.contains_key(&user));
        let left: Vec<ConversationId> = joined.map(|found| found.id).take(ERASED_CONVERSATIONS).collect();
        for conversation in &left {
            self.pairs.retain(|_, pair| pair != conversation);
            self.leave(*conversation, user, at);
        }
        left
    }

    /// The messages of the user that are not deleted.
    fn kept_messages(&self, user: UserId) -> impl Iterator<Item = (ConversationId, MessageId)> {
        let all = self.conversations.values().flat_map(|found| found.messages.values());
        let kept = all.filter(move |message| message.sender == user && !message.deleted);
        kept.map(|message| (message.conversation, message.id))
    }

    /// Takes the user's name from some of the conversations that the user has created. Answers whether there was none.
    fn disown(&mut self, user: UserId) -> bool {
        let created = self.conversations.values_mut().filter(|found| found.is_creator(user));
        let some: Vec<_> = created.take(ERASED_RELATIONS).collect();
        let is_none = some.is_empty();
        some.into_iter().for_each(|found| found.creator = NOBODY);
        is_none
    }
}

/// The first users of these, in ascending order, each once.
pub(super) fn first(users: impl Iterator<Item = UserId>, count: usize) -> Vec<UserId> {
    users.collect::<BTreeSet<UserId>>().into_iter().take(count).collect()
}
