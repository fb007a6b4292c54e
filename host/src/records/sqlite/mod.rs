//! The records in an SQLite database: a file in write-ahead mode, or memory.
//!
//! One connection writes, each operation in one transaction; a few read beside it. An acknowledged write
//! survives the process; with `synchronous = NORMAL` the last ones before a power failure may be lost.

mod dialect;
mod lane;
#[cfg(test)]
mod plan;
mod statements;

use std::path::Path;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use self::lane::{Lane, Readers, begin};
use super::sql::{Database, Fault, OpenError, SqlRecords, Stored, Work, migrator};
use crate::config::SqliteLocation;

/// The schema's history; embedded, so that the binary brings its database up to date by itself.
static MIGRATIONS: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&[(1, "records", include_str!("../../../migrations/sqlite/0001_records.sql"))]));

/// Connections that read.
const READERS: usize = 4;
/// Another process may hold the write lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of 4 KiB that the log gathers until they move into the database. A send writes about ten of them and the
/// move waits for the disk, so SQLite's own 1,000 would hold up every hundredth send.
const LOG_PAGES: &str = "8000";

/// Connections to an SQLite database. Clones share them.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: Arc<Lane>,
    readers: Arc<Readers>,
}

/// Opens the database, and creates or updates it first where needed. Needs a tokio runtime.
pub(super) async fn open(location: &SqliteLocation) -> Result<SqlRecords<Sqlite>, OpenError> {
    let (options, place, readers) = match location {
        SqliteLocation::File(file) => (in_file(file)?, format!("the file {}", file.display()), READERS),
        SqliteLocation::Memory => (common().in_memory(true), "memory".to_owned(), 0),
    };
    let failed = |source| OpenError::Open { place: place.clone(), source };
    let writer = Arc::new(Lane::open(options.clone(), readers > 0).await.map_err(failed)?);
    migrate(&writer).await.map_err(|source| OpenError::Migrate { place: place.clone(), source })?;
    let mut lanes = Vec::new();
    for _ in 0..readers {
        let options = options.clone().create_if_missing(false).pragma("query_only", "ON");
        lanes.push(Arc::new(Lane::open(options, true).await.map_err(failed)?));
    }
    if lanes.is_empty() {
        lanes.push(Arc::clone(&writer));
    }
    Ok(SqlRecords::new(Sqlite { writer, readers: Arc::new(Readers::new(lanes)) }))
}

impl Database for Sqlite {
    type Connection = SqliteConnection;

    async fn read<T: Send>(&self, question: impl Work<SqliteConnection, T>) -> Stored<T> {
        let mut turn = self.readers.turn().await?;
        question(&mut turn).await
    }

    async fn write<T: Send>(&self, change: impl Work<SqliteConnection, T>) -> Stored<T> {
        let mut turn = self.writer.turn().await?;
        let mut transaction = begin(&mut turn).await?;
        let done = change(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    async fn probe(&self) -> Stored<()> {
        self.writer.probe().await?;
        self.readers.probe().await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn common() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn in_file(file: &Path) -> Result<SqliteConnectOptions, OpenError> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder { folder: folder.to_owned(), source })?;
    }
    Ok(common()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("wal_autocheckpoint", LOG_PAGES)
        .synchronous(SqliteSynchronous::Normal))
}

/// In one transaction, so that processes that start at once take turns and a failure leaves the old schema.
async fn migrate(writer: &Lane) -> Result<(), MigrateError> {
    let broken = |fault| match fault {
        Fault::Broken(error) => MigrateError::Execute(error),
        Fault::Refused(_) | Fault::Crowded | Fault::Slow => MigrateError::Execute(sqlx::Error::PoolTimedOut),
    };
    let mut turn = writer.turn().await.map_err(broken)?;
    let mut transaction = begin(&mut turn).await.map_err(broken)?;
    MIGRATIONS.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
