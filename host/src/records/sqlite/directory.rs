//! Everybody, in pages: for the host's own rounds, never for functions.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Answer, Directory, records_bounds as bounds};

use super::SqliteRecords;
use super::fault::{Stored, answer};
use super::rows::{Id, Read, read_id};
use super::statements::{CONVERSATION_IDS, USERS};

impl Directory for SqliteRecords {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        answer("users", self.page(USERS, after, limit).await)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        answer("conversation-ids", self.page(CONVERSATION_IDS, after, limit).await)
    }
}

impl SqliteRecords {
    async fn page<I: Id>(&self, statement: &'static str, after: Option<I>, limit: u32) -> Stored<Vec<I>> {
        let mut turn = self.readers.turn().await?;
        // Before the first stands what is shorter than any id.
        let after = after.map(|id| id.blob()).unwrap_or_default();
        let rows = sqlx::query(statement).bind(after).bind(limit).fetch_all(&mut *turn).await?;
        Ok(rows.iter().map(|row| read_id(row, 0)).collect::<Read<Vec<I>>>()?)
    }
}
