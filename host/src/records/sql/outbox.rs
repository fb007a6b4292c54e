//! The outbox: changes and moves that are not announced yet, and the confirmations that remove them.
//!
//! A confirmation is a hint, so its caller does not wait for it: it waits in a bounded queue until a task writes many of
//! them in one transaction. When the queue is full the confirmation is dropped, and the announcement is repeated later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roost_core::port::{Changed, Confirmation, Pending};
use roost_core::time::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::values::{UuidId, read_change, read_id, read_ids, read_number, read_timestamp, signed};
use super::{ColumnResult, Database, Parameter, QueryResult, SqlConnection, run};
use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};

/// At most so many confirmations wait.
const QUEUE_MAX: usize = 16_384;
/// At most so many confirmations are written in one transaction.
const BATCH_MAX: usize = 512;
/// The first confirmation of a batch waits this long for more.
const GATHER_TIME: Duration = Duration::from_millis(20);

pub(super) async fn pending<C: SqlConnection>(sql: &mut C, before: Timestamp, limit: u32) -> QueryResult<Vec<Pending>> {
    let asked = || vec![before.into(), u64::from(limit).into()];
    let rows = sql.rows(C::STATEMENTS.pending_changes, asked()).await?;
    let changes = rows.iter().map(|row| {
        let changed = Changed { change: read_change(row)?, members: read_ids(row, 12)?, repeated: false };
        Ok((read_timestamp(row, 11)?, Pending::Change(changed)))
    });
    let mut all = changes.collect::<ColumnResult<Vec<(Timestamp, Pending)>>>()?;
    let rows = sql.rows(C::STATEMENTS.pending_members, asked()).await?;
    for row in &rows {
        let member = (read_timestamp(row, 2)?, Pending::Member(read_id(row, 0)?, read_id(row, 1)?));
        let moves = read_number(row, 3)?.min(limit.into());
        all.extend((0..moves).map(|_| member.clone()));
    }
    all.sort_by_key(|(since, _)| *since);
    all.truncate(limit as usize);
    Ok(all.into_iter().map(|(_, pending)| pending).collect())
}

enum QueueCommand {
    Confirm(Confirmation),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// The receiving end of the queue. It outlives a run of the writing task that panics.
type SharedQueue = Arc<Mutex<mpsc::Receiver<QueueCommand>>>;

/// The sending end of the queue. The writing task ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct ConfirmationQueue {
    // Dropped first: a task that sees the end of its queue while it is supervised is reported as one that failed.
    _writer: Arc<Supervisor>,
    commands: mpsc::Sender<QueueCommand>,
}

impl ConfirmationQueue {
    pub(super) fn start(database: impl Database) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE_MAX);
        let queue: SharedQueue = Arc::new(Mutex::new(queue));
        let mut writer = Supervisor::new(TaskHealth::of_process());
        writer.spawn("confirmations", move || write_all(database.clone(), queue.clone()));
        Self { _writer: Arc::new(writer), commands }
    }

    pub(super) fn accept(&self, confirmations: Vec<Confirmation>) {
        for confirmation in confirmations {
            if self.commands.try_send(QueueCommand::Confirm(confirmation)).is_err() {
                metrics::CONFIRMATIONS_DROPPED.inc();
            }
        }
    }

    /// Returns when everything that was accepted so far is written, or its writing has failed.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.commands.send(QueueCommand::Flush(done)).await.is_ok() {
            // An error means that the task panicked with this command in its hands; what it wrote is written.
            let _ = written.await;
        }
    }
}

async fn write_all<D: Database>(database: D, queue: SharedQueue) {
    let mut queue = queue.lock().await;
    while let Some(first) = queue.recv().await {
        let (batch, flushed) = gather(first, &mut queue).await;
        if let Err(error) = write(&database, batch).await {
            let problem = error.problem::<D::Connection>();
            tracing::warn!(problem, "confirmations were lost; their announcements will be repeated");
        }
        // The caller of the flush may have given up.
        flushed.map(|done| done.send(()));
    }
}

/// Gathers a batch. It ends when it is full, when nothing came for a while, or at a flush.
async fn gather(
    first: QueueCommand,
    queue: &mut mpsc::Receiver<QueueCommand>,
) -> (Vec<Confirmation>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            QueueCommand::Flush(done) => return (batch, Some(done)),
            QueueCommand::Confirm(confirmation) => batch.push(confirmation),
        }
        if batch.len() == BATCH_MAX {
            break;
        }
        next = timeout(GATHER_TIME, queue.recv()).await.ok().flatten();
    }
    (batch, None)
}

/// Confirmations in the order of the database's keys, each key once.
#[derive(Clone, Debug, Default)]
struct ConfirmationBatch {
    changes: BTreeSet<(u128, i64)>,
    /// The number of confirmed moves of each member.
    moves: BTreeMap<(u128, u128), i64>,
}

impl ConfirmationBatch {
    fn new(confirmations: Vec<Confirmation>) -> Self {
        let mut batch = Self::default();
        for confirmation in confirmations {
            match confirmation {
                Confirmation::Change(conversation, seq) => {
                    batch.changes.insert((conversation.bits(), signed(seq.0)));
                }
                Confirmation::Member(conversation, user) => {
                    *batch.moves.entry((conversation.bits(), user.bits())).or_default() += 1;
                }
            }
        }
        batch
    }
}

async fn write(database: &impl Database, confirmations: Vec<Confirmation>) -> QueryResult<()> {
    if confirmations.is_empty() {
        return Ok(());
    }
    let batch = ConfirmationBatch::new(confirmations);
    database.write(move |sql| Box::pin(confirm(sql, batch.clone()))).await
}

async fn confirm<C: SqlConnection>(sql: &mut C, batch: ConfirmationBatch) -> QueryResult<()> {
    if !batch.changes.is_empty() {
        let changes = Parameter::Changes(batch.changes.into_iter().collect());
        run(sql, C::STATEMENTS.announced_changes, vec![changes]).await?;
    }
    if !batch.moves.is_empty() {
        let moves = batch.moves.into_iter().map(|((conversation, user), moves)| (conversation, user, moves));
        run(sql, C::STATEMENTS.announced_members, vec![Parameter::Moves(moves.collect())]).await?;
    }
    Ok(())
}
