//! The few ways in which use cases talk to the key-value port: bounded calls, answers of the expected shape.
//!
//! The rules themselves never do IO; a use case reads, asks its rule, commits through these and, on a lost race,
//! reads again at most [`crate::limits::TRIES_MAX`] times.

use crate::error::Error;
use crate::ids::Seq;
use crate::limits::{CALL_BYTES_MAX, CALL_ITEMS_MAX};
use crate::port::{KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};

/// Commits any number of transactions in as few calls as the bounds allow; outcomes in the order given.
///
/// An unreachable store is the outcome of the transactions it concerns, so that what was done before still counts.
/// It is asked no further: a store that did not answer one call would only hold up the caller with the next.
pub(crate) async fn commit_all<S: KeyValue>(store: &S, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, Error> {
    let all = transactions.len();
    let mut outcomes = Vec::with_capacity(all);
    for chunk in chunks(transactions) {
        let size = chunk.len();
        match store.commit(chunk).await {
            Ok(answers) if answers.len() == size => outcomes.extend(answers),
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

fn chunks(transactions: Vec<Transaction>) -> Vec<Vec<Transaction>> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    let mut bytes = 0;
    for transaction in transactions {
        let weight = weight(&transaction);
        if chunk.len() == CALL_ITEMS_MAX || (!chunk.is_empty() && bytes + weight > CALL_BYTES_MAX) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += weight;
        chunk.push(transaction);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
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
        Mutation::DeleteFields(_, names) => names.iter().map(String::len).sum(),
        _ => 256,
    }
}

/// The error of an answer that breaks the port's contract.
pub(crate) fn unexpected(wanted: &str) -> StoreError {
    StoreError::WrongType(format!("the answer was expected to be {wanted}"))
}

/// A counter, or `None` when it is missing.
pub(crate) fn counter(value: Option<Value>) -> Result<Option<i64>, StoreError> {
    match value {
        Some(Value::Counter(number)) => Ok(Some(number)),
        Some(Value::Missing) => Ok(None),
        _ => Err(unexpected("a counter")),
    }
}

/// All fields of a hash; none when it is missing.
pub(crate) fn fields(value: Option<Value>) -> Result<Vec<(String, String)>, StoreError> {
    match value {
        Some(Value::Fields(fields)) => Ok(fields),
        Some(Value::Missing) => Ok(Vec::new()),
        _ => Err(unexpected("fields")),
    }
}

/// The one field that was asked for, as a sequence.
pub(crate) fn seq_field(value: Option<Value>) -> Result<Option<Seq>, StoreError> {
    match value {
        Some(Value::NamedFields(fields)) => fields.into_iter().next().flatten().map(|text| seq(&text)).transpose(),
        _ => Err(unexpected("a named field")),
    }
}

/// A sequence from its decimal text.
pub(crate) fn seq(text: &str) -> Result<Seq, StoreError> {
    text.parse().map(Seq).map_err(|_| StoreError::WrongType(format!("expected a sequence number, found {text:?}")))
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
        assert_eq!(chunks(small).iter().map(Vec::len).collect::<Vec<_>>(), [CALL_ITEMS_MAX, 1]);

        let event = Event { name: "message.new".into(), payload: "x".repeat(100_000).into(), durable: true };
        let big = vec![Transaction::new(owner).publish(event); 100];
        let sizes: Vec<_> = chunks(big).iter().map(|chunk| chunk.iter().map(weight).sum::<usize>()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= CALL_BYTES_MAX));
    }
}
