//! Notes activity, and removes idle users page by page.

use std::collections::BTreeMap;

use super::rules::{self, IdleEntry};
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Space};
use crate::limits::{ACTIVITY_SHARDS, IDLE_PAGE, IDLE_PAGES_MAX};
use crate::port::{KeyValue, Outcome, Query, Transaction, Value};
use crate::store_answers::{self, unexpected};
use crate::store_calls::{commit_all, failure, is_committed, read_all};
use crate::time::Timestamp;

/// The numbers of users that a sweep handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleSummary {
    /// Users whose state was removed from the store.
    pub removed: usize,
    /// Users who are active although nobody has noted it.
    pub kept: usize,
    /// Users who could not be removed; the next sweep tries again.
    pub failed: usize,
}

/// Notes that these users are active; one round trip for any number of them.
///
/// # Errors
/// An error of the store.
pub async fn note<S: KeyValue>(
    store: &S,
    users: impl IntoIterator<Item = UserId>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut shards: BTreeMap<u32, Vec<UserId>> = BTreeMap::new();
    for user in users {
        shards.entry(rules::shard_of(user)).or_default().push(user);
    }
    let transactions = shards.into_iter().map(|(shard, users)| rules::note(shard, &users, now)).collect();
    failure(&commit_all(store, transactions).await?).map_or(Ok(()), Err)
}

/// Removes the users of one shard who have been idle for so long; at most [`IDLE_PAGES_MAX`] pages of [`IDLE_PAGE`]
/// users. The next sweep continues.
///
/// # Errors
/// An error of the store about the whole shard. A user who cannot be removed only counts as failed.
pub async fn sweep<S: KeyValue>(store: &S, shard: u32, (now, idle_ms): (Timestamp, u64)) -> Result<IdleSummary, Error> {
    if shard >= ACTIVITY_SHARDS {
        return Err(Error::Invalid(format!("the shard is 0 to {}, not {shard}", ACTIVITY_SHARDS - 1)));
    }
    let mut swept = IdleSummary::default();
    for _ in 0..IDLE_PAGES_MAX {
        let page = idle_entries(store, shard, now.minus(idle_ms)).await?;
        let is_last = page.len() < IDLE_PAGE as usize;
        let failed_before = swept.failed;
        sweep_page(store, page, now, &mut swept).await?;
        // Those who failed are at the head of the next page again.
        if is_last || swept.failed > failed_before {
            break;
        }
    }
    Ok(swept)
}

async fn sweep_page<S: KeyValue>(
    store: &S,
    page: Vec<IdleEntry>,
    now: Timestamp,
    swept: &mut IdleSummary,
) -> Result<(), Error> {
    let mut changes: Vec<Transaction> = Vec::with_capacity(page.len());
    for entry in page {
        let Ok(user) = entry.member.parse::<UserId>() else {
            changes.push(entry.remove());
            continue;
        };
        match remove(store, user).await {
            Ok(true) => {
                swept.removed += 1;
                changes.push(entry.remove());
            }
            Ok(false) => {
                swept.kept += 1;
                changes.push(entry.postpone(now));
            }
            Err(error) if error.is_store_unavailable() => return Err(error),
            Err(_) => swept.failed += 1,
        }
    }
    failure(&commit_all(store, changes).await?).map_or(Ok(()), Err)
}

/// Removes a user, unless the user is active. Returns whether the user was removed.
async fn remove<S: KeyValue>(store: &S, user: UserId) -> Result<bool, Error> {
    if !is_committed(store, rules::forget(user)).await? {
        return Ok(false);
    }
    let positions = Query::Fields(Key::of_user(Space::UnreadSequence, user));
    let value = store.read(vec![positions]).await?.into_iter().next();
    let conversations: Vec<ConversationId> = store_answers::positions(value)?.into_keys().collect();
    let outcomes = commit_all(store, rules::forget_counters(user, &conversations)).await?;
    failure(&outcomes).map_or(Ok(()), Err)?;
    // A refusal means that the user has come back.
    Ok(!outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_))))
}

async fn idle_entries<S: KeyValue>(store: &S, shard: u32, until: Timestamp) -> Result<Vec<IdleEntry>, Error> {
    let range =
        Query::OrderedRange { key: rules::active(shard), minimum: i64::MIN, maximum: until.score(), limit: IDLE_PAGE };
    match read_all(store, vec![range], 1).await?.into_iter().next() {
        Some(Value::Ordered(entries)) => {
            Ok(entries.into_iter().map(|(member, score)| IdleEntry { shard, member, score }).collect())
        }
        _ => Err(unexpected("an ordered range").into()),
    }
}
