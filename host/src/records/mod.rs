//! The system of record behind its port: the choice of the technology, and the time and the span of each operation.
//!
//! A new technology is a new variant of [`RecordStore`] and a new folder. `sqlite` and `postgres` share the operations
//! in `sql`; `http` has its own.

mod http;
#[cfg(test)]
mod message_tests;
mod postgres;
mod sql;
mod sqlite;

use std::future::Future;
use std::time::Instant;

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Answer, Directory, Operation, Records, RecordsError};
use tracing::Instrument;

pub use self::http::{BackendOpenError, HttpRecords, wire};
use self::postgres::Postgres;
pub use self::postgres::statements as postgres_statements;
pub use self::sql::{DatabaseOpenError, SqlRecords, Statements};
use self::sqlite::Sqlite;
use crate::config::RecordsUrl;
use crate::ops::{latency, trace};

/// The reason why the records cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecordsOpenError {
    /// The records are in a database.
    #[error(transparent)]
    Database(#[from] DatabaseOpenError),
    /// The records are in the operator's own backend.
    #[error(transparent)]
    Backend(#[from] BackendOpenError),
}

/// The records that the configuration names. Clones share them.
#[derive(Clone, Debug)]
pub enum RecordStore {
    /// In an SQLite database.
    Sqlite(SqlRecords<Sqlite>),
    /// In a PostgreSQL database.
    Postgres(SqlRecords<Postgres>),
    /// In a backend that answers over HTTP.
    Http(HttpRecords),
}

/// Evaluates the same expression with the records of each technology.
macro_rules! each {
    ($self:ident, $records:ident => $expression:expr) => {
        match $self {
            Self::Sqlite($records) => $expression,
            Self::Postgres($records) => $expression,
            Self::Http($records) => $expression,
        }
    };
}

impl RecordStore {
    /// Opens the records that the URL names. The schema of a database is brought up to date.
    pub async fn open(url: &RecordsUrl) -> Result<Self, RecordsOpenError> {
        match url {
            RecordsUrl::Sqlite(location) => Ok(Self::Sqlite(sqlite::open(location).await?)),
            RecordsUrl::Postgres(config) => Ok(Self::Postgres(postgres::open(config).await?)),
            RecordsUrl::Http(config) => Ok(Self::Http(HttpRecords::open(config).await?)),
        }
    }

    /// Checks that the records answer.
    pub async fn ready(&self) -> Answer<()> {
        each!(self, records => records.ready().await)
    }

    /// Checks that the records answer and accept changes. The error says what is wrong, and contains no secret.
    pub async fn readiness(&self) -> Result<(), String> {
        match self {
            Self::Sqlite(records) => records.readiness().await,
            Self::Postgres(records) => records.readiness().await,
            Self::Http(records) => records.ready().await.map_err(|error| error.to_string()),
        }
    }

    /// Returns when every confirmation that was accepted so far has taken effect.
    pub async fn flush(&self) {
        each!(self, records => records.flush().await);
    }

    /// Writes the waiting confirmations and closes the connections. Every later operation fails.
    pub async fn close(&self) {
        each!(self, records => records.close().await);
    }
}

impl Directory for RecordStore {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        each!(self, records => records.users(after, limit).await)
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        each!(self, records => records.conversation_ids(after, limit).await)
    }
}

/// Carries out an operation within its span and measures its latency.
async fn measured<T>(operation: Operation, work: impl Future<Output = Answer<T>> + Send + Unpin) -> Answer<T> {
    let start = Instant::now();
    let span = trace::records_span(operation.name());
    let answer = work.instrument(span.clone()).await;
    if matches!(answer, Err(RecordsError::Unavailable { .. })) {
        trace::mark_unavailable(&span);
    }
    latency::of_records(operation.name()).record(start.elapsed());
    answer
}

/// Implements [`Records`] by handing every operation on to the records that are configured, and measuring its time.
///
/// The futures of the technologies take up to 30 KiB. They are boxed, so that whoever calls an operation does not carry
/// that through every layer.
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for RecordStore {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                each!(self, records => measured(Operation::$operation, Box::pin(records.$method($($argument),*))).await)
            })*
        }
    };
}

roost_core::records_operations!(delegate);
