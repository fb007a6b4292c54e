//! Bounded calls to the key-value port: any number of queries or transactions in as few calls as the limits allow.
//!
//! A use case reads, asks its rule, commits through these functions and, after a lost race, reads again at most
//! [`crate::limits::TRIES_MAX`] times. The rules themselves never do IO.

use crate::error::Error;
use crate::limits::{CALL_BYTES_MAX, CALL_ITEMS_MAX};
use crate::port::{KeyValue, Outcome, Query, StoreError, Transaction, Value};
use crate::store_answers::unexpected;

/// The number of times that [`read_each`] halves lists of queries before it stops looking for the keys that are the
/// reason. So one call takes at most twice as many further reads, however many keys hold a value of another type.
pub(crate) const SPLITS_MAX: usize = 64;

/// The answer to a group of queries: as many values as queries, or the failure of this group alone.
pub(crate) type GroupAnswer = Result<Vec<Value>, StoreError>;

/// Commits any number of transactions; the outcomes are in the order of the transactions.
///
/// If the store becomes unavailable, that is the outcome of the transactions it concerns, and the outcomes of earlier
/// calls still count. No further call is made then, because it would only delay the caller.
pub(crate) async fn commit_all<S: KeyValue>(
    store: &S,
    mut transactions: Vec<Transaction>,
) -> Result<Vec<Outcome>, Error> {
    let all = transactions.len();
    let mut outcomes = Vec::new();
    while !transactions.is_empty() {
        let rest = transactions.split_off(fitting(&transactions));
        let size = transactions.len();
        match store.commit(std::mem::replace(&mut transactions, rest)).await {
            Ok(answers) if answers.len() == size => append(&mut outcomes, answers),
            Ok(_) => return Err(unexpected("as many outcomes as transactions").into()),
            Err(error @ StoreError::Unavailable { .. }) => {
                outcomes.resize(all, Outcome::Failed(error));
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(outcomes)
}

/// Commits one transaction.
pub(crate) async fn commit_one<S: KeyValue>(store: &S, transaction: Transaction) -> Result<Outcome, Error> {
    let outcomes = store.commit(vec![transaction]).await?;
    outcomes.into_iter().next().ok_or_else(|| unexpected("an outcome").into())
}

/// The first failure; neither a success nor a lost race is one.
pub(crate) fn failure(outcomes: &[Outcome]) -> Option<Error> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Failed(error) => Some(error.clone().into()),
        Outcome::Committed(_) | Outcome::Refused(_) => None,
    })
}

/// Reads any number of queries. The queries of one group of `group` always go into the same call.
pub(crate) async fn read_all<S: KeyValue>(
    store: &S,
    mut queries: Vec<Query>,
    group: usize,
) -> Result<Vec<Value>, Error> {
    let most = (CALL_ITEMS_MAX / group.max(1)).max(1) * group.max(1);
    let mut values = Vec::with_capacity(queries.len());
    while !queries.is_empty() {
        let rest = queries.split_off(queries.len().min(most));
        let size = queries.len();
        let answers = store.read(std::mem::replace(&mut queries, rest)).await?;
        if answers.len() != size {
            return Err(unexpected("as many values as queries").into());
        }
        values.extend(answers);
    }
    Ok(values)
}

/// As [`read_all`], with an answer for each group of `group` queries: a key that holds a value of another type is the
/// failure of its own group and stops no other.
///
/// If every key can be read, the calls are those of [`read_all`]. A list of queries that fails because of a key is
/// halved until the group of the key is alone, so that one such key among 500 groups takes fewer than 20 further calls.
/// After [`SPLITS_MAX`] halvings a list that fails is the failure of all of its groups, also of those that could be
/// read.
pub(crate) async fn read_each<S: KeyValue>(
    store: &S,
    queries: Vec<Query>,
    group: usize,
) -> Result<Vec<GroupAnswer>, Error> {
    let group = group.max(1);
    let mut answers = Vec::with_capacity(queries.len() / group);
    let mut splits_left = SPLITS_MAX;
    // The first part of what is left is the last item.
    let mut parts = vec![queries];
    while let Some(mut part) = parts.pop() {
        match read_all(store, part.clone(), group).await {
            Ok(values) => {
                let mut values = values.into_iter();
                while !values.as_slice().is_empty() {
                    answers.push(Ok(values.by_ref().take(group).collect()));
                }
            }
            Err(Error::Store(StoreError::WrongType(_))) if part.len() > group && splits_left > 0 => {
                splits_left -= 1;
                let second = part.split_off((part.len() / group / 2).max(1) * group);
                parts.extend([second, part]);
            }
            Err(Error::Store(error @ StoreError::WrongType(_))) => {
                answers.resize(answers.len() + part.len().div_ceil(group), Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Carries out one transaction. Returns whether its checks held.
pub(crate) async fn is_committed<S: KeyValue>(store: &S, transaction: Transaction) -> Result<bool, Error> {
    match commit_one(store, transaction).await? {
        Outcome::Committed(_) => Ok(true),
        Outcome::Refused(_) => Ok(false),
        Outcome::Failed(error) => Err(error.into()),
    }
}

/// Appends the answers of a call to those of earlier calls. Usually there is only one call, and nothing is copied.
fn append<T>(all: &mut Vec<T>, answers: Vec<T>) {
    if all.is_empty() {
        *all = answers;
    } else {
        all.extend(answers);
    }
}

/// The number of transactions, from the first one on, that fit into one call; at least one.
fn fitting(transactions: &[Transaction]) -> usize {
    let mut bytes = 0;
    let too_large = transactions.iter().take(CALL_ITEMS_MAX).position(|transaction| {
        bytes += transaction.bytes();
        bytes > CALL_BYTES_MAX
    });
    too_large.unwrap_or(CALL_ITEMS_MAX).clamp(1, transactions.len().max(1))
}

#[cfg(test)]
mod tests;
