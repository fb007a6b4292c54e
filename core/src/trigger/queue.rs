//! The queue of a function in the store: adds calls, claims those that are due, and removes or postpones them.

use std::collections::BTreeMap;

use super::Trigger;
use super::rules::{BYTES, ENTRIES, QueueKeys};
use crate::error::Error;
use crate::port::{KeyValue, Outcome, Query, StoreError, Transaction, Value};
use crate::store_answers::{self, unexpected};
use crate::time::Timestamp;
use crate::{store_calls, stored_text};

/// What became of a call that was to be queued.
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

/// Claims up to `limit` calls of a function that are due, the longest due first. Each lease ends after `lease_ms`.
///
/// Entries that cannot be read are removed.
pub async fn claim<S: KeyValue>(
    store: &S,
    function: &str,
    (limit, lease_ms): (u32, u64),
    now: Timestamp,
) -> Result<Vec<ClaimedTrigger>, Error> {
    let keys = QueueKeys::of(function);
    let range = Query::OrderedRange { key: keys.due(), minimum: i64::MIN, maximum: now.score(), limit };
    let due = match store.read(vec![range]).await?.pop() {
        Some(Value::Ordered(due)) => due,
        _ => return Err(unexpected("an ordered range").into()),
    };
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let entries = due.iter().map(|(id, _)| Query::Fields(keys.entry(id))).collect();
    let entries = store_calls::read_all(store, entries, 1).await?;
    let until = now.plus(lease_ms);
    let (mut found, mut transactions, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, score), entry) in due.into_iter().zip(entries) {
        let fields = store_answers::fields(Some(entry)).unwrap_or_default();
        let bytes = stored_text::number(&fields, BYTES);
        match serde_json::from_str::<Trigger>(&stored_text::join(&fields)) {
            Ok(trigger) if trigger.id == id && trigger.function == function => {
                transactions.push(keys.claim(&id, score, until));
                found.push(ClaimedTrigger { trigger, attempt: 0, due: until.score(), bytes });
            }
            _ => broken.push(keys.finish(&id, score, bytes)),
        }
    }
    store_calls::commit_all(store, broken).await?;
    let outcomes = store_calls::commit_all(store, transactions).await?;
    Ok(found.into_iter().zip(outcomes).filter_map(|(claimed, outcome)| with_attempt(claimed, &outcome)).collect())
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

/// Removes a call that was made, or that is given up. Returns `false` if its lease had ended, so that another host makes
/// the call again.
pub async fn finish<S: KeyValue>(store: &S, claimed: &ClaimedTrigger) -> Result<bool, Error> {
    let keys = QueueKeys::of(&claimed.trigger.function);
    is_done(store, keys.finish(&claimed.trigger.id, claimed.due, claimed.bytes)).await
}

/// Makes a call due again at a later time. With `is_attempt` the attempt counts. Returns `false` if the lease had ended.
pub async fn postpone<S: KeyValue>(
    store: &S,
    claimed: &ClaimedTrigger,
    at: Timestamp,
    is_attempt: bool,
) -> Result<bool, Error> {
    let keys = QueueKeys::of(&claimed.trigger.function);
    is_done(store, keys.postpone(&claimed.trigger.id, claimed.due, (at, is_attempt))).await
}

async fn is_done<S: KeyValue>(store: &S, transaction: Transaction) -> Result<bool, Error> {
    match store_calls::commit_one(store, transaction).await? {
        Outcome::Committed(_) => Ok(true),
        Outcome::Refused(_) => Ok(false),
        Outcome::Failed(error) => Err(error.into()),
    }
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
