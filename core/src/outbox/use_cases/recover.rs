//! Goes on with entries whose host has died, or for which the store did not answer.

use super::deliver::{DeliveryOutcome, deliver};
use crate::error::Error;
use crate::key::Owner;
use crate::limits::{OUTBOX_LEASE_MS, OUTBOX_PAGE, OUTBOX_RECOVERY_MS_MAX, OUTBOX_SHARDS};
use crate::outbox::entry::OutboxEntry;
use crate::outbox::mark::{self, OutboxMark};
use crate::outbox::rules::{self, ATTEMPTS};
use crate::outbox::{OutboxEvent, OutboxStore};
use crate::port::{Outcome, Query, StoreError, Value};
use crate::store_answers::{self, unexpected};
use crate::time::Timestamp;
use crate::{store_calls, stored_text};

/// What a round of recovery did, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxRecovery {
    /// Delivered in this round.
    pub delivered: u64,
    /// Never written; their transactions can not be carried out any more.
    pub voided: u64,
    /// Left for a later round, because the store did not answer.
    pub postponed: u64,
    /// Given up after too many attempts, or because they cannot be read.
    pub dropped: u64,
}

/// The shards that have something to do now. One round trip, because usually none has.
///
/// # Errors
/// If the store does not answer.
pub async fn due_shards<S: OutboxStore>(store: &S) -> Result<Vec<u32>, Error> {
    let now = store.now();
    let queries = (0..OUTBOX_SHARDS).map(|shard| due_range(Owner::Shard(shard), now, 1)).collect();
    let answers = (0..).zip(store.read(queries).await?);
    Ok(answers.filter(|(_, due)| *due != Value::Ordered(Vec::new())).map(|(shard, _)| shard).collect())
}

fn due_range(shard: Owner, now: Timestamp, limit: u32) -> Query {
    Query::OrderedRange { key: mark::marks(shard), minimum: i64::MIN, maximum: now.score(), limit }
}

/// One round for a shard, `0..OUTBOX_SHARDS`. It is limited in time; what is left is due in the next round.
///
/// # Errors
/// If the store does not answer. What was done until then is done.
pub async fn recover<S: OutboxStore>(store: &S, shard: u32) -> Result<OutboxRecovery, Error> {
    let began = store.now();
    let mut done = OutboxRecovery::default();
    loop {
        let page = due_marks(store, Owner::Shard(shard)).await?;
        for (text, due) in &page {
            let Some(mark) = OutboxMark::parse(text).filter(|mark| mark.shard() == Owner::Shard(shard)) else {
                store_calls::commit_one(store, rules::remove_unreadable_mark(Owner::Shard(shard), text)).await?;
                continue;
            };
            recover_one(store, mark, *due, &mut done).await?;
        }
        if page.len() < OUTBOX_PAGE as usize || store.now() >= began.plus(OUTBOX_RECOVERY_MS_MAX) {
            return Ok(done);
        }
    }
}

async fn due_marks<S: OutboxStore>(store: &S, shard: Owner) -> Result<Vec<(String, i64)>, Error> {
    match store.read(vec![due_range(shard, store.now(), OUTBOX_PAGE)]).await?.pop() {
        Some(Value::Ordered(due)) => Ok(due),
        _ => Err(unexpected("an ordered range").into()),
    }
}

async fn recover_one<S: OutboxStore>(
    store: &S,
    mark: OutboxMark,
    due: i64,
    done: &mut OutboxRecovery,
) -> Result<(), Error> {
    let claimed = store.now().plus(OUTBOX_LEASE_MS);
    let Outcome::Committed(_) = store_calls::commit_one(store, rules::postpone_mark(mark, due, claimed)).await? else {
        return Ok(());
    };
    let due = claimed.score();
    let fields = match store.read(vec![Query::Fields(mark.entry())]).await.map(|mut values| values.pop()) {
        Ok(found) => store_answers::fields(found)?,
        // Another program wrote something else there; it is given up like an entry that cannot be read.
        Err(StoreError::WrongType(_)) => vec![(String::new(), String::new())],
        Err(error) => return Err(error.into()),
    };
    if fields.is_empty() {
        // If it is refused, the transaction came at this instant, and the next round delivers its entry.
        if let Outcome::Committed(_) = store_calls::commit_one(store, rules::void(mark)).await? {
            store_calls::commit_one(store, rules::remove_mark(mark, due)).await?;
            done.voided += 1;
        }
        return Ok(());
    }
    let attempts = stored_text::number(&fields, ATTEMPTS);
    let entry = OutboxEntry::parse(&stored_text::join(&fields));
    match (entry, rules::retry_after_ms(attempts)) {
        (Some(entry), Some(pause_ms)) => {
            let outcome = deliver(store, &[(mark, entry)], true).await;
            if outcome == [DeliveryOutcome::Done] {
                remove(store, mark, due).await?;
                done.delivered += 1;
            } else {
                let at = store.now().plus(pause_ms);
                store_calls::commit_one(store, rules::count_attempt(mark)).await?;
                store_calls::commit_one(store, rules::postpone_mark(mark, due, at)).await?;
                done.postponed += 1;
            }
        }
        _ => {
            remove(store, mark, due).await?;
            store.report(&OutboxEvent::EntryDropped(mark.owner, mark.id));
            done.dropped += 1;
        }
    }
    Ok(())
}

/// Removes an entry and its mark. Its receipts stay until they expire, because another host may be delivering it, too.
async fn remove<S: OutboxStore>(store: &S, mark: OutboxMark, due: i64) -> Result<(), Error> {
    let removals = vec![rules::remove_entry(mark), rules::remove_mark(mark, due)];
    let outcomes = store_calls::commit_all(store, removals).await?;
    store_calls::failure(&outcomes).map_or(Ok(()), Err)
}
