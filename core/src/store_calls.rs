//! The few ways in which use cases talk to the key-value port: bounded calls, answers of the expected shape.
//!
//! The rules themselves never do IO; a use case reads, asks its rule, commits through these and, on a lost race,
//! reads again at most [`crate::limits::TRIES_MAX`] times.

use crate::error::Error;
use crate::limits::{CALL_BYTES_MAX, CALL_ITEMS_MAX};
use crate::port::{KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};
use crate::store_answers::unexpected;

/// Commits any number of transactions in as few calls as the bounds allow; outcomes in the order given.
///
/// An unreachable store is the outcome of the transactions it concerns, so that what was done before still counts.
/// It is asked no further: a store that did not answer one call would only hold up the caller with the next.
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
            Ok(answers) if answers.len() == size => join(&mut outcomes, answers),
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

/// The first outcome that is neither a success nor a lost race.
pub(crate) fn failure(outcomes: &[Outcome]) -> Option<Error> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Failed(error) => Some(error.clone().into()),
        Outcome::Committed(_) | Outcome::Refused(_) => None,
    })
}

/// Reads any number of queries in as few calls as the bounds allow, never tearing a group of `group` apart.
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

/// Puts the answers of a call behind those before it; mostly there is one call.
fn join<T>(all: &mut Vec<T>, answers: Vec<T>) {
    if all.is_empty() {
        *all = answers;
    } else {
        all.extend(answers);
    }
}

/// How many of these, from the first on, one call takes: at least one.
fn fitting(transactions: &[Transaction]) -> usize {
    let mut bytes = 0;
    let too_much = transactions.iter().take(CALL_ITEMS_MAX).position(|transaction| {
        bytes += weight(transaction);
        bytes > CALL_BYTES_MAX
    });
    too_much.unwrap_or(CALL_ITEMS_MAX).clamp(1, transactions.len().max(1))
}

/// Never less than what the port counts: names and small values by their bound, big ones by their length.
fn weight(transaction: &Transaction) -> usize {
    let mutations: usize = transaction.mutations.iter().map(mutation_weight).sum();
    let publications: usize = transaction.publications.iter().map(|event| event.name.len() + event.payload.len()).sum();
    transaction.checks.len() * 256 + mutations + publications
}

fn mutation_weight(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Set(_, value, _) => value.len(),
        Mutation::SetFields(_, fields) => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
        Mutation::DeleteFields(_, names) => names.iter().map(|name| name.len()).sum(),
        _ => 256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::key::Owner;
    use crate::port::Event;

    #[test]
    fn a_call_stays_within_items_and_bytes() {
        let owner = Owner::User(UserId::from_u128(1));
        let small = vec![Transaction::new(owner); CALL_ITEMS_MAX + 1];
        assert_eq!(calls(&small), [CALL_ITEMS_MAX, 1]);

        let event = Event { name: "message.new".into(), payload: "x".repeat(100_000).into(), durable: true };
        let big = vec![Transaction::new(owner).publish(event); 100];
        let [first, second] = calls(&big)[..] else { panic!("two calls") };
        let bytes = |transactions: &[Transaction]| transactions.iter().map(weight).sum::<usize>();
        assert!(bytes(&big[..first]) <= CALL_BYTES_MAX && bytes(&big[first..]) <= CALL_BYTES_MAX);
        assert!(bytes(&big[..=first]) > CALL_BYTES_MAX, "as few as possible");
        assert_eq!(first + second, 100);
    }

    /// How many of these go into each call.
    fn calls(mut transactions: &[Transaction]) -> Vec<usize> {
        let mut sizes = Vec::new();
        while !transactions.is_empty() {
            let (call, rest) = transactions.split_at(fitting(transactions));
            sizes.push(call.len());
            transactions = rest;
        }
        sizes
    }
}
