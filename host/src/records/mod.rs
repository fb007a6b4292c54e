//! The system of record behind its port: which technology, and how long each operation takes.
//!
//! One more technology is one more variant of [`RecordStore`] and one more folder: beside `sqlite` and `postgres`, which
//! share what is in `sql`, or on its own.

mod cursor;
mod http;
mod postgres;
mod sql;
mod sqlite;

use std::future::Future;
use std::time::Instant;

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Answer, Directory, Operation, Records};

pub use self::http::{HttpRecords, wire};
use self::postgres::Postgres;
pub use self::postgres::statements as postgres_statements;
pub use self::sql::{OpenError as DatabaseError, SqlRecords, Statements};
use self::sqlite::Sqlite;
use crate::config::RecordsUrl;
use crate::ops::latency;

/// Why the records cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody else's backend.
    #[error(transparent)]
    Backend(#[from] http::OpenError),
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

/// Does the same with whatever the records are.
macro_rules! each {
    ($self:ident, $records:ident => $does:expr) => {
        match $self {
            Self::Sqlite($records) => $does,
            Self::Postgres($records) => $does,
            Self::Http($records) => $does,
        }
    };
}

impl RecordStore {
    /// Opens what the URL names. A database's schema is brought up to date.
    pub async fn open(url: &RecordsUrl) -> Result<Self, OpenError> {
        match url {
            RecordsUrl::Sqlite(location) => Ok(Self::Sqlite(sqlite::open(location).await?)),
            RecordsUrl::Postgres(config) => Ok(Self::Postgres(postgres::open(config).await?)),
            RecordsUrl::Http(config) => Ok(Self::Http(HttpRecords::open(config).await?)),
        }
    }

    /// Whether the records answer.
    pub async fn ready(&self) -> Answer<()> {
        each!(self, records => records.ready().await)
    }

    /// Makes every confirmation accepted so far take effect.
    pub async fn flush(&self) {
        each!(self, records => records.flush().await);
    }

    /// Writes what waits and closes; nothing can be asked afterwards.
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

async fn timed<T>(operation: Operation, answer: impl Future<Output = T> + Send) -> T {
    let start = Instant::now();
    let answer = answer.await;
    latency::of_records(operation.name()).record(start.elapsed());
    answer
}

/// Implements [`Records`] by handing every operation on to the records that are configured, and measuring its time.
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for RecordStore {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                each!(self, records => timed(Operation::$operation, records.$method($($argument),*)).await)
            })*
        }
    };
}

roost_core::records_operations!(delegate);
