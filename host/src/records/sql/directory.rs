//! Everybody, in pages: for the host's own rounds, never for functions.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Answer, Directory, records_bounds as bounds};

use super::rows::{Read, read_id};
use super::values::{Id, Value};
use super::{Database, Sql, SqlRecords, Stored, answer};

#[allow(private_bounds, reason = "the databases are this folder's own affair")]
impl<D: Database> Directory for SqlRecords<D> {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        bounds::directory(limit)?;
        let statement = <D::Connection as Sql>::STATEMENTS.users;
        answer("users", self.page(statement, after, limit).await)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        bounds::directory(limit)?;
        let statement = <D::Connection as Sql>::STATEMENTS.conversation_ids;
        answer("conversation-ids", self.page(statement, after, limit).await)
    }
}

#[allow(private_bounds, reason = "as above")]
impl<D: Database> SqlRecords<D> {
    async fn page<I: Id + Send + Sync + 'static>(
        &self,
        statement: &'static str,
        after: Option<I>,
        limit: u32,
    ) -> Stored<Vec<I>> {
        let Some(from) = after.map_or(Some(0), |after| after.bits().checked_add(1)) else { return Ok(Vec::new()) };
        self.database.read(move |sql| Box::pin(ids(sql, statement, (from, limit)))).await
    }
}

async fn ids<C: Sql, I: Id>(sql: &mut C, statement: &'static str, (from, limit): (u128, u32)) -> Stored<Vec<I>> {
    let rows = sql.rows(statement, vec![Value::Id(from), u64::from(limit).into()]).await?;
    Ok(rows.iter().map(|row| read_id(row, 0)).collect::<Read<Vec<I>>>()?)
}
