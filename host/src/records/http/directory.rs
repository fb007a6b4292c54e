//! Everybody that this backend knows, in pages. A page that is none would end a round early or never.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Answer, Directory, records_bounds as bounds};

use super::fault::Fault;
use super::wire::{ConversationIds, ReadIds, Users};
use super::{HttpRecords, Name};

impl Directory for HttpRecords {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let name = Name("users");
        let Users { users } = self.ask(name, ReadIds { after, limit }).await?;
        ascending(name, after, &users, limit)?;
        Ok(users)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        let name = Name("conversation-ids");
        let ConversationIds { conversations } = self.ask(name, ReadIds { after, limit }).await?;
        ascending(name, after, &conversations, limit)?;
        Ok(conversations)
    }
}

fn ascending<I: Ord + Copy>(name: Name, after: Option<I>, ids: &[I], limit: u32) -> Answer<()> {
    let above = after.is_none_or(|after| ids.first().is_none_or(|first| *first > after));
    if above && ids.is_sorted_by(|one, other| one < other) && ids.len() <= limit as usize {
        return Ok(());
    }
    let problem = format!("the list is not at most {limit} ids above the one asked, in ascending order");
    Err(Fault::Malformed(problem).told(name.0))
}
