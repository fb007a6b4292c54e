//! Everybody, in pages.

use std::collections::BTreeSet;

use super::FakeRecords;
use crate::ids::{ConversationId, UserId};
use crate::port::{Answer, Directory, records_bounds as bounds};

impl Directory for FakeRecords {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let state = self.state();
        let users: BTreeSet<UserId> = state.talks.values().flat_map(|talk| talk.members.keys().copied()).collect();
        Ok(users.into_iter().filter(|user| Some(*user) > after).take(limit as usize).collect())
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        Ok(self.state().talks.keys().copied().filter(|id| Some(*id) > after).take(limit as usize).collect())
    }
}
