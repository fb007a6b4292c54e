//! Moves the write-ahead log into the database, on a connection of its own. The move waits for the disk, often longer
//! than a tenth of a second, and the writer goes on meanwhile.
//!
//! The log begins anew only if all of it is in the database when a write begins. While writes follow each other without
//! a pause, it grows until the writer moves the little that is left then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connections::ConnectionSlot;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::records::sql::QueryResult;

/// The number of writes after which the log is moved. A send writes about ten pages of 4 KiB.
const WRITES: u32 = 200;
/// Moves what other connections do not read or write just now, and waits for none of them.
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// The checkpoints of a database in a file. They end when the value is dropped.
#[derive(Debug)]
pub(super) struct Checkpoints {
    counted: Arc<CountedWrites>,
    connection: Arc<ConnectionSlot>,
    stop: CancellationToken,
    _task: Supervisor,
}

/// The writes since the last checkpoint.
#[derive(Debug, Default)]
struct CountedWrites {
    writes: AtomicU32,
    enough: Notify,
}

impl Checkpoints {
    pub(super) async fn start(options: SqliteConnectOptions) -> Result<Arc<Self>, sqlx::Error> {
        let connection = Arc::new(ConnectionSlot::open(options, true).await?);
        let (counted, stop) = (Arc::<CountedWrites>::default(), CancellationToken::new());
        let mut task = Supervisor::new(TaskHealth::of_process());
        let (writes, slot, until) = (counted.clone(), connection.clone(), stop.clone());
        task.spawn_until(stop.clone(), "sqlite_checkpoints", move || run(writes.clone(), slot.clone(), until.clone()));
        Ok(Arc::new(Self { counted, connection, stop, _task: task }))
    }

    /// Counts a write that was committed.
    pub(super) fn count_write(&self) {
        if self.counted.writes.fetch_add(1, Ordering::Relaxed) + 1 >= WRITES {
            self.counted.enough.notify_one();
        }
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.connection.close().await;
    }
}

async fn run(counted: Arc<CountedWrites>, connection: Arc<ConnectionSlot>, stop: CancellationToken) {
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = counted.enough.notified() => counted.writes.store(0, Ordering::Relaxed),
        }
        let moved = checkpoint(&connection).await;
        if let (Err(error), false, false) = (&moved, has_failed, stop.is_cancelled()) {
            tracing::warn!(
                ?error,
                "the write-ahead log of the records cannot be moved into the database, so it grows; look at the disk and at \
                 the permissions of the database file"
            );
        }
        has_failed = moved.is_err();
        if has_failed {
            // Whatever it answers, a broken connection is replaced by the next checkpoint.
            let _ = connection.probe().await;
        }
    }
}

/// Moves the log, and then the little that was written meanwhile.
async fn checkpoint(connection: &ConnectionSlot) -> QueryResult<()> {
    let mut connection = connection.acquire().await?;
    for _ in 0..2 {
        sqlx::query(MOVE).fetch_all(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roost_core::ids::{ConversationId, UserId};
    use roost_core::port::{Draft, NewConversation, Records};
    use roost_core::time::Timestamp;
    use tempfile::TempDir;

    use super::super::open;
    use super::*;
    use crate::config::SqliteLocation;

    #[tokio::test]
    async fn the_log_is_moved_into_the_database_beside_the_writer() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("records.db");
        let records = open(&SqliteLocation::File(file.clone())).await.unwrap();
        let (conversation, user, at) = (ConversationId::from_u128(1), UserId::from_u128(2), Timestamp(3));
        let new = NewConversation { id: Some(conversation), creator: user, members: Vec::new(), at };
        records.create_conversation(new).await.unwrap();
        // Far fewer pages than those after which the writer does it.
        for _ in 0..WRITES + 1 {
            let (kind, content) = ("text".to_owned(), "x".repeat(4_000));
            let draft = Draft { conversation, sender: user, id: None, kind, content, at };
            records.append_message(draft).await.unwrap();
        }
        let moved = async {
            while std::fs::metadata(&file).unwrap().len() < u64::from(WRITES) * 4_000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), moved).await.expect("the messages are in the database");
        records.close().await;
    }
}
