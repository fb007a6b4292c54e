//! The live state of a function: changing it without losing the change of another caller.
//!
//! The state is in the key space `app` and lost with the store; [`documents`](crate::documents) are not. What the state
//! means is the function's own business: there is no rule here.

use crate::error::Error;
use crate::limits::TRIES_MAX;
use crate::port::{KeyValue, Outcome, Query, Transaction, Value};
use crate::store_calls::commit_one;

/// What a rule makes of the values that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<T> {
    /// What is committed. Its checks say what the rule relies on: the transaction is carried out only if they still
    /// hold.
    pub transaction: Transaction,
    /// What the caller gets if it is carried out.
    pub reply: T,
}

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated<T> {
    /// What the rule answered.
    pub reply: T,
    /// The results of the mutations `Add` and `AddField`, in order.
    pub results: Vec<i64>,
}

/// Reads, asks the rule, and commits what it decides. If one of its checks does not hold, because another caller was
/// faster, this reads again and asks again, so the rule may be called several times.
///
/// Without a check a transaction is carried out whatever the state is by then. After [`StoreError::Unavailable`] it may
/// have been carried out.
///
/// # Errors
/// [`Error::Contended`] if the checks did not hold in any of [`TRIES_MAX`] attempts; the error of the rule, after which
/// nothing is committed.
///
/// [`StoreError::Unavailable`]: crate::port::StoreError::Unavailable
pub async fn update<S: KeyValue, T>(
    store: &S,
    queries: Vec<Query>,
    rule: impl Fn(Vec<Value>) -> Result<Decision<T>, Error>,
) -> Result<Updated<T>, Error> {
    for _ in 0..TRIES_MAX {
        let Decision { transaction, reply } = rule(store.read(queries.clone()).await?)?;
        match commit_one(store, transaction).await? {
            Outcome::Committed(results) => return Ok(Updated { reply, results }),
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

/// Reads the answer to one query.
///
/// # Errors
/// An error of the store.
pub async fn read<S: KeyValue>(store: &S, query: Query) -> Result<Value, Error> {
    Ok(store.read(vec![query]).await?.pop().unwrap_or(Value::Missing))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ids::UserId;
    use crate::key::{Key, Owner};
    use crate::port::{Check, Mutation, StoreError};
    use crate::testing::{FakeStore, ManualClock, block_on};

    const OWNER: Owner = Owner::User(UserId::from_u128(7));

    fn key() -> Key {
        Key::app(OWNER, "best")
    }

    /// Keeps the highest score.
    fn raise(values: Vec<Value>, score: i64) -> Result<Decision<bool>, Error> {
        let present = values.into_iter().next().unwrap_or(Value::Missing).into_counter()?;
        if present.is_some_and(|present| present >= score) {
            return Ok(Decision { transaction: Transaction::new(OWNER), reply: false });
        }
        let unchanged = match present {
            Some(present) => Check::Equals(key(), present.to_string().into_bytes()),
            None => Check::Absent(key()),
        };
        let add = Mutation::Add { key: key(), delta: score - present.unwrap_or(0), floor: None };
        Ok(Decision { transaction: Transaction::new(OWNER).check(unchanged).mutate(add), reply: true })
    }

    fn raise_to(store: &FakeStore, score: i64) -> Result<Updated<bool>, Error> {
        block_on(update(store, vec![Query::Counter(key())], |values| raise(values, score)))
    }

    #[test]
    fn an_update_commits_what_the_rule_decides() {
        let store = FakeStore::new(ManualClock::new());
        assert_eq!(raise_to(&store, 5), Ok(Updated { reply: true, results: vec![5] }));
        assert_eq!(raise_to(&store, 3), Ok(Updated { reply: false, results: Vec::new() }));
        assert_eq!(block_on(read(&store, Query::Counter(key()))), Ok(Value::Counter(5)));
    }

    #[test]
    fn an_update_that_loses_a_race_reads_again() {
        let store = FakeStore::new(ManualClock::new());
        let races = Cell::new(2);
        let raced = block_on(update(&store, vec![Query::Counter(key())], |values| {
            if races.get() > 0 {
                races.set(races.get() - 1);
                raise_to(&store, 10 - races.get())?;
            }
            raise(values, 20)
        }));
        assert_eq!(raced, Ok(Updated { reply: true, results: vec![20] }), "the sum is right in spite of the races");
    }

    #[test]
    fn an_update_that_loses_every_race_is_contended() {
        let store = FakeStore::new(ManualClock::new());
        let score = Cell::new(0);
        let raced = block_on(update(&store, vec![Query::Counter(key())], |values| {
            score.set(score.get() + 1);
            raise_to(&store, score.get())?;
            raise(values, 1_000)
        }));
        assert_eq!(raced, Err(Error::Contended));
        assert_eq!(score.get(), i64::from(TRIES_MAX));
    }

    #[test]
    fn a_refusal_of_the_rule_and_a_wrong_type_change_nothing() {
        let store = FakeStore::new(ManualClock::new());
        let refused = block_on(update(&store, Vec::new(), |_| -> Result<Decision<()>, Error> {
            Err(Error::Invalid("no".into()))
        }));
        assert_eq!(refused, Err(Error::Invalid("no".into())));
        store.overwrite(key());
        assert!(matches!(raise_to(&store, 1), Err(Error::Store(StoreError::WrongType(_)))));
    }
}
