//! What is not announced yet, and the confirmations that end it.
//!
//! A confirmation is a hint, so it costs its caller nothing: it waits in a bounded queue until a task writes many
//! of them in one transaction. When the queue is full it is dropped, and the announcement repeated later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roost_core::port::{Changed, Confirmation, Pending};
use roost_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::rows::{Read, read_change, read_id, read_ids, read_moment};
use super::values::{Id, Value, number};
use super::{Database, Sql, Stored, run};

/// Confirmations that wait.
const QUEUE_MAX: usize = 16_384;
/// Confirmations written in one transaction.
const BATCH_MAX: usize = 512;
/// The first confirmation of a batch waits this long for more.
const GATHER: Duration = Duration::from_millis(20);

pub(super) async fn pending<C: Sql>(sql: &mut C, before: Timestamp, limit: u32) -> Stored<Vec<Pending>> {
    let asked = || vec![before.into(), u64::from(limit).into()];
    let rows = sql.rows(C::STATEMENTS.pending_changes, asked()).await?;
    let changes = rows.iter().map(|row| {
        let changed = Changed { change: read_change(row)?, members: read_ids(row, 12)?, repeated: false };
        Ok((read_moment(row, 11)?, Pending::Change(changed)))
    });
    let mut all = changes.collect::<Read<Vec<(Timestamp, Pending)>>>()?;
    let rows = sql.rows(C::STATEMENTS.pending_members, asked()).await?;
    for row in &rows {
        all.push((read_moment(row, 2)?, Pending::Member(read_id(row, 0)?, read_id(row, 1)?)));
    }
    all.sort_by_key(|(since, _)| *since);
    all.truncate(limit as usize);
    Ok(all.into_iter().map(|(_, pending)| pending).collect())
}

enum Command {
    Confirm(Confirmation),
    /// Answered when everything before it is written.
    Flush(oneshot::Sender<()>),
}

/// The queue's entrance. The task ends when the last one is dropped.
#[derive(Clone, Debug)]
pub(super) struct Confirmations(mpsc::Sender<Command>);

impl Confirmations {
    pub(super) fn start(database: impl Database) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write_all(database, receiver));
        Self(sender)
    }

    pub(super) fn accept(&self, confirmations: Vec<Confirmation>) {
        for confirmation in confirmations {
            if self.0.try_send(Command::Confirm(confirmation)).is_err() {
                metrics::counter!("roost_records_confirmations_dropped_total").increment(1);
            }
        }
    }

    /// Returns when everything accepted so far is written, or failed to be.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.0.send(Command::Flush(done)).await.is_ok() {
            // An error means that the task is gone, and with it what it had to write.
            let _ = written.await;
        }
    }
}

async fn write_all(database: impl Database, mut queue: mpsc::Receiver<Command>) {
    while let Some(first) = queue.recv().await {
        let (batch, flushed) = gather(first, &mut queue).await;
        if let Err(fault) = write(&database, batch).await {
            tracing::warn!(?fault, "confirmations were lost; their announcements will be repeated");
        }
        // Whoever asked for the flush may have gone.
        flushed.map(|done| done.send(()));
    }
}

/// A batch ends when it is full, when nothing came for a while, or at a flush.
async fn gather(
    first: Command,
    queue: &mut mpsc::Receiver<Command>,
) -> (Vec<Confirmation>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Flush(done) => return (batch, Some(done)),
            Command::Confirm(confirmation) => batch.push(confirmation),
        }
        if batch.len() == BATCH_MAX {
            break;
        }
        next = timeout(GATHER, queue.recv()).await.ok().flatten();
    }
    (batch, None)
}

/// Confirmations in the order in which the database keeps them, each place once.
#[derive(Clone, Debug, Default)]
struct Batch {
    changes: BTreeSet<(u128, i64)>,
    members: BTreeMap<(u128, u128), i64>,
}

impl Batch {
    fn of(confirmations: Vec<Confirmation>) -> Self {
        let mut batch = Self::default();
        for confirmation in confirmations {
            match confirmation {
                Confirmation::Change(conversation, seq) => {
                    batch.changes.insert((conversation.bits(), number(seq.0)));
                }
                Confirmation::Member(conversation, user) => {
                    *batch.members.entry((conversation.bits(), user.bits())).or_default() += 1;
                }
            }
        }
        batch
    }
}

async fn write(database: &impl Database, confirmations: Vec<Confirmation>) -> Stored<()> {
    if confirmations.is_empty() {
        return Ok(());
    }
    let batch = Batch::of(confirmations);
    database.write(move |sql| Box::pin(confirm(sql, batch.clone()))).await
}

async fn confirm<C: Sql>(sql: &mut C, batch: Batch) -> Stored<()> {
    if !batch.changes.is_empty() {
        let steps = Value::Steps(batch.changes.into_iter().collect());
        run(sql, C::STATEMENTS.announced_changes, vec![steps]).await?;
    }
    if !batch.members.is_empty() {
        let moves = batch.members.into_iter().map(|((conversation, user), moves)| (conversation, user, moves));
        run(sql, C::STATEMENTS.announced_members, vec![Value::Moves(moves.collect())]).await?;
    }
    Ok(())
}
