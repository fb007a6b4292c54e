//! A connection of the pool while a call uses it.
//!
//! Without a pooler, or with one that keeps sessions, the settings of the session hold, and statements stay prepared.
//! Where a pooler keeps only transactions, nothing may outlive a transaction: every call is a transaction, which begins
//! with its settings, and statements are prepared without a name.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Postgres, SqlStr};

use super::super::sql::{Parameter, QueryResult, SqlConnection, Statements};
use super::dialect::{self, fetch};

/// The settings of a session or of a transaction, as statements.
pub(super) fn settings(statement_timeout: Duration, command: &str) -> String {
    let statement = statement_timeout.as_millis();
    let all = [
        ("statement_timeout", statement.to_string()),
        // A wait for a row may take half of the time; the other half is for the work.
        ("lock_timeout", (statement / 2).max(1).to_string()),
        // Rows that a lost host has locked are free again after this time.
        ("idle_in_transaction_session_timeout", (statement * 2).to_string()),
        // Outdated statistics of a small table must not make the planner read it whole after it has grown.
        ("enable_seqscan", "off".to_owned()),
        // Compiling a statement takes longer than running it.
        ("jit", "off".to_owned()),
    ];
    all.map(|(name, value)| format!("{command} {name} = {value}")).join("; ")
}

/// A connection in use. Dropped without [`Self::release`] it is closed, because a transaction may be open on it, or an
/// answer still to come.
#[derive(Debug)]
pub(in crate::records) struct PgSession {
    connection: Option<PoolConnection<Postgres>>,
    keeps_prepared: bool,
}

impl PgSession {
    pub(super) const fn new(connection: PoolConnection<Postgres>, keeps_prepared: bool) -> Self {
        Self { connection: Some(connection), keeps_prepared }
    }

    fn get(&mut self) -> QueryResult<&mut PgConnection> {
        Ok(self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?)
    }

    /// Runs a statement without parameters and without an answer.
    pub(super) async fn execute(&mut self, statement: SqlStr) -> QueryResult<()> {
        self.get()?.execute(statement).await?;
        Ok(())
    }

    /// Gives the connection back to the pool.
    pub(super) fn release(mut self) {
        drop(self.connection.take());
    }
}

impl Drop for PgSession {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl SqlConnection for PgSession {
    type Row = PgRow;

    const STATEMENTS: &'static Statements = &dialect::STATEMENTS;

    const CODE_NAME: &'static str = <PgConnection as SqlConnection>::CODE_NAME;

    fn advice(code: &str) -> Option<&'static str> {
        dialect::advice(code)
    }

    async fn rows(&mut self, statement: &'static str, parameters: Vec<Parameter>) -> QueryResult<Vec<PgRow>> {
        let keeps_prepared = self.keeps_prepared;
        fetch(self.get()?, (statement, keeps_prepared), parameters).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_settings_hold_for_a_session_and_for_a_transaction() {
        let of = |command| settings(Duration::from_millis(5_001), command);
        let session = "SET statement_timeout = 5001; SET lock_timeout = 2500; \
            SET idle_in_transaction_session_timeout = 10002; SET enable_seqscan = off; SET jit = off";
        assert_eq!(of("SET"), session);
        assert_eq!(of("SET LOCAL"), session.replace("SET", "SET LOCAL"));
    }
}
