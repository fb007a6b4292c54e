//! The outbox: changes and moves that are not announced yet, the attempts of recovery, and the confirmations that
//! remove them.
//!
//! A confirmation is a hint, so its caller does not wait for it: it waits in a bounded queue until a task writes many
//! of them in one transaction. When the queue is full the confirmation is dropped, and the announcement is repeated
//! later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roost_core::port::{
    Changed, Confirmation, Pending, PendingCursor, PendingId, PendingItem, PendingPage, PendingQuery, Postponement,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

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
    let (changes, moves) = if query.tried {
        (statements.tried_changes, statements.tried_moves)
    } else {
        (statements.pending_changes, statements.pending_moves)
    };
    let asked = |position: Vec<Parameter>| {
        let mut parameters = vec![query.before.into(), u64::from(query.limit).into()];
        parameters.extend(position);
        parameters
    };
    let changes = sql.rows(changes, asked(after_changes(after).into())).await?;
    let moves = sql.rows(moves, asked(after_moves(after).into())).await?;
    let changes = changes.iter().map(|row| {
        let changed = Changed::without_positions(read_change(row)?, read_ids(row, 12)?, false);
        listed(row, Pending::Change(changed), [11, 13, 14])
    });
    let moves = moves.iter().map(|row| listed(row, read_move(row)?, [3, 5, 6]));
    let mut all = changes.chain(moves).collect::<ColumnResult<Vec<(PendingCursor, PendingItem)>>>()?;
    all.sort_by_key(|(position, _)| *position);
    all.truncate(query.limit as usize);
    let is_full = all.len() == query.limit as usize;
    let next = all.last().filter(|_| is_full).map(|(position, _)| position.to_string());
    Ok(PendingPage { items: all.into_iter().map(|(_, item)| item).collect(), next })
}

/// The kinds of moves, as the schema numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MoveKind {
    Position = 0,
    Membership = 1,
    Creation = 2,
    Contact = 3,
}

/// A move as the schema holds it: its kind and two ids.
type MoveKey = (MoveKind, u128, u128);

/// `None` for a change.
fn move_key(id: PendingId) -> Option<MoveKey> {
    match id {
        PendingId::Change(..) => None,
        PendingId::Member(conversation, user) => Some((MoveKind::Position, conversation.bits(), user.bits())),
        PendingId::Membership(conversation, user) => Some((MoveKind::Membership, conversation.bits(), user.bits())),
        PendingId::Creation(conversation) => Some((MoveKind::Creation, conversation.bits(), NO_ID)),
        PendingId::Contact(user, other) => Some((MoveKind::Contact, user.bits(), other.bits())),
    }
}

fn read_move(row: &impl Columns) -> ColumnResult<Pending> {
    let moves = read_number(row, 4)?;
    Ok(match row.number(0)? {
        0 => Pending::Member(read_id(row, 1)?, read_id(row, 2)?, moves),
        1 => Pending::Membership(read_id(row, 1)?, read_id(row, 2)?, moves),
        2 => Pending::Creation(read_id(row, 1)?, moves),
        _ => Pending::Contact(read_id(row, 1)?, read_id(row, 2)?, moves),
    })
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
        // Moves come after all changes of the same time.
        Some(PendingCursor { at, .. }) => [at.into(), Parameter::Id(LAST_ID), Parameter::Number(i64::MAX)],
    }
}

/// Where the moves continue: a time, a kind and two ids that the page before has passed.
fn after_moves(after: Option<PendingCursor>) -> [Parameter; 4] {
    let position = |at, kind, first, second| {
        [Parameter::Number(at), Parameter::Number(kind), Parameter::Id(first), Parameter::Id(second)]
    };
    let Some(PendingCursor { at, item }) = after else { return position(-1, 0, NO_ID, NO_ID) };
    match move_key(item) {
        Some((kind, first, second)) => position(at.score(), kind as i64, first, second),
        // No move of the same time was passed.
        None => position(at.score() - 1, i64::MAX, LAST_ID, LAST_ID),
    }
}

/// The attempts and the next time of moves, by both of their ids.
type MoveAttempts = BTreeMap<(u128, u128), (i64, i64)>;

pub(super) async fn postpone<C: SqlConnection>(sql: &mut C, postponements: Vec<Postponement>) -> QueryResult<()> {
    let mut changes = BTreeMap::new();
    let mut moves: BTreeMap<MoveKind, MoveAttempts> = BTreeMap::new();
    for Postponement { item, attempts, next_time } in postponements {
        let next = (i64::from(attempts), next_time.score());
        if let PendingId::Change(conversation, seq) = item {
            changes.insert((conversation.bits(), signed(seq.0)), next);
        } else if let Some((kind, first, second)) = move_key(item) {
            moves.entry(kind).or_default().insert((first, second), next);
        }
    }
    if !changes.is_empty() {
        let rows = changes.into_iter().map(|((id, seq), (attempts, next))| (id, seq, attempts, next));
        run(sql, C::STATEMENTS.postpone_changes, vec![Parameter::ChangeAttempts(rows.collect())]).await?;
    }
    for (kind, moves) in moves {
        let rows = moves.into_iter().map(|((first, second), (attempts, next))| (first, second, attempts, next));
        let postponed = vec![Parameter::Number(kind as i64), Parameter::MoveAttempts(rows.collect())];
        run(sql, C::STATEMENTS.postpone_moves, postponed).await?;
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

/// Gathers a batch. It ends when it is full, when its first confirmation has waited, or at a flush. Confirmations that
/// come slowly but steadily must not hold it up: what is not confirmed in time is announced again.
async fn gather(
    first: QueueCommand,
    queue: &mut mpsc::Receiver<QueueCommand>,
) -> (Vec<Confirmation>, Option<oneshot::Sender<()>>) {
    let end = Instant::now() + GATHER_TIME;
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
        next = timeout_at(end, queue.recv()).await.ok().flatten();
    }
    (batch, None)
}

/// Confirmations in the order of the database's keys, each key once.
#[derive(Clone, Debug, Default)]
struct ConfirmationBatch {
    changes: BTreeSet<(u128, i64)>,
    /// The numbers of confirmed moves.
    moves: BTreeMap<MoveKind, BTreeMap<(u128, u128), i64>>,
}

impl ConfirmationBatch {
    fn new(confirmations: Vec<Confirmation>) -> Self {
        let mut batch = Self::default();
        for confirmation in confirmations {
            let (id, moves) = match confirmation {
                Confirmation::Change(conversation, seq) => (PendingId::Change(conversation, seq), 0),
                Confirmation::Member(conversation, user, moves) => (PendingId::Member(conversation, user), moves),
                Confirmation::Membership(conversation, user, moves) => {
                    (PendingId::Membership(conversation, user), moves)
                }
                Confirmation::Creation(conversation, moves) => (PendingId::Creation(conversation), moves),
                Confirmation::Contact(user, other, moves) => (PendingId::Contact(user, other), moves),
            };
            if let PendingId::Change(conversation, seq) = id {
                batch.changes.insert((conversation.bits(), signed(seq.0)));
            } else if let Some((kind, first, second)) = move_key(id) {
                let confirmed = batch.moves.entry(kind).or_default().entry((first, second)).or_default();
                *confirmed = confirmed.saturating_add(signed(moves));
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
    for (kind, moves) in batch.moves {
        let moves = moves.into_iter().map(|((first, second), moves)| (first, second, moves));
        let confirmed = vec![Parameter::Number(kind as i64), Parameter::Moves(moves.collect())];
        run(sql, C::STATEMENTS.announced_moves, confirmed).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use roost_core::ids::{ConversationId, Seq};
    use tokio::time::sleep;

    use super::*;

    fn confirmation(seq: u64) -> QueueCommand {
        QueueCommand::Confirm(Confirmation::Change(ConversationId::from_u128(1), Seq(seq)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_no_longer_however_steadily_confirmations_come() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            for seq in 2..200 {
                sleep(GATHER_TIME / 2).await;
                let _ = sender.send(confirmation(seq)).await;
            }
        });
        let began = Instant::now();
        let (batch, flushed) = gather(confirmation(1), &mut queue).await;
        assert!(began.elapsed() <= 2 * GATHER_TIME, "{:?}", began.elapsed());
        assert!((2..=3).contains(&batch.len()) && flushed.is_none(), "{} confirmations", batch.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_already_is_gathered_at_once_up_to_a_full_batch() {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        for seq in 1..=2 * BATCH_MAX as u64 {
            sender.send(confirmation(seq)).await.unwrap();
        }
        let first = queue.recv().await.unwrap();
        let began = Instant::now();
        assert_eq!(gather(first, &mut queue).await.0.len(), BATCH_MAX);
        assert!(began.elapsed() < GATHER_TIME, "{:?}", began.elapsed());
    }
}
