//! Finds out whether a pooler between this host and the server keeps sessions, or only transactions.
//!
//! Two connections of a host have two sessions of the server. If they turn out to have the same one, a pooler gives
//! sessions from transaction to transaction.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::timeout;

use super::connect;
use super::pool::Kept;

/// A busy pooler may by chance use two sessions for the two connections, so the check is repeated this many times.
const ROUNDS: usize = 5;

/// What is kept for connections of these options, of which `one` is one.
///
/// If no second connection can be opened, sessions are kept: a pooler that keeps transactions would have had the
/// session of the first one to spare.
pub(super) async fn find_out(one: &mut PgConnection, options: &PgConnectOptions, within: Duration) -> Kept {
    let found = timeout(within * 2, share_a_session(one, options, within)).await;
    match found {
        Ok(Ok(true)) => {
            tracing::info!("a pooler keeps only transactions; statements are not kept prepared");
            Kept::Transaction
        }
        Ok(Ok(false)) | Err(_) => Kept::Session,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a second connection to PostgreSQL cannot be opened");
            Kept::Session
        }
    }
}

async fn share_a_session(
    one: &mut PgConnection,
    options: &PgConnectOptions,
    within: Duration,
) -> Result<bool, sqlx::Error> {
    let mut other = connect(options, within).await?;
    let mut shared = false;
    for _ in 0..ROUNDS {
        let before = session_of(one).await?;
        other.execute("BEGIN").await?;
        let of_other = session_of(&mut other).await?;
        other.execute("ROLLBACK").await?;
        if of_other == before || session_of(one).await? != before {
            shared = true;
            break;
        }
    }
    // What was found out holds, however the connection ends.
    let _ = other.close().await;
    Ok(shared)
}

/// Identifies the session of the server, without a prepared statement.
async fn session_of(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()::text").fetch_one(connection).await?;
    row.try_get(0)
}
