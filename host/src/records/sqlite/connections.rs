//! Connections to the database: one that writes, a few that read beside it, each used by one operation at a time.
//!
//! A pool of sqlx would ping a connection whenever it comes back, which costs as much as a small query. These
//! are only ever broken if their thread dies; [`Lane::probe`] finds that out and opens the lane anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

use super::super::sql::{Fault, Stored};
use super::statements::STATEMENTS;

/// An operation waits this long for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The use of a connection until it is dropped.
pub(super) type Turn<'a> = MappedMutexGuard<'a, SqliteConnection>;

#[derive(Debug)]
enum Slot {
    Open(SqliteConnection),
    Broken,
    Closed,
}

impl Slot {
    const fn connection(&mut self) -> Option<&mut SqliteConnection> {
        match self {
            Self::Open(connection) => Some(connection),
            Self::Broken | Self::Closed => None,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Lane {
    options: SqliteConnectOptions,
    /// May be opened anew: its data does not end with the connection.
    lasting: bool,
    slot: Mutex<Slot>,
}

impl Lane {
    pub(super) async fn open(options: SqliteConnectOptions, lasting: bool) -> Result<Self, sqlx::Error> {
        let connection = options.connect().await?;
        Ok(Self { options, lasting, slot: Mutex::new(Slot::Open(connection)) })
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Stored<Turn<'_>> {
        let slot = timeout(TURN_TIMEOUT, self.slot.lock()).await.map_err(|_| Fault::Crowded)?;
        self.ready(slot).await
    }

    async fn ready<'a>(&self, mut slot: MutexGuard<'a, Slot>) -> Stored<Turn<'a>> {
        if matches!(*slot, Slot::Broken) {
            *slot = Slot::Open(self.options.connect().await?);
        }
        MutexGuard::try_map(slot, Slot::connection).map_err(|_| Fault::Broken(sqlx::Error::PoolClosed))
    }

    /// Asks a small question. A lane that cannot answer is opened anew by whoever comes next.
    pub(super) async fn probe(&self) -> Stored<()> {
        let mut slot = timeout(TURN_TIMEOUT, self.slot.lock()).await.map_err(|_| Fault::Crowded)?;
        let Some(connection) = slot.connection() else {
            return self.ready(slot).await.map(|_| ());
        };
        let answer = sqlx::query(STATEMENTS.probe).fetch_optional(connection).await;
        if answer.is_err() && self.lasting {
            *slot = Slot::Broken;
        }
        Ok(answer.map(|_| ())?)
    }

    pub(super) async fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot.lock().await, Slot::Closed);
        if let Slot::Open(connection) = slot
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "a connection of the records did not close cleanly");
        }
    }
}

/// Begins to write: nobody else writes until the end. Dropped without `commit`, nothing happened.
pub(super) async fn begin(connection: &mut SqliteConnection) -> Stored<Transaction<'_, Sqlite>> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// Connections that read side by side.
#[derive(Debug)]
pub(super) struct Readers {
    lanes: Vec<Arc<Lane>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) const fn new(lanes: Vec<Arc<Lane>>) -> Self {
        Self { lanes, next: AtomicUsize::new(0) }
    }

    /// A free connection, or the turn at one of the busy ones.
    pub(super) async fn turn(&self) -> Stored<Turn<'_>> {
        let free = self.lanes.iter().find_map(|lane| Some((lane, lane.slot.try_lock().ok()?)));
        if let Some((lane, slot)) = free {
            return lane.ready(slot).await;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let lane = next.checked_rem(self.lanes.len()).and_then(|index| self.lanes.get(index));
        lane.ok_or(Fault::Crowded)?.turn().await
    }

    pub(super) async fn probe(&self) -> Stored<()> {
        for lane in &self.lanes {
            lane.probe().await?;
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        for lane in &self.lanes {
            lane.close().await;
        }
    }
}
