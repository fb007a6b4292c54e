//! Connections to a PostgreSQL server: bounded in number and in time, and replaced when they break, or when the server
//! that they lead to has become read-only.
//!
//! The server ends a statement that takes too long, so that no transaction waits for a row or holds one for ever. A
//! call as a whole is ended here, because a server that cannot be reached ends nothing. Calls to such a server are
//! refused at once; see `circuit`.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, SqlSafeStr};
use tokio::time::timeout;

use super::super::sql::{Queries, QueryError, QueryResult, describe_publicly};
use super::circuit::{Circuit, OpenCircuit, ProbeFailure};
use super::connect;
use super::session::{PgSession, settings};
use crate::config::PostgresConfig;
use crate::ops::metrics;

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
/// Opening a connection outside of a call may take this long, and longer if a call may wait longer for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server has as many clients as it accepts.
const TOO_MANY_CLIENTS: &str = "53300";
/// The server refuses changes, because it is a standby now, or was made read-only.
const READ_ONLY: &str = "25006";
/// Connections to a read-only server are replaced this often.
const READ_ONLY_PAUSE: Duration = Duration::from_secs(2);

/// What a pooler keeps for a connection, as it was configured or found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Session,
    Transaction,
}

/// Connections that were opened before an instant are not used any more. Clones share the instant.
#[derive(Clone, Debug, Default)]
struct Outdated(Arc<Mutex<Option<Instant>>>);

impl Outdated {
    /// Every connection that is open now is replaced before it is used again.
    fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// As [`Self::mark`], unless that has happened within this time. Returns whether it marks.
    fn mark_after(&self, pause: Duration) -> bool {
        let mut marked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marked.is_some_and(|marked| marked.elapsed() < pause) {
            return false;
        }
        *marked = Some(Instant::now());
        true
    }

    /// Whether a connection of this age must be replaced.
    fn contains(&self, age: Duration) -> bool {
        let marked = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marked.is_some_and(|marked| marked.elapsed() < age)
    }
}

#[derive(Clone, Debug)]
pub(super) struct ConnectionPool {
    connections: PgPool,
    circuit: Circuit,
    outdated: Outdated,
    kept: Kept,
    /// Begins a transaction.
    begin: Arc<str>,
    /// The time for all statements of a call.
    call_timeout: Duration,
}

impl ConnectionPool {
    /// Opens no connection yet.
    pub(super) fn new(options: &PgConnectOptions, config: &PostgresConfig, kept: Kept) -> Self {
        let outdated = Outdated::default();
        let begin = match kept {
            Kept::Session => "BEGIN".to_owned(),
            Kept::Transaction => format!("BEGIN; {}", settings(config.statement_timeout, "SET LOCAL")),
        };
        Self {
            connections: pool(options, config, kept, outdated.clone()),
            circuit: circuit(options, config, outdated.clone()),
            outdated,
            kept,
            begin: begin.into(),
            call_timeout: config.statement_timeout * 2,
        }
    }

    pub(super) async fn read<T: Send>(&self, queries: &impl Queries<PgSession, T>) -> QueryResult<T> {
        self.run(queries, self.kept == Kept::Transaction).await
    }

    pub(super) async fn write<T: Send>(&self, queries: &impl Queries<PgSession, T>) -> QueryResult<T> {
        let mut attempts = 1;
        loop {
            match self.run(queries, true).await {
                Err(error) if attempts < ATTEMPTS_MAX && is_retryable(&error) => attempts += 1,
                answer => return answer,
            }
        }
    }

    async fn run<T: Send>(&self, queries: &impl Queries<PgSession, T>, in_transaction: bool) -> QueryResult<T> {
        let mut session = self.acquire().await?;
        let work = async {
            if !in_transaction {
                return (queries(&mut session).await, true);
            }
            if let Err(error) = session.execute(AssertSqlSafe(self.begin.clone()).into_sql_str()).await {
                // A part of the text may have begun the transaction.
                return (Err(error), false);
            }
            match queries(&mut session).await {
                Ok(answer) => (session.execute("COMMIT".into_sql_str()).await.map(|()| answer), true),
                Err(error) => (Err(error), session.execute("ROLLBACK".into_sql_str()).await.is_ok()),
            }
        };
        let (answer, is_sound) = timeout(self.call_timeout, work).await.unwrap_or((Err(QueryError::TimedOut), false));
        // Asked about an unsound connection, too: the error may request a probe.
        let leaves_sound = answer.as_ref().err().is_none_or(|error| self.leaves_sound(error));
        if is_sound && leaves_sound {
            self.circuit.note_answer();
            session.release();
        }
        answer
    }

    /// Whether a connection can be used after this error. An error that may concern other connections, too, has its
    /// consequences for them.
    fn leaves_sound(&self, error: &QueryError) -> bool {
        match error {
            QueryError::Failed(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                if code == READ_ONLY {
                    return !self.replace_read_only();
                }
                let lost = is_lost(&code);
                if lost {
                    self.circuit.request_probe();
                }
                !lost
            }
            QueryError::Failed(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_))
            | QueryError::TimedOut
            | QueryError::NoConnection => {
                self.circuit.request_probe();
                false
            }
            QueryError::Failed(_) | QueryError::Refused(_) | QueryError::ReadOnly | QueryError::Unreachable { .. } => {
                true
            }
        }
    }

    /// Replaces all connections, because the server at their other end accepts no changes any more. A server that stays
    /// read-only answers reads over the same connections for a while. Returns whether they are replaced.
    pub(super) fn replace_read_only(&self) -> bool {
        self.outdated.mark_after(READ_ONLY_PAUSE)
    }

    async fn acquire(&self) -> QueryResult<PgSession> {
        if let Some(open) = self.circuit.refusal() {
            return Err(refused(open));
        }
        let acquired = self.connections.acquire().await.map_err(QueryError::from);
        let acquired = acquired.inspect_err(|error| {
            let is_closed = matches!(error, QueryError::Failed(sqlx::Error::PoolClosed));
            if !is_closed {
                self.circuit.request_probe();
            }
        });
        Ok(PgSession::new(acquired?, self.kept == Kept::Session))
    }

    pub(super) async fn close(&self) {
        if timeout(CLOSE_TIMEOUT, self.connections.close()).await.is_err() {
            tracing::warn!("connections to the records database did not close in time");
        }
    }
}

fn refused(open: OpenCircuit) -> QueryError {
    metrics::RECORDS_REFUSED.inc();
    QueryError::Unreachable { retry_after: open.retry_after(), reason: open.reason }
}

/// How long opening a connection may take at the start and for a probe. It takes more time than a call when everybody
/// is busy; a server that is only slow must not be taken for one that is away, nor keep a host from starting.
pub(super) fn connect_timeout(config: &PostgresConfig) -> Duration {
    config.acquire_timeout.max(CONNECT_TIMEOUT)
}

fn pool(options: &PgConnectOptions, config: &PostgresConfig, kept: Kept, outdated: Outdated) -> PgPool {
    let session: Arc<str> = match kept {
        Kept::Session => settings(config.statement_timeout, "SET").into(),
        Kept::Transaction => "".into(),
    };
    PgPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LIFETIME_MAX)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move {
                if !session.is_empty() {
                    connection.execute(AssertSqlSafe(session)).await?;
                }
                Ok(())
            })
        })
        .before_acquire(move |connection, meta| {
            let is_outdated = outdated.contains(meta.age);
            Box::pin(async move {
                if is_outdated {
                    return Ok(false);
                }
                if meta.idle_for > CHECK_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.clone())
}

/// The circuit to the server of these options. After a long time without a server, all connections are replaced.
fn circuit(options: &PgConnectOptions, config: &PostgresConfig, outdated: Outdated) -> Circuit {
    let (options, within) = (options.clone(), connect_timeout(config));
    let probe = move || {
        let options = options.clone();
        async move {
            let connected = async { connect(&options, within).await?.ping().await };
            match timeout(within, connected).await {
                Ok(Ok(())) => Ok(()),
                // The server answers, and the pool has connections to it or gets one when another client leaves.
                Ok(Err(error)) if is_crowded(&error) => Ok(()),
                Ok(Err(sqlx::Error::Io(error))) if error.kind() == ErrorKind::TimedOut => Err(unanswered()),
                Ok(Err(error)) => Err(ProbeFailure::Refused(describe_publicly::<PgConnection>(&error))),
                Err(_) => Err(unanswered()),
            }
        }
    };
    Circuit::new(probe, move || outdated.mark())
}

fn unanswered() -> ProbeFailure {
    ProbeFailure::Unanswered("the server did not answer in time".to_owned())
}

/// Whether the server, or a pooler before it, has as many clients as it accepts.
fn is_crowded(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    error.code().is_some_and(|code| code == TOO_MANY_CLIENTS) || error.message().contains("no more connections allowed")
}

fn is_retryable(error: &QueryError) -> bool {
    let QueryError::Failed(error) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| RETRYABLE_CODES.contains(&code.as_ref()))
}

/// Whether the session cannot be used any more: connection exceptions, operator interventions other than a cancelled
/// statement, an idle transaction that was ended, and prepared statements that a pooler has mixed up.
fn is_lost(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P") || matches!(code, "25P03" | "26000" | "42P05")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_a_loss_are_outdated() {
        let outdated = Outdated::default();
        assert!(!outdated.contains(Duration::from_secs(1_000)));
        outdated.mark();
        assert!(outdated.contains(Duration::from_secs(1_000)) && !outdated.contains(Duration::ZERO));
        assert!(!outdated.mark_after(Duration::from_secs(1_000)) && outdated.mark_after(Duration::ZERO));
        assert!(Outdated::default().mark_after(Duration::from_secs(1_000)));
    }

    #[test]
    fn a_session_that_the_server_ended_is_lost_and_one_with_a_failed_statement_is_not() {
        for code in ["08006", "08P01", "57P01", "57P02", "57P03", "25P03", "26000", "42P05"] {
            assert!(is_lost(code), "{code}");
        }
        for code in ["57014", "23505", "40001", "25006", "53100", "55P03"] {
            assert!(!is_lost(code), "{code}");
        }
    }
}
