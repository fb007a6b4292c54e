//! The outbox: changes and moves that are not announced yet, the attempts of recovery, and the confirmations that remove
//! them.
//!
//! A confirmation is a hint, so its caller does not wait for it: it waits in a bounded queue until a task writes many of
//! them in one transaction. When the queue is full the confirmation is dropped, and the announcement is repeated later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roost_core::port::{
    Changed, Confirmation, Pending, PendingCursor, PendingId, PendingItem, PendingPage, PendingQuery, Postponement,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::values::{UuidId, read_change, read_id, read_ids, read_number, read_timestamp, signed};
use super::{ColumnResult, Columns, Database, Parameter, QueryResult, SqlConnection, run};
use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};

/// At most so many confirmations wait.
const QUEUE_MAX: usize = 16_384;
/// At most so many confirmations are written in one transaction.
const BATCH_MAX: usize = 512;
/// The first confirmation of a batch waits this long for more.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// The least and the greatest id.
const NO_ID: u128 = 0;
const LAST_ID: u128 = u128::MAX;

pub(super) async fn pending<C: SqlConnection>(sql: &mut C, query: PendingQuery) -> QueryResult<PendingPage> {
    let after = query.cursor.as_deref().map(PendingCursor::parse).transpose()?;
    let statements = C::STATEMENTS;
    let (changes, members) = if query.tried {
        (statements.tried_changes, statements.tried_members)
    } else {
        (statements.pending_changes, statements.pending_members)
    };
    let asked = |position: [Parameter; 3]| {
        let mut parameters = vec![query.before.into(), u64::from(query.limit).into()];
        parameters.extend(position);
        parameters
    };
    let changes = sql.rows(changes, asked(after_changes(after))).await?;
    let members = sql.rows(members, asked(after_members(after))).await?;
    let changes = changes.iter().map(|row| {
        let changed = Changed::without_positions(read_change(row)?, read_ids(row, 12)?, false);
        listed(row, Pending::Change(changed), [11, 13, 14])
    });
    let members = members.iter().map(|row| {
        let pending = Pending::Member(read_id(row, 0)?, read_id(row, 1)?, read_number(row, 3)?);
        listed(row, pending, [2, 4, 5])
    });
    let mut all = changes.chain(members).collect::<ColumnResult<Vec<(PendingCursor, PendingItem)>>>()?;
    all.sort_by_key(|(position, _)| *position);
    all.truncate(query.limit as usize);
    let is_full = all.len() == query.limit as usize;
    let next = all.last().filter(|_| is_full).map(|(position, _)| position.to_string());
    Ok(PendingPage { items: all.into_iter().map(|(_, item)| item).collect(), next })
}

/// An item with its position; `columns` are those of the time at which it was stored, of the attempts, and of the time
/// by which the items are ordered.
fn listed(row: &impl Columns, pending: Pending, columns: [usize; 3]) -> ColumnResult<(PendingCursor, PendingItem)> {
    let [since, attempts, at] = columns;
    let position = PendingCursor { at: read_timestamp(row, at)?, item: PendingId::from(&pending) };
    let attempts = u32::try_from(read_number(row, attempts)?).unwrap_or(u32::MAX);
    Ok((position, PendingItem { pending, since: read_timestamp(row, since)?, attempts }))
}

/// Where the changes continue: a time, a conversation and a sequence number that the page before has passed.
fn after_changes(after: Option<PendingCursor>) -> [Parameter; 3] {
    match after {
        None => [Parameter::Number(-1), Parameter::Id(NO_ID), Parameter::Number(0)],
        Some(PendingCursor { at, item: PendingId::Change(conversation, seq) }) => {
            [at.into(), conversation.into(), seq.into()]
        }
        // Members come after all changes of the same time.
        Some(PendingCursor { at, item: PendingId::Member(..) }) => {
            [at.into(), Parameter::Id(LAST_ID), Parameter::Number(i64::MAX)]
        }
    }
}

/// Where the members continue: a time, a conversation and a user that the page before has passed.
fn after_members(after: Option<PendingCursor>) -> [Parameter; 3] {
    match after {
        None => [Parameter::Number(-1), Parameter::Id(NO_ID), Parameter::Id(NO_ID)],
        Some(PendingCursor { at, item: PendingId::Member(conversation, user) }) => {
            [at.into(), conversation.into(), user.into()]
        }
        // No member of the same time was passed.
        Some(PendingCursor { at, item: PendingId::Change(..) }) => {
            [Parameter::Number(at.score() - 1), Parameter::Id(LAST_ID), Parameter::Id(LAST_ID)]
        }
    }
}

pub(super) async fn postpone<C: SqlConnection>(sql: &mut C, postponements: Vec<Postponement>) -> QueryResult<()> {
    let (mut changes, mut members) = (BTreeMap::new(), BTreeMap::new());
    for Postponement { item, attempts, next_time } in postponements {
        let next = (i64::from(attempts), next_time.score());
        match item {
            PendingId::Change(conversation, seq) => changes.insert((conversation.bits(), signed(seq.0)), next),
            PendingId::Member(conversation, user) => members.insert((conversation.bits(), user.bits()), next),
        };
    }
    if !changes.is_empty() {
        let rows = changes.into_iter().map(|((id, seq), (attempts, next))| (id, seq, attempts, next));
        run(sql, C::STATEMENTS.postpone_changes, vec![Parameter::ChangeAttempts(rows.collect())]).await?;
    }
    if !members.is_empty() {
        let rows = members.into_iter().map(|((id, user), (attempts, next))| (id, user, attempts, next));
        run(sql, C::STATEMENTS.postpone_members, vec![Parameter::MemberAttempts(rows.collect())]).await?;
    }
    Ok(())
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
                Confirmation::Member(conversation, user, moves) => {
                    let confirmed = batch.moves.entry((conversation.bits(), user.bits())).or_default();
                    *confirmed = confirmed.saturating_add(signed(moves));
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
