//! Connections to a PostgreSQL server: bounded in number and in time, replaced when they break.
//!
//! The server ends a statement that takes too long, so that nobody waits for a row or holds one for ever. A call as a
//! whole is ended here, because a server that cannot be reached ends nothing.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

use super::super::sql::{Fault, Stored, Work};
use crate::config::PostgresConfig;

/// A connection that was idle for longer is tried before it is used.
const FRESH: Duration = Duration::from_secs(1);
/// Nobody needs a connection that was idle for longer.
const IDLE: Duration = Duration::from_secs(300);
/// Connections are renewed, so that a server behind a name that moved is left in time.
const LIFETIME: Duration = Duration::from_secs(1_800);
/// A change that lost a race is begun anew this often.
const TRIES_MAX: u32 = 5;
/// Connections that do not come back are left behind at the end.
const CLOSING: Duration = Duration::from_secs(5);

/// Serialization failure, deadlock, and an id that somebody else has stored a moment ago: in each case the server has
/// undone the change, and the next try sees what the winner left.
const RACES: [&str; 3] = ["40001", "40P01", "23505"];

#[derive(Clone, Debug)]
pub(super) struct Pool {
    connections: PgPool,
    /// A call's time on a connection.
    patience: Duration,
}

impl Pool {
    /// Opens nothing yet.
    pub(super) fn new(options: &PgConnectOptions, config: &PostgresConfig) -> Self {
        let statement = config.statement_timeout.as_millis();
        let options = options.clone().options([
            ("statement_timeout", statement.to_string()),
            // Whoever waits for a row that long leaves the other half for the work.
            ("lock_timeout", (statement / 2).max(1).to_string()),
            // Rows of a host that the network has swallowed are free again after this.
            ("idle_in_transaction_session_timeout", (statement * 2).to_string()),
            // Statistics of a table that was small yesterday must not have it read whole today.
            ("enable_seqscan", "off".to_owned()),
            // Compiling takes longer than any of the statements.
            ("jit", "off".to_owned()),
        ]);
        let connections = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(IDLE)
            .max_lifetime(LIFETIME)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { connections, patience: config.statement_timeout * 2 }
    }

    pub(super) async fn read<T: Send>(&self, question: &impl Work<PgConnection, T>) -> Stored<T> {
        let mut held = self.hold().await?;
        let answered = timeout(self.patience, question(held.connection()?)).await.map_err(|_| Fault::Slow)?;
        held.give_back();
        answered
    }

    pub(super) async fn write<T: Send>(&self, change: &impl Work<PgConnection, T>) -> Stored<T> {
        let mut tries = 1;
        loop {
            match self.transact(change).await {
                Err(fault) if tries < TRIES_MAX && lost_a_race(&fault) => tries += 1,
                done => return done,
            }
        }
    }

    async fn transact<T: Send>(&self, change: &impl Work<PgConnection, T>) -> Stored<T> {
        let mut held = self.hold().await?;
        let connection = held.connection()?;
        let transaction = async {
            let mut transaction = connection.begin().await?;
            let done = change(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        };
        let done = timeout(self.patience, transaction).await.map_err(|_| Fault::Slow)?;
        held.give_back();
        done
    }

    async fn hold(&self) -> Stored<Held> {
        Ok(Held(Some(self.connections.acquire().await?)))
    }

    pub(super) async fn close(&self) {
        if timeout(CLOSING, self.connections.close()).await.is_err() {
            tracing::warn!("connections of the records did not close in time");
        }
    }
}

/// A connection in use. One that is not given back is cut: an answer may be under way on it, or a transaction open.
struct Held(Option<PoolConnection<Postgres>>);

impl Held {
    fn connection(&mut self) -> Stored<&mut PgConnection> {
        Ok(self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?)
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

fn lost_a_race(fault: &Fault) -> bool {
    let Fault::Broken(error) = fault else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| RACES.contains(&code.as_ref()))
}
