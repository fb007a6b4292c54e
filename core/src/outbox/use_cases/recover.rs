//! Goes on with entries whose host has died, or for which the store did not answer.
//!
//! A part of the store that does not answer delays only what is in it: other shards, and other entries, are recovered.

use super::deliver::{DeliveryOutcome, deliver};
use crate::error::Error;
use crate::key::Owner;
use crate::limits::{OUTBOX_LEASE_MS, OUTBOX_PAGE, OUTBOX_RECOVERY_MS_MAX, OUTBOX_SHARDS};
use crate::outbox::entry::OutboxEntry;
use crate::outbox::mark::{self, OutboxMark};
use crate::outbox::rules::{self, ATTEMPTS};
use crate::outbox::{OutboxEvent, OutboxStore};
use crate::port::{Outcome, Query, StoreError, Value};
use crate::time::Timestamp;
use crate::{live_state, store_answers, store_calls, stored_text};

/// What a round of recovery did, in entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxRecovery {
    /// Delivered in this round.
    pub delivered: u64,
    /// Never written; their transactions can not be carried out any more.
    pub voided: u64,
    /// Left for a later round, because the store did not answer.
    pub postponed: u64,
    /// Given up after too many attempts, or because they cannot be read.
    pub dropped: u64,
    /// The first error of the round. What it concerns is left for a later round.
    pub error: Option<Error>,
}

impl OutboxRecovery {
    fn add(&mut self, outcome: Result<EntryRecovery, Error>) {
        match outcome {
            Ok(EntryRecovery::Delivered) => self.delivered += 1,
            Ok(EntryRecovery::Voided) => self.voided += 1,
            Ok(EntryRecovery::Postponed) => self.postponed += 1,
            Ok(EntryRecovery::Dropped) => self.dropped += 1,
            Ok(EntryRecovery::Contended) => {}
            Err(error) => {
                self.postponed += 1;
                self.error.get_or_insert(error);
            }
        }
    }
}

/// The outcome of one entry in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryRecovery {
    Delivered,
    Voided,
    Postponed,
    Dropped,
    /// Another host has changed it at the same time.
    Contended,
}

/// The shards that have something to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueShards {
    /// The numbers of these shards.
    pub shards: Vec<u32>,
    /// Why nothing is known about the other shards, if some of them cannot be read.
    pub error: Option<Error>,
}

/// Finds the shards that have something to do now. One round trip, because usually none has; if a part of the store
/// does not answer, one more for each shard.
pub async fn due_shards<S: OutboxStore>(store: &S) -> DueShards {
    let now = store.now();
    let query = |shard| due_range(Owner::Shard(shard), now, 1);
    let mut due = DueShards::default();
    if let Ok(answers) = store.read((0..OUTBOX_SHARDS).map(query).collect()).await {
        due.shards = (0..).zip(answers).filter(|(_, marks)| has_marks(marks)).map(|(shard, _)| shard).collect();
        return due;
    }
    for shard in 0..OUTBOX_SHARDS {
        match store.read(vec![query(shard)]).await {
            Ok(answers) if answers.iter().any(has_marks) => due.shards.push(shard),
            Ok(_) => {}
            Err(error) => {
                due.error.get_or_insert(error.into());
            }
        }
    }
    due
}

fn has_marks(marks: &Value) -> bool {
    *marks != Value::Ordered(Vec::new())
}

fn due_range(shard: Owner, now: Timestamp, limit: u32) -> Query {
    Query::OrderedRange { key: mark::marks(shard), minimum: i64::MIN, maximum: now.score(), limit }
}

/// One round for a shard, `0..OUTBOX_SHARDS`. It is limited in time; what is left is due in the next round.
pub async fn recover<S: OutboxStore>(store: &S, shard: u32) -> OutboxRecovery {
    let mut done = OutboxRecovery::default();
    if let Err(error) = recover_shard(store, Owner::Shard(shard), &mut done).await {
        done.error.get_or_insert(error);
    }
    done
}

/// Ends with an error if the shard itself does not answer. The error of an entry does not keep the others waiting.
async fn recover_shard<S: OutboxStore>(store: &S, shard: Owner, done: &mut OutboxRecovery) -> Result<(), Error> {
    let until = store.now().plus(OUTBOX_RECOVERY_MS_MAX);
    loop {
        let page = due_marks(store, shard).await?;
        for (text, due) in &page {
            let Some(mark) = OutboxMark::parse(text).filter(|mark| mark.shard() == shard) else {
                store_calls::is_committed(store, rules::remove_unreadable_mark(shard, text)).await?;
                continue;
            };
            let claimed = store.now().plus(OUTBOX_LEASE_MS);
            if store_calls::is_committed(store, rules::postpone_mark(mark, *due, claimed)).await? {
                done.add(recover_entry(store, mark, claimed.score()).await);
            }
            // An entry whose partition does not answer can take long.
            if store.now() >= until {
                return Ok(());
            }
        }
        if page.len() < OUTBOX_PAGE as usize {
            return Ok(());
        }
    }
}

async fn due_marks<S: OutboxStore>(store: &S, shard: Owner) -> Result<Vec<(String, i64)>, Error> {
    let due = live_state::read(store, due_range(shard, store.now(), OUTBOX_PAGE)).await?;
    Ok(due.into_ordered()?)
}

/// Recovers the entry of a mark that this host has claimed until `due`.
async fn recover_entry<S: OutboxStore>(store: &S, mark: OutboxMark, due: i64) -> Result<EntryRecovery, Error> {
    let fields = match store.read(vec![Query::Fields(mark.entry())]).await.map(|mut values| values.pop()) {
        Ok(found) => store_answers::fields(found)?,
        // Another program wrote something else there; it is given up like an entry that cannot be read.
        Err(StoreError::WrongType(_)) => return drop_entry(store, mark, due).await,
        Err(error) => return Err(error.into()),
    };
    if fields.is_empty() {
        return void(store, mark, due).await;
    }
    let attempts = stored_text::number(&fields, ATTEMPTS);
    let entry = OutboxEntry::parse(&stored_text::join(&fields));
    let (Some(entry), Some(pause_ms)) = (entry, rules::retry_after_ms(attempts)) else {
        return drop_entry(store, mark, due).await;
    };
    // Counted before the delivery: one that kills its host would be repeated for ever otherwise.
    match store_calls::commit_one(store, rules::count_attempt(mark)).await? {
        Outcome::Committed(_) => {}
        Outcome::Refused(_) => return Ok(EntryRecovery::Contended),
        Outcome::Failed(error @ StoreError::Unavailable { .. }) => return Err(error.into()),
        // The count of attempts was overwritten.
        Outcome::Failed(_) => return drop_entry(store, mark, due).await,
    }
    if deliver(store, &[(mark, entry)], true).await == [DeliveryOutcome::Done] {
        remove(store, mark, due).await?;
        return Ok(EntryRecovery::Delivered);
    }
    store_calls::is_committed(store, rules::postpone_mark(mark, due, store.now().plus(pause_ms))).await?;
    Ok(EntryRecovery::Postponed)
}

/// Makes sure that a missing entry is not written any more.
async fn void<S: OutboxStore>(store: &S, mark: OutboxMark, due: i64) -> Result<EntryRecovery, Error> {
    if !store_calls::is_committed(store, rules::void(mark)).await? {
        // The transaction came at this instant, and the next round delivers its entry.
        return Ok(EntryRecovery::Contended);
    }
    store_calls::is_committed(store, rules::remove_mark(mark, due)).await?;
    Ok(EntryRecovery::Voided)
}

async fn drop_entry<S: OutboxStore>(store: &S, mark: OutboxMark, due: i64) -> Result<EntryRecovery, Error> {
    remove(store, mark, due).await?;
    store.report(&OutboxEvent::EntryDropped(mark.owner, mark.id));
    Ok(EntryRecovery::Dropped)
}

/// Removes an entry and its mark. Its receipts stay until they expire, because another host may be delivering it, too.
async fn remove<S: OutboxStore>(store: &S, mark: OutboxMark, due: i64) -> Result<(), Error> {
    let removals = vec![rules::remove_entry(mark), rules::remove_mark(mark, due)];
    let outcomes = store_calls::commit_all(store, removals).await?;
    store_calls::failure(&outcomes).map_or(Ok(()), Err)
}
