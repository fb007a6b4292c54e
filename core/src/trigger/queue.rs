//! The queue of a function in the store: adds calls, claims those that are due, and removes or postpones them.

use std::collections::BTreeMap;

use super::Trigger;
use super::rules::{ATTEMPTS, BYTES, ENTRIES, NOTES_CHECK, QueueKeys};
use crate::error::Error;
use crate::limits::TRIGGER_ATTEMPTS_MAX;
use crate::port::{KeyValue, Outcome, Query, StoreError, Value};
use crate::time::Timestamp;
use crate::{live_state, store_answers, store_calls, stored_text};

/// The outcome of an attempt to queue a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// It is in the queue.
    Queued,
    /// It is in the queue already, or was made a short time ago.
    Known,
    /// The queue is full, and the call is not made.
    Full,
    /// The store did not accept it.
    Failed(StoreError),
}

/// Queues calls, due at once. The outcomes are in the order of the calls.
///
/// # Errors
/// If the store does not answer; some calls can be queued then.
pub async fn enqueue<S: KeyValue>(
    store: &S,
    triggers: &[Trigger],
    now: Timestamp,
) -> Result<Vec<EnqueueOutcome>, Error> {
    let transactions = triggers.iter().map(|trigger| {
        // Names, ids and texts can always be encoded.
        let text = serde_json::to_string(trigger).unwrap_or_default();
        QueueKeys::of(&trigger.function).enqueue(trigger, &text, now)
    });
    let outcomes = store_calls::commit_all(store, transactions.collect()).await?;
    Ok(outcomes.into_iter().map(EnqueueOutcome::from).collect())
}

impl From<Outcome> for EnqueueOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed(_) => Self::Queued,
            Outcome::Refused(0 | 1) => Self::Known,
            Outcome::Refused(_) => Self::Full,
            Outcome::Failed(error) => Self::Failed(error),
        }
    }
}

/// A call that its holder makes before the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTrigger {
    /// The call to make.
    pub trigger: Trigger,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The end of the lease, which is the call's score meanwhile.
    due: i64,
    bytes: u64,
}

/// What a claim found in a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueClaim {
    /// The calls to make.
    pub calls: Vec<ClaimedTrigger>,
    /// The calls that were removed, because they cannot be made.
    pub dropped: Vec<DroppedTrigger>,
}

/// A call that was removed without being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTrigger {
    /// The id of the call.
    pub id: String,
    /// Why it was removed.
    pub reason: DropReason,
}

/// Why a call was removed without being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its entry is missing, or is not what the queue has written.
    Unreadable,
    /// All attempts were made, and the host of the last one did not say how it ended.
    AttemptsUsedUp,
}

/// The number of calls that one claim takes at most. It is so low that [`store_calls::read_each`] finds every entry
/// that cannot be read, and no other one is removed.
const CLAIM_MAX: u32 = store_calls::SPLITS_MAX as u32;

/// Claims up to `limit` calls of a function that are due, at most 64, the longest due first. Each lease ends after
/// `lease_ms`.
///
/// Calls that cannot be read, and calls whose attempts are used up, are removed.
pub async fn claim<S: KeyValue>(
    store: &S,
    function: &str,
    (limit, lease_ms): (u32, u64),
    now: Timestamp,
) -> Result<QueueClaim, Error> {
    let keys = QueueKeys::of(function);
    let limit = limit.min(CLAIM_MAX);
    let range = Query::OrderedRange { key: keys.due(), minimum: i64::MIN, maximum: now.score(), limit };
    let due = live_state::read(store, range).await?.into_ordered()?;
    if due.is_empty() {
        return Ok(QueueClaim::default());
    }
    let entries = read_entries(store, &keys, &due).await?;
    let until = now.plus(lease_ms);
    let (mut found, mut claims) = (Vec::new(), Vec::new());
    let (mut dropped, mut removals) = (Vec::new(), Vec::new());
    for ((id, score), fields) in due.into_iter().zip(entries) {
        let bytes = stored_text::number(&fields, BYTES);
        match parse(function, &id, &fields) {
            Ok(trigger) => {
                claims.push(keys.claim(&id, score, until));
                found.push(ClaimedTrigger { trigger, attempt: 0, due: until.score(), bytes });
            }
            Err(reason) => {
                removals.push(keys.remove(&id, score, bytes));
                dropped.push(DroppedTrigger { id, reason });
            }
        }
    }
    let removed = store_calls::commit_all(store, removals).await?;
    let outcomes = store_calls::commit_all(store, claims).await?;
    // Another host can be faster to remove a call, and counts it.
    let was_removed =
        |(call, outcome): (DroppedTrigger, Outcome)| matches!(outcome, Outcome::Committed(_)).then_some(call);
    Ok(QueueClaim {
        calls: found.into_iter().zip(outcomes).filter_map(|(call, outcome)| with_attempt(call, &outcome)).collect(),
        dropped: dropped.into_iter().zip(removed).filter_map(was_removed).collect(),
    })
}

/// The fields of the entries of calls; none where another program has written something else.
async fn read_entries<S: KeyValue>(
    store: &S,
    keys: &QueueKeys<'_>,
    due: &[(String, i64)],
) -> Result<Vec<Vec<(String, String)>>, Error> {
    let queries = due.iter().map(|(id, _)| Query::Fields(keys.entry(id))).collect();
    let answers = store_calls::read_each(store, queries, 1).await?.into_iter();
    let fields = |values: Vec<Value>| store_answers::fields(values.into_iter().next());
    Ok(answers.map(|answer| answer.and_then(fields).unwrap_or_default()).collect())
}

/// The call that an entry of the queue of a function holds.
fn parse(function: &str, id: &str, fields: &[(String, String)]) -> Result<Trigger, DropReason> {
    let attempts = fields.iter().find(|(name, _)| name == ATTEMPTS).and_then(|(_, text)| text.parse::<u32>().ok());
    let trigger = serde_json::from_str::<Trigger>(&stored_text::join(fields)).ok();
    match (trigger.filter(|trigger| trigger.id == id && trigger.function == function), attempts) {
        (Some(_), Some(TRIGGER_ATTEMPTS_MAX..)) => Err(DropReason::AttemptsUsedUp),
        (Some(trigger), Some(_)) => Ok(trigger),
        _ => Err(DropReason::Unreadable),
    }
}

/// The call with the number of its attempt; `None` if another host was faster, or nobody knows whether it was claimed.
fn with_attempt(claimed: ClaimedTrigger, outcome: &Outcome) -> Option<ClaimedTrigger> {
    match outcome {
        Outcome::Committed(results) => {
            let attempt = results.first().and_then(|attempt| u32::try_from(*attempt).ok())?;
            Some(ClaimedTrigger { attempt, ..claimed })
        }
        Outcome::Refused(_) | Outcome::Failed(_) => None,
    }
}

/// Removes a call that was made, or that is given up. Returns `false` if its lease had ended, so that another host
/// makes the call again.
pub async fn finish<S: KeyValue>(store: &S, claimed: &ClaimedTrigger) -> Result<bool, Error> {
    let keys = QueueKeys::of(&claimed.trigger.function);
    let (id, due, bytes) = (&claimed.trigger.id, claimed.due, claimed.bytes);
    match store_calls::commit_one(store, keys.finish(id, due, bytes)).await? {
        // So many calls were made lately that this one is not noted.
        Outcome::Refused(NOTES_CHECK) => store_calls::is_committed(store, keys.remove(id, due, bytes)).await,
        Outcome::Committed(_) => Ok(true),
        Outcome::Refused(_) => Ok(false),
        Outcome::Failed(error) => Err(error.into()),
    }
}

/// Makes a call due again at a later time. With `is_attempt` the attempt counts. Returns `false` if the lease had
/// ended.
pub async fn postpone<S: KeyValue>(
    store: &S,
    claimed: &ClaimedTrigger,
    at: Timestamp,
    is_attempt: bool,
) -> Result<bool, Error> {
    let keys = QueueKeys::of(&claimed.trigger.function);
    store_calls::is_committed(store, keys.postpone(&claimed.trigger.id, claimed.due, (at, is_attempt))).await
}

/// The number of calls in the queue of each function.
pub async fn length<S: KeyValue>(store: &S, functions: &[String]) -> Result<BTreeMap<String, u64>, Error> {
    let names = [ENTRIES.to_owned()].into();
    let query = |function: &String| Query::NamedFields(QueueKeys::of(function).size(), std::sync::Arc::clone(&names));
    let values = store_calls::read_all(store, functions.iter().map(query).collect(), 1).await?;
    let length = |value: Value| match value {
        Value::NamedFields(fields) => {
            fields.into_iter().next().flatten().and_then(|text| text.parse().ok()).unwrap_or_default()
        }
        _ => 0,
    };
    Ok(functions.iter().cloned().zip(values.into_iter().map(length)).collect())
}
