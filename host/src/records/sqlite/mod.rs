//! The records in an SQLite database: a file in write-ahead mode, or memory.
//!
//! One connection writes, each operation in one transaction; a few read beside it. An acknowledged write
//! survives the process; with `synchronous = NORMAL` the last ones before a power failure may be lost.

mod conversations;
mod directory;
mod fault;
mod lane;
mod messages;
mod outbox;
mod people;
#[cfg(test)]
mod plan;
mod port;
mod reading;
mod rows;
mod standing;
mod statements;
mod talk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roost_core::port::Answer;
use sqlx::ConnectOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use self::fault::{Fault, answer};
use self::lane::{Lane, Readers, begin};
use self::outbox::Confirmations;
use crate::config::SqliteLocation;

/// The schema's history; embedded, so that the binary brings its database up to date by itself.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read.
const READERS: usize = 4;
/// Another process may hold the write lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of 4 KiB that the log gathers until they move into the database. A send writes about ten of them and the
/// move waits for the disk, so SQLite's own 1,000 would hold up every hundredth send.
const LOG_PAGES: &str = "8000";

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the file.
    #[error("cannot create the folder {}: {source}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file itself, or its use as a database.
    #[error("cannot open the records in {place}: {source}")]
    Open {
        /// A file, or memory.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Its schema: a newer Roost wrote it, or somebody else did.
    #[error("cannot bring the records in {place} up to date: {source}")]
    Migrate {
        /// A file, or memory.
        place: String,
        /// Why.
        source: MigrateError,
    },
}

/// Records in SQLite. Clones share the connections.
#[derive(Clone, Debug)]
pub struct SqliteRecords {
    writer: Arc<Lane>,
    readers: Arc<Readers>,
    confirmations: Confirmations,
}

impl SqliteRecords {
    /// Opens the database, and creates or updates it first where needed. Needs a tokio runtime.
    pub async fn open(location: &SqliteLocation) -> Result<Self, OpenError> {
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
        let confirmations = Confirmations::start(Arc::clone(&writer));
        Ok(Self { writer, readers: Arc::new(Readers::new(lanes)), confirmations })
    }

    /// Makes every confirmation accepted so far take effect.
    pub async fn flush(&self) {
        self.confirmations.flush().await;
    }

    /// Whether the database answers on every connection.
    pub async fn ready(&self) -> Answer<()> {
        let probe = async {
            self.writer.probe().await?;
            self.readers.probe().await
        };
        answer("ready", probe.await)
    }

    /// Writes what waits and closes. Whatever is asked afterwards is [`roost_core::port::RecordsError::Unavailable`].
    pub async fn close(&self) {
        self.flush().await;
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
        Fault::Refused(_) | Fault::Crowded => MigrateError::Execute(sqlx::Error::PoolTimedOut),
    };
    let mut turn = writer.turn().await.map_err(broken)?;
    let mut transaction = begin(&mut turn).await.map_err(broken)?;
    MIGRATIONS.run(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
