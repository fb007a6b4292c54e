//! Errors of a database: why it cannot be opened, and why an operation failed.
//!
//! The operator reads one sentence: what was wrong, in the database's words, and what to do about it. Callers learn
//! only that the records are unavailable.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use roost_core::port::RecordsError;
use sqlx::migrate::MigrateError;

use super::SqlConnection;

/// After this time a retry makes sense.
const RETRY_AFTER_MS: u32 = 200;

/// The reason why a database cannot be used for the records.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseOpenError {
    /// The folder of an SQLite file cannot be created.
    #[error("cannot create the folder {} for the records: {problem}; create it, or name another file in records_url", folder.display())]
    Folder {
        /// The folder to create.
        folder: PathBuf,
        /// The error of the file system.
        problem: io::Error,
    },
    /// The file or the server cannot be used as a database.
    #[error("cannot open the records in {place}: {problem}")]
    Open {
        /// A file, memory, or a database of a server; without a password.
        place: String,
        /// What was wrong, and what to do.
        problem: String,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the schema of the records in {place} up to date: {problem}")]
    Migrate {
        /// As in [`DatabaseOpenError::Open`].
        place: String,
        /// What was wrong, and what to do.
        problem: String,
    },
}

/// The reason why queries did not succeed.
#[derive(Debug)]
pub(in crate::records) enum QueryError {
    /// A rule of the records refuses the operation.
    Refused(RecordsError),
    /// The database or the connection to it failed.
    Failed(sqlx::Error),
    /// No connection became free in time.
    NoConnection,
    /// The database did not answer in time.
    TimedOut,
    /// The server cannot be reached, which an earlier call has found out.
    Unreachable {
        /// Why not. It contains no secret.
        reason: String,
        /// When the next attempt to connect is made.
        retry_after: Duration,
    },
    /// The database answers, but it accepts no changes.
    ReadOnly,
}

pub(in crate::records) type QueryResult<T> = Result<T, QueryError>;

impl From<RecordsError> for QueryError {
    fn from(error: RecordsError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::NoConnection,
            error => Self::Failed(error),
        }
    }
}

impl QueryError {
    /// The error that the caller of the port receives. What the caller must not see is logged here.
    pub(super) fn into_records_error<C: SqlConnection>(self, operation: &str) -> RecordsError {
        match self {
            Self::Refused(error) => return error,
            // It was logged once, when it was found out.
            Self::Unreachable { retry_after, .. } => {
                let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX).max(1);
                return RecordsError::Unavailable { retry_after_ms };
            }
            error @ (Self::Failed(_) | Self::ReadOnly) => {
                tracing::error!(operation, problem = error.problem::<C>(), "the records database failed");
            }
            error => tracing::warn!(operation, problem = error.problem::<C>(), "the records database is too slow"),
        }
        RecordsError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
    }

    /// What was wrong, and what to do.
    pub(in crate::records) fn problem<C: SqlConnection>(&self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Failed(error) => describe::<C>(error),
            Self::NoConnection => {
                "no connection became free in time, because the database is overloaded or slow; find out what keeps it \
                 busy"
                    .to_owned()
            }
            Self::TimedOut => {
                "the database did not answer in time, so whether a write happened is unknown; find out what keeps it busy"
                    .to_owned()
            }
            Self::Unreachable { reason, .. } => format!(
                "the server cannot be reached: {reason}; check that it is running, and this host connects again by \
                 itself"
            ),
            Self::ReadOnly => {
                "the server is read-only: a standby, or a primary that was demoted; this host goes on by itself when \
                 records_url leads to a server that accepts changes"
                    .to_owned()
            }
        }
    }

    /// What was wrong, for answers that everybody may read: without the words of the database.
    pub(in crate::records) fn public_problem<C: SqlConnection>(&self) -> String {
        match self {
            Self::Failed(error) => describe_publicly::<C>(error),
            other => other.problem::<C>(),
        }
    }
}

/// Describes an error of the database: what was wrong, and what to do.
pub(in crate::records) fn describe<C: SqlConnection>(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let (code, message) = (error.code().unwrap_or_default(), error.message());
            match C::advice(&code) {
                Some(advice) => format!("{message}; {advice}"),
                None => format!("{message} ({} {code})", C::CODE_NAME),
            }
        }
        sqlx::Error::Io(error) => format!(
            "the connection failed: {error}; check host and port in records_url, and that the server is running"
        ),
        sqlx::Error::Tls(error) => {
            format!("the encrypted connection failed: {error}; check sslmode and sslrootcert in records_url")
        }
        sqlx::Error::Configuration(error) => format!("{error}; correct records_url"),
        sqlx::Error::PoolClosed => "the connection is closed, because this host is stopping".to_owned(),
        error => error.to_string(),
    }
}

/// As [`describe`], without the words of the database, which can name users and tables.
pub(in crate::records) fn describe_publicly<C: SqlConnection>(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match C::advice(&code) {
                Some(advice) => format!("{} {code}; {advice}", C::CODE_NAME),
                None => format!("{} {code}", C::CODE_NAME),
            }
        }
        other => describe::<C>(other),
    }
}

/// Describes why the schema cannot be brought up to date to version `newest`: what was wrong, and what to do.
pub(in crate::records) fn describe_migration<C: SqlConnection>(error: &MigrateError, newest: i64) -> String {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => describe::<C>(error),
        MigrateError::VersionMissing(version) => format!(
            "the schema has migration {version}, but this version of Roost knows migrations up to {newest}; \
             start the newer version that wrote the schema"
        ),
        MigrateError::VersionMismatch(version) => format!(
            "migration {version} of the schema differs from this version's; \
             start the version that wrote the schema, or name an empty database in records_url"
        ),
        error => error.to_string(),
    }
}
