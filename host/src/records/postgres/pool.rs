//! Connections to a PostgreSQL server: bounded in number and in time, and replaced when they break.
//!
//! The server ends a statement that takes too long, so that no transaction waits for a row or holds one for ever. A call
//! as a whole is ended here, because a server that cannot be reached ends nothing.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::super::sql::{Queries, QueryError, QueryResult};
use crate::config::PostgresConfig;

/// A connection that was idle for longer is checked before it is used.
const CHECK_AFTER_IDLE: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection that is older is replaced, so that this host follows a host name that moved to another server.
const LIFETIME_MAX: Duration = Duration::from_secs(1_800);
/// A transaction that loses a race is tried at most so many times.
const ATTEMPTS_MAX: u32 = 5;
/// Connections that are still in use after this time are left open at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serialization failure, deadlock, and an id that another transaction has just stored. In each case the server has
/// rolled the transaction back, and the next attempt sees what the other transaction stored.
const RETRYABLE_CODES: [&str; 3] = ["40001", "40P01", "23505"];

#[derive(Clone, Debug)]
pub(super) struct ConnectionPool {
    connections: PgPool,
    /// The time for all statements of a call.
    call_timeout: Duration,
}

impl ConnectionPool {
    /// Opens no connection yet.
    pub(super) fn new(options: &PgConnectOptions, config: &PostgresConfig) -> Self {
        let statement = config.statement_timeout.as_millis();
        let options = options.clone().options([
            ("statement_timeout", statement.to_string()),
            // A wait for a row may take half of the time; the other half is for the work.
            ("lock_timeout", (statement / 2).max(1).to_string()),
            // Rows that a lost host has locked are free again after this time.
            ("idle_in_transaction_session_timeout", (statement * 2).to_string()),
            // Outdated statistics of a small table must not make the planner read it whole after it has grown.
            ("enable_seqscan", "off".to_owned()),
            // Compiling a statement takes longer than running it.
            ("jit", "off".to_owned()),
        ]);
        let connections = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(LIFETIME_MAX)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > CHECK_AFTER_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { connections, call_timeout: config.statement_timeout * 2 }
    }

    pub(super) async fn read<T: Send>(&self, queries: &impl Queries<PgConnection, T>) -> QueryResult<T> {
        let mut connection = self.acquire().await?;
        let answer = timeout(self.call_timeout, queries(connection.get()?)).await.map_err(|_| QueryError::TimedOut)?;
        connection.release();
        answer
    }

    pub(super) async fn write<T: Send>(&self, queries: &impl Queries<PgConnection, T>) -> QueryResult<T> {
        let mut attempts = 1;
        loop {
            match self.transact(queries).await {
                Err(error) if attempts < ATTEMPTS_MAX && is_retryable(&error) => attempts += 1,
                answer => return answer,
            }
        }
    }

    async fn transact<T: Send>(&self, queries: &impl Queries<PgConnection, T>) -> QueryResult<T> {
        let mut pooled = self.acquire().await?;
        let connection = pooled.get()?;
        let transaction = async {
            let mut transaction = connection.begin().await?;
            let answer = queries(&mut transaction).await?;
            transaction.commit().await?;
            Ok(answer)
        };
        let answer = timeout(self.call_timeout, transaction).await.map_err(|_| QueryError::TimedOut)?;
        pooled.release();
        answer
    }

    async fn acquire(&self) -> QueryResult<AcquiredConnection> {
        Ok(AcquiredConnection(Some(self.connections.acquire().await?)))
    }

    pub(super) async fn close(&self) {
        if timeout(CLOSE_TIMEOUT, self.connections.close()).await.is_err() {
            tracing::warn!("connections to the records database did not close in time");
        }
    }
}

/// A connection in use. Dropped without [`Self::release`] it is closed, because a transaction may be open on it, or an
/// answer still to come.
struct AcquiredConnection(Option<PoolConnection<Postgres>>);

impl AcquiredConnection {
    fn get(&mut self) -> QueryResult<&mut PgConnection> {
        Ok(self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?)
    }

    fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for AcquiredConnection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn is_retryable(error: &QueryError) -> bool {
    let QueryError::Failed(error) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| RETRYABLE_CODES.contains(&code.as_ref()))
}
