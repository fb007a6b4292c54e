//! Commits transactions together with their entries, and delivers the entries at once.

use std::collections::BTreeMap;

use super::deliver::{DeliveryOutcome, deliver};
use crate::insertion::CollectByInsertion as _;
use crate::limits::OUTBOX_GRACE_MS;
use crate::outbox::entry::OutboxEntry;
use crate::outbox::mark::OutboxMark;
use crate::outbox::{OutboxStore, rules};
use crate::port::{AddressedEvent, Outcome, PublishedResult, ScreenedCall, StoreError, Transaction};
use crate::store_calls;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// When a caller may repeat a transaction that the outbox had no room for.
const FULL_RETRY_AFTER_MS: u32 = 1_000;

/// A transaction, and the calls of functions that it causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRequest {
    /// The transaction, perhaps with addressed events.
    pub transaction: Transaction,
    /// The calls that are queued once the transaction is carried out.
    pub triggers: Vec<CausedTrigger>,
}

/// A call of a function that a transaction causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausedTrigger {
    /// The call, with the event as the transaction has it.
    pub trigger: Trigger,
    /// The place of the event among the publications of the transaction, if it carries results.
    pub publication: Option<u32>,
}

impl From<Trigger> for CausedTrigger {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, publication: None }
    }
}

impl From<Transaction> for OutboxRequest {
    fn from(transaction: Transaction) -> Self {
        Self { transaction, triggers: Vec::new() }
    }
}

/// An entry that is about to be written by the transaction at `index`.
struct PlannedEntry {
    index: usize,
    /// The number of checks that the caller knows about.
    checks: usize,
    mark: OutboxMark,
    entry: OutboxEntry,
    text: String,
    /// The results that the event of each call carries.
    results: Vec<Vec<PublishedResult>>,
}

impl PlannedEntry {
    /// Adds the results of the transaction to the events of the calls. The text of the entry was written before, so
    /// that recovery makes the calls without them.
    fn complete(&mut self, results: &[i64]) {
        for (trigger, published) in self.entry.triggers.iter_mut().zip(&self.results) {
            if !published.is_empty() {
                trigger.event = trigger.event.with_results(published, results);
            }
        }
    }
}

/// Carries out transactions as [`crate::port::KeyValue::commit`] does, and delivers their addressed events.
///
/// A transaction that was carried out is delivered to every user, now or by [`crate::outbox::recover`]. If it is
/// unknown whether it was carried out, then it is either carried out and delivered, or neither.
pub async fn commit<S: OutboxStore>(store: &S, requests: Vec<OutboxRequest>) -> Result<Vec<Outcome>, StoreError> {
    let (transactions, mut triggers): (Vec<_>, Vec<_>) =
        requests.into_iter().map(|request| (request.transaction, request.triggers)).unzip();
    let mut call = ScreenedCall::of(transactions)?;
    call.refused().rev().for_each(|index| drop(triggers.remove(index)));
    let outcomes = commit_accepted(store, call.take_accepted(), triggers).await?;
    Ok(call.outcomes(outcomes))
}

async fn commit_accepted<S: OutboxStore>(
    store: &S,
    mut transactions: Vec<Transaction>,
    triggers: Vec<Vec<CausedTrigger>>,
) -> Result<Vec<Outcome>, StoreError> {
    let planned = plan(store, &mut transactions, triggers);
    let due = store.now().plus(OUTBOX_GRACE_MS);
    let refused = put_marks(store, &planned, due).await?;
    let planned: Vec<_> = planned.into_iter().filter(|entry| !refused.contains_key(&entry.index)).collect();
    for entry in &planned {
        if let Some(transaction) = transactions.get_mut(entry.index) {
            let taken = std::mem::replace(transaction, Transaction::new(transaction.owner));
            *transaction = rules::with_entry(taken, entry.mark, &entry.text);
        }
    }
    let outcomes = carry_out(store, transactions, refused).await?;
    complete(store, planned, outcomes, due).await
}

/// Takes the addressed events out of the transactions.
fn plan<S: OutboxStore>(
    store: &S,
    transactions: &mut [Transaction],
    triggers: Vec<Vec<CausedTrigger>>,
) -> Vec<PlannedEntry> {
    let mut planned = Vec::new();
    for (index, (transaction, caused)) in transactions.iter_mut().zip(triggers).enumerate() {
        let mut addressed = std::mem::take(&mut transaction.addressed);
        addressed.iter_mut().for_each(AddressedEvent::deduplicate_users);
        let results = caused.iter().map(|caused| results_of(caused, transaction)).collect();
        let triggers = caused.into_iter().map(|caused| caused.trigger).collect();
        let entry = OutboxEntry { addressed, triggers };
        if entry.is_empty() {
            continue;
        }
        let text = entry.to_text();
        let owner = transaction.owner.partition();
        let mark = OutboxMark { owner, id: store.new_id(), bytes: text.len() as u64 };
        planned.push(PlannedEntry { index, checks: transaction.checks.len(), mark, entry, text, results });
    }
    planned
}

/// The results that the event of a call carries.
fn results_of(caused: &CausedTrigger, transaction: &Transaction) -> Vec<PublishedResult> {
    let is_of_event = |published: &&PublishedResult| Some(published.publication) == caused.publication;
    transaction.published_results.iter().filter(is_of_event).cloned().collect()
}

/// Writes the marks. Returns the outcomes of the transactions that cannot have an entry, by index.
async fn put_marks<S: OutboxStore>(
    store: &S,
    planned: &[PlannedEntry],
    due: Timestamp,
) -> Result<BTreeMap<usize, Outcome>, StoreError> {
    let marks = planned.iter().map(|entry| rules::put_mark(entry.mark, due)).collect();
    let outcomes = commit_all(store, marks).await?;
    let refused = planned.iter().zip(outcomes).filter_map(|(entry, outcome)| match outcome {
        Outcome::Committed(_) => None,
        Outcome::Refused(_) => Some((entry.index, Outcome::Failed(full()))),
        Outcome::Failed(error) => Some((entry.index, Outcome::Failed(error))),
    });
    Ok(refused.collect_by_insertion())
}

const fn full() -> StoreError {
    StoreError::Unavailable { retry_after_ms: FULL_RETRY_AFTER_MS }
}

/// Commits every transaction whose outcome is not known yet; returns all outcomes in order.
async fn carry_out<S: OutboxStore>(
    store: &S,
    transactions: Vec<Transaction>,
    known: BTreeMap<usize, Outcome>,
) -> Result<Vec<Outcome>, StoreError> {
    let all = transactions.len();
    let sent = transactions.into_iter().enumerate().filter(|(index, _)| !known.contains_key(index));
    let mut outcomes = store.commit(sent.map(|(_, transaction)| transaction).collect()).await?.into_iter();
    let unknown = || Outcome::Failed(full());
    Ok((0..all)
        .map(|index| known.get(&index).cloned().unwrap_or_else(|| outcomes.next().unwrap_or_else(unknown)))
        .collect())
}

/// Delivers the entries that were written, and removes the marks of those that were not.
async fn complete<S: OutboxStore>(
    store: &S,
    planned: Vec<PlannedEntry>,
    mut outcomes: Vec<Outcome>,
    due: Timestamp,
) -> Result<Vec<Outcome>, StoreError> {
    let (mut written, mut unused) = (Vec::new(), Vec::new());
    for mut planned in planned {
        let Some(outcome) = outcomes.get_mut(planned.index) else { continue };
        match outcome {
            Outcome::Committed(results) => {
                planned.complete(results);
                written.push((planned.mark, planned.entry));
            }
            // Recovery made the entry void, because the transaction came late.
            Outcome::Refused(check) if *check as usize >= planned.checks => *outcome = Outcome::Failed(full()),
            // Nobody knows whether the transaction was carried out; recovery finds out.
            Outcome::Failed(StoreError::Unavailable { .. }) => {}
            Outcome::Refused(_) | Outcome::Failed(_) => unused.push(planned.mark),
        }
    }
    let delivered = deliver(store, &written, false).await;
    let done = written.iter().zip(&delivered).filter(|(_, outcome)| **outcome == DeliveryOutcome::Done);
    let done: Vec<_> = done.map(|(written, _)| written).collect();
    let unused = unused.into_iter().map(|mark| rules::remove_mark(mark, due.score()));
    let removals =
        done.iter().flat_map(|(mark, _)| [rules::remove_entry(*mark), rules::remove_mark(*mark, due.score())]);
    // Whatever is not removed now is removed by recovery.
    let removed = commit_all(store, removals.chain(unused).collect()).await.unwrap_or_default();
    let is_removed = |pair: &[Outcome]| pair.iter().all(|outcome| matches!(outcome, Outcome::Committed(_)));
    // Recovery has not claimed these marks and cannot do so any more, so nobody needs the receipts.
    let receipts = removed.chunks(2).zip(&done).filter(|(pair, _)| is_removed(pair));
    let receipts = receipts.flat_map(|(_, (mark, entry))| rules::remove_receipts(*mark, entry)).collect();
    let _ = commit_all(store, receipts).await;
    Ok(outcomes)
}

/// As `store_calls::commit_all`, with the error of the port.
async fn commit_all<S: OutboxStore>(store: &S, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
    store_calls::commit_all(store, transactions).await.map_err(|error| match error {
        crate::error::Error::Store(error) => error,
        _ => full(),
    })
}
