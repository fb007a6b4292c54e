//! The records in an SQLite database: a file in write-ahead mode, or memory.
//!
//! One connection writes, each operation in one transaction; a few read beside it, and one moves the write-ahead log
//! into the database. An acknowledged write survives the end of the process. With `synchronous = NORMAL` the last
//! writes before a power failure may be lost.

#[macro_use]
mod fragments;

mod checkpoints;
mod connections;
mod dialect;
#[cfg(test)]
mod plans;

use std::path::Path;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use self::checkpoints::Checkpoints;
use self::connections::{ConnectionSlot, ReadConnections, begin_write};
use super::sql::{
    Database, DatabaseOpenError, Queries, QueryError, QueryResult, SqlRecords, describe, describe_migration, migrator,
};
use crate::config::SqliteLocation;

/// The newest migration.
const SCHEMA_VERSION: i64 = 7;

/// All migrations, embedded, so that the binary brings its database up to date by itself.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[
        (1, "records", include_str!("../../../migrations/sqlite/0001_records.sql")),
        (2, "counting", include_str!("../../../migrations/sqlite/0002_counting.sql")),
        (3, "outbox", include_str!("../../../migrations/sqlite/0003_outbox.sql")),
        (4, "user conversations", include_str!("../../../migrations/sqlite/0004_user_conversations.sql")),
        (5, "pairs", include_str!("../../../migrations/sqlite/0005_pairs.sql")),
        (6, "function documents", include_str!("../../../migrations/sqlite/0006_function_documents.sql")),
        (SCHEMA_VERSION, "moves", include_str!("../../../migrations/sqlite/0007_moves.sql")),
    ])
});

/// The number of connections that read.
const READ_CONNECTIONS: usize = 4;
/// Another process may hold the write lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// If the write-ahead log grows to this many pages of 4 KiB, the writer itself moves what [`Checkpoints`] has left of
/// them into the database, and waits for the disk.
const CHECKPOINT_PAGES: &str = "16000";

/// Connections to an SQLite database. Clones share them.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: Arc<ConnectionSlot>,
    readers: Arc<ReadConnections>,
    /// A database in memory has none.
    checkpoints: Option<Arc<Checkpoints>>,
}

/// Opens the database, after creating it or updating its schema where needed. Needs a tokio runtime.
pub(super) async fn open(location: &SqliteLocation) -> Result<SqlRecords<Sqlite>, DatabaseOpenError> {
    let (options, place, readers) = match location {
        SqliteLocation::File(file) => (in_file(file)?, format!("the file {}", file.display()), READ_CONNECTIONS),
        SqliteLocation::Memory => (common_options().in_memory(true), "memory".to_owned(), 0),
    };
    let open_error = |error: sqlx::Error| DatabaseOpenError::Open {
        place: place.clone(),
        problem: describe::<SqliteConnection>(&error),
    };
    let writer = Arc::new(ConnectionSlot::open(options.clone(), readers > 0).await.map_err(open_error)?);
    migrate(&writer).await.map_err(|error| DatabaseOpenError::Migrate {
        place: place.clone(),
        problem: describe_migration::<SqliteConnection>(&error, SCHEMA_VERSION),
    })?;
    let mut slots = Vec::new();
    for _ in 0..readers {
        let options = options.clone().create_if_missing(false).pragma("query_only", "ON");
        slots.push(Arc::new(ConnectionSlot::open(options, true).await.map_err(open_error)?));
    }
    if slots.is_empty() {
        slots.push(Arc::clone(&writer));
    }
    let checkpoints = match location {
        SqliteLocation::File(_) => {
            Some(Checkpoints::start(options.create_if_missing(false)).await.map_err(open_error)?)
        }
        SqliteLocation::Memory => None,
    };
    Ok(SqlRecords::new(Sqlite { writer, readers: Arc::new(ReadConnections::new(slots)), checkpoints }))
}

impl Database for Sqlite {
    type Connection = SqliteConnection;

    async fn read<T: Send>(&self, queries: impl Queries<SqliteConnection, T>) -> QueryResult<T> {
        let mut connection = self.readers.acquire().await?;
        queries(&mut connection).await
    }

    async fn write<T: Send>(&self, queries: impl Queries<SqliteConnection, T>) -> QueryResult<T> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = begin_write(&mut connection).await?;
        let answer = queries(&mut transaction).await?;
        transaction.commit().await?;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.count_write();
        }
        Ok(answer)
    }

    async fn probe(&self) -> QueryResult<()> {
        self.writer.probe().await?;
        self.readers.probe().await
    }

    async fn close(&self) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn common_options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn in_file(file: &Path) -> Result<SqliteConnectOptions, DatabaseOpenError> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|problem| DatabaseOpenError::Folder { folder: folder.to_owned(), problem })?;
    }
    Ok(common_options()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .synchronous(SqliteSynchronous::Normal))
}

/// Brings the schema up to date in one transaction, so that processes that start at once wait for each other, and a
/// failure leaves the old schema.
async fn migrate(writer: &ConnectionSlot) -> Result<(), MigrateError> {
    let failed = |error| match error {
        QueryError::Failed(error) => MigrateError::Execute(error),
        _ => MigrateError::Execute(sqlx::Error::PoolTimedOut),
    };
    let mut connection = writer.acquire().await.map_err(failed)?;
    let mut transaction = begin_write(&mut connection).await.map_err(failed)?;
    MIGRATIONS.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
