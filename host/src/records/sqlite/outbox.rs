//! What is not announced yet, and the confirmations that end it.
//!
//! A confirmation is a hint, so it costs its caller nothing: it waits in a bounded queue until a task writes many
//! of them in one transaction. When the queue is full it is dropped, and the announcement repeated later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Changed, Confirmation, Pending};
use roost_core::time::Timestamp;
use serde_json::json;
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::fault::Stored;
use super::lane::{Lane, begin};
use super::rows::{Id, Read, read_change, read_id, read_list, read_moment, read_number, seq};
use super::statements::{ANNOUNCED_CHANGES, ANNOUNCED_MEMBERS, PENDING_CHANGES, PENDING_MEMBERS};

/// Confirmations that wait.
const QUEUE_MAX: usize = 16_384;
/// Confirmations written in one transaction.
const BATCH_MAX: usize = 512;
/// The first confirmation of a batch waits this long for more.
const GATHER: Duration = Duration::from_millis(20);

pub(super) async fn pending(connection: &mut SqliteConnection, before: Timestamp, limit: u32) -> Stored<Vec<Pending>> {
    let rows = sqlx::query(PENDING_CHANGES).bind(before.score()).bind(limit).fetch_all(&mut *connection).await?;
    let changes = rows.iter().map(|row| {
        let changed = Changed { change: read_change(row)?, members: read_list(row, 12)?, repeated: false };
        Ok((read_moment(row, 11)?, Pending::Change(changed)))
    });
    let mut all = changes.collect::<Read<Vec<(Timestamp, Pending)>>>()?;
    let rows = sqlx::query(PENDING_MEMBERS).bind(before.score()).bind(limit).fetch_all(connection).await?;
    for row in &rows {
        let member = (read_moment(row, 2)?, Pending::Member(read_id(row, 0)?, read_id(row, 1)?));
        let moves = read_number(row, 3)?.min(limit.into());
        all.extend((0..moves).map(|_| member.clone()));
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
    pub(super) fn start(writer: Arc<Lane>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(writer, receiver));
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

async fn run(writer: Arc<Lane>, mut queue: mpsc::Receiver<Command>) {
    while let Some(first) = queue.recv().await {
        let (batch, flushed) = gather(first, &mut queue).await;
        if let Err(fault) = write(&writer, batch).await {
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

async fn write(writer: &Lane, batch: Vec<Confirmation>) -> Stored<()> {
    let mut changes: Vec<(String, i64)> = Vec::new();
    let mut members: BTreeMap<(ConversationId, UserId), u64> = BTreeMap::new();
    for confirmation in batch {
        match confirmation {
            Confirmation::Change(conversation, at) => changes.push(named(conversation, at)),
            Confirmation::Member(conversation, user) => *members.entry((conversation, user)).or_default() += 1,
        }
    }
    let moves: Vec<_> =
        members.iter().map(|((conversation, user), moves)| json!([conversation.hex(), user.hex(), moves])).collect();
    if changes.is_empty() && moves.is_empty() {
        return Ok(());
    }
    let mut turn = writer.turn().await?;
    let mut transaction = begin(&mut turn).await?;
    if !changes.is_empty() {
        sqlx::query(ANNOUNCED_CHANGES).bind(json!(changes).to_string()).execute(&mut *transaction).await?;
    }
    if !moves.is_empty() {
        sqlx::query(ANNOUNCED_MEMBERS).bind(json!(moves).to_string()).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

fn named(conversation: ConversationId, at: Seq) -> (String, i64) {
    (conversation.hex(), seq(at))
}
