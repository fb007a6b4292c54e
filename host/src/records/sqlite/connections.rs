//! Connections to an SQLite database: one that writes, and a few that read beside it. Each is used by one operation at
//! a time.
//!
//! A pool of sqlx would ping a connection whenever it comes back, which costs as much as a small query. These
//! connections break only if their thread dies; [`ConnectionSlot::probe`] notices that, and the next operation opens a
//! new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::time::timeout;

use super::super::sql::{QueryError, QueryResult};
use super::dialect::STATEMENTS;

/// An operation waits this long for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The exclusive use of a connection, until it is dropped.
pub(super) type ConnectionGuard<'a> = MappedMutexGuard<'a, SqliteConnection>;

#[derive(Debug)]
enum SlotState {
    Open(SqliteConnection),
    /// To be opened again by the next operation.
    Broken,
    Closed,
}

impl SlotState {
    const fn connection(&mut self) -> Option<&mut SqliteConnection> {
        match self {
            Self::Open(connection) => Some(connection),
            Self::Broken | Self::Closed => None,
        }
    }
}

/// A place for one connection.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    options: SqliteConnectOptions,
    /// Whether a broken connection may be opened again. A database in memory ends with its connection.
    reopen: bool,
    state: Mutex<SlotState>,
}

impl ConnectionSlot {
    pub(super) async fn open(options: SqliteConnectOptions, reopen: bool) -> Result<Self, sqlx::Error> {
        let connection = options.connect().await?;
        Ok(Self { options, reopen, state: Mutex::new(SlotState::Open(connection)) })
    }

    /// Waits for the connection.
    pub(super) async fn acquire(&self) -> QueryResult<ConnectionGuard<'_>> {
        let state = self.lock().await?;
        self.use_connection(state).await
    }

    async fn lock(&self) -> QueryResult<MutexGuard<'_, SlotState>> {
        timeout(ACQUIRE_TIMEOUT, self.state.lock()).await.map_err(|_| QueryError::NoConnection)
    }

    async fn use_connection<'a>(&self, mut state: MutexGuard<'a, SlotState>) -> QueryResult<ConnectionGuard<'a>> {
        if matches!(*state, SlotState::Broken) {
            *state = SlotState::Open(self.options.connect().await?);
        }
        MutexGuard::try_map(state, SlotState::connection).map_err(|_| QueryError::Failed(sqlx::Error::PoolClosed))
    }

    /// Checks that the connection answers. One that does not is opened again by the next operation.
    pub(super) async fn probe(&self) -> QueryResult<()> {
        let mut state = self.lock().await?;
        let Some(connection) = state.connection() else {
            return self.use_connection(state).await.map(|_| ());
        };
        let answer = sqlx::query(STATEMENTS.probe).fetch_optional(connection).await;
        if answer.is_err() && self.reopen {
            *state = SlotState::Broken;
        }
        Ok(answer.map(|_| ())?)
    }

    pub(super) async fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock().await, SlotState::Closed);
        if let SlotState::Open(connection) = state
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "a connection to the records database did not close cleanly");
        }
    }
}

/// Begins a transaction that writes; no other transaction writes until it ends. Dropped without a commit, it changes
/// nothing.
pub(super) async fn begin_write(connection: &mut SqliteConnection) -> QueryResult<Transaction<'_, Sqlite>> {
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// Connections that read at the same time.
#[derive(Debug)]
pub(super) struct ReadConnections {
    slots: Vec<Arc<ConnectionSlot>>,
    next: AtomicUsize,
}

impl ReadConnections {
    pub(super) const fn new(slots: Vec<Arc<ConnectionSlot>>) -> Self {
        Self { slots, next: AtomicUsize::new(0) }
    }

    /// Answers a free connection, or waits for one of the busy ones.
    pub(super) async fn acquire(&self) -> QueryResult<ConnectionGuard<'_>> {
        let free = self.slots.iter().find_map(|slot| Some((slot, slot.state.try_lock().ok()?)));
        if let Some((slot, state)) = free {
            return slot.use_connection(state).await;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = next.checked_rem(self.slots.len()).and_then(|index| self.slots.get(index));
        slot.ok_or(QueryError::NoConnection)?.acquire().await
    }

    pub(super) async fn probe(&self) -> QueryResult<()> {
        for slot in &self.slots {
            slot.probe().await?;
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        for slot in &self.slots {
            slot.close().await;
        }
    }
}
