//! How many calls a list of queries or transactions takes, and what a failed call leaves behind.

use std::sync::Mutex;

use super::*;
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::Event;
use crate::testing::block_on;

/// A store that records the size of every call and answers from a script.
#[derive(Default)]
struct ScriptedStore {
    calls: Mutex<Vec<usize>>,
    /// The number of commits after which the store is unavailable.
    commits_max: Option<usize>,
    /// Answers one item too few.
    short: bool,
    /// The keys that hold a value of another type.
    mistyped: Vec<Key>,
    /// The number of reads after which the store is unavailable.
    reads_max: Option<usize>,
}

impl ScriptedStore {
    fn record(&self, size: usize) -> usize {
        let mut calls = self.calls.lock().unwrap();
        calls.push(size);
        calls.len()
    }

    fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }
}

const UNAVAILABLE: StoreError = StoreError::Unavailable { retry_after_ms: 7 };

fn mistyped() -> StoreError {
    StoreError::WrongType("no counter".into())
}

impl KeyValue for ScriptedStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        let call = self.record(queries.len());
        if self.reads_max.is_some_and(|most| call > most) {
            return Err(UNAVAILABLE);
        }
        let is_mistyped = |query: &Query| matches!(query, Query::Counter(key) if self.mistyped.contains(key));
        if queries.iter().any(is_mistyped) {
            return Err(mistyped());
        }
        Ok(vec![Value::Missing; queries.len() - usize::from(self.short)])
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let call = self.record(transactions.len());
        if self.commits_max.is_some_and(|most| call > most) {
            return Err(UNAVAILABLE);
        }
        Ok(vec![Outcome::Committed(vec![call as i64]); transactions.len() - usize::from(self.short)])
    }
}

const USER: UserId = UserId::from_u128(1);
const OWNER: Owner = Owner::User(USER);

fn key() -> Key {
    Key::of_user(Space::Presence, USER)
}

fn event(bytes: usize) -> Event {
    Event { name: "message.new".into(), payload: "x".repeat(bytes).into(), durable: true }
}

/// How many of these transactions go into each call.
fn calls(mut transactions: &[Transaction]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while !transactions.is_empty() {
        let (call, rest) = transactions.split_at(fitting(transactions));
        sizes.push(call.len());
        transactions = rest;
    }
    sizes
}

#[test]
fn a_call_keeps_within_the_limits_of_items_and_bytes() {
    let small = vec![Transaction::new(OWNER); CALL_ITEMS_MAX + 1];
    assert_eq!(calls(&small), [CALL_ITEMS_MAX, 1]);

    let large = vec![Transaction::new(OWNER).publish(event(100_000)); 100];
    let [first, second] = calls(&large)[..] else { panic!("two calls") };
    let bytes = |transactions: &[Transaction]| transactions.iter().map(Transaction::bytes).sum::<usize>();
    assert!(bytes(&large[..first]) <= CALL_BYTES_MAX && bytes(&large[first..]) <= CALL_BYTES_MAX);
    assert!(bytes(&large[..=first]) > CALL_BYTES_MAX, "no more calls than necessary");
    assert_eq!(first + second, 100);
}

#[test]
fn a_transaction_beyond_the_limit_goes_into_a_call_of_its_own() {
    let huge = Transaction::new(OWNER).publish(event(CALL_BYTES_MAX));
    assert_eq!(calls(&[huge.clone(), huge]), [1, 1]);
    assert_eq!(fitting(&[]), 1);
}

#[test]
fn transactions_of_exactly_the_limit_fit_into_one_call() {
    let name = "message.new".len();
    let half = Transaction::new(OWNER).publish(event(CALL_BYTES_MAX / 2 - name));
    assert_eq!(half.bytes(), CALL_BYTES_MAX / 2);
    assert_eq!(calls(&[half.clone(), half.clone(), half]), [2, 1]);
}

#[test]
fn outcomes_of_several_calls_are_in_the_order_of_the_transactions() {
    let store = ScriptedStore::default();
    let outcomes = block_on(commit_all(&store, vec![Transaction::new(OWNER); CALL_ITEMS_MAX + 2])).unwrap();
    assert_eq!(store.calls(), [CALL_ITEMS_MAX, 2]);
    assert_eq!(outcomes.len(), CALL_ITEMS_MAX + 2);
    assert_eq!(outcomes[0], Outcome::Committed(vec![1]));
    assert_eq!(outcomes[CALL_ITEMS_MAX..], [Outcome::Committed(vec![2]), Outcome::Committed(vec![2])]);
    assert_eq!(block_on(commit_all(&store, Vec::new())), Ok(Vec::new()));
}

#[test]
fn an_unavailable_store_fails_the_rest_and_is_not_asked_again() {
    let store = ScriptedStore { commits_max: Some(1), ..ScriptedStore::default() };
    let outcomes = block_on(commit_all(&store, vec![Transaction::new(OWNER); 3 * CALL_ITEMS_MAX])).unwrap();
    assert_eq!(store.calls(), [CALL_ITEMS_MAX, CALL_ITEMS_MAX], "the third call is not made");
    assert_eq!(outcomes.len(), 3 * CALL_ITEMS_MAX);
    assert_eq!(outcomes[CALL_ITEMS_MAX - 1], Outcome::Committed(vec![1]));
    assert!(outcomes[CALL_ITEMS_MAX..].iter().all(|outcome| *outcome == Outcome::Failed(UNAVAILABLE)));
    assert_eq!(failure(&outcomes), Some(UNAVAILABLE.into()));
}

#[test]
fn an_answer_with_too_few_items_is_an_error() {
    let store = ScriptedStore { short: true, ..ScriptedStore::default() };
    let wrong_type = |result: Result<(), Error>| matches!(result, Err(Error::Store(StoreError::WrongType(_))));
    assert!(wrong_type(block_on(commit_all(&store, vec![Transaction::new(OWNER)])).map(drop)));
    assert!(wrong_type(block_on(commit_one(&store, Transaction::new(OWNER))).map(drop)));
    assert!(wrong_type(block_on(read_all(&store, vec![Query::Counter(key())], 1)).map(drop)));
}

#[test]
fn a_group_of_queries_is_never_split_over_two_calls() {
    for (group, expected) in [(1, [1_024, 1_024, 2]), (3, [1_023, 1_023, 4]), (0, [1_024, 1_024, 2])] {
        let store = ScriptedStore::default();
        let values = block_on(read_all(&store, vec![Query::Counter(key()); 2_050], group)).unwrap();
        assert_eq!((values.len(), store.calls()), (2_050, expected.to_vec()), "groups of {group}");
    }
    let store = ScriptedStore::default();
    block_on(read_all(&store, vec![Query::Counter(key()); 4_000], 2_000)).unwrap();
    assert_eq!(store.calls(), [2_000, 2_000], "a group beyond the limit stays together");
}

/// Two queries for each of these users.
fn pairs(users: impl Iterator<Item = u128>) -> Vec<Query> {
    let pair = |user| [total(user), total(user)].map(Query::Counter);
    users.flat_map(pair).collect()
}

fn total(user: u128) -> Key {
    Key::of_user(Space::UnreadTotal, UserId::from_u128(user))
}

#[test]
fn a_key_of_another_type_is_the_failure_of_its_group() {
    for wrong in [vec![0], vec![6], vec![2, 3], (0..7).collect()] {
        let store = ScriptedStore { mistyped: wrong.iter().copied().map(total).collect(), ..ScriptedStore::default() };
        let answers = block_on(read_each(&store, pairs(0..7), 2)).unwrap();
        let answer = |user| if wrong.contains(&user) { Err(mistyped()) } else { Ok(vec![Value::Missing; 2]) };
        let expected = (0..7).map(answer);
        assert_eq!(answers, expected.collect::<Vec<_>>(), "{wrong:?}");
        assert!(store.calls().iter().all(|size| size % 2 == 0), "no group is split: {:?}", store.calls());
    }
}

#[test]
fn groups_without_a_key_of_another_type_take_the_calls_of_one_list() {
    let store = ScriptedStore::default();
    let answers = block_on(read_each(&store, pairs(0..600), 2)).unwrap();
    assert_eq!((answers.len(), store.calls()), (600, vec![1_024, 176]));
    assert_eq!(block_on(read_each(&store, Vec::new(), 2)), Ok(Vec::new()));

    let store = ScriptedStore { mistyped: vec![total(250)], ..ScriptedStore::default() };
    let answers = block_on(read_each(&store, pairs(0..500), 2)).unwrap();
    assert_eq!((answers.len(), answers.iter().filter(|answer| answer.is_err()).count()), (500, 1));
    assert!(store.calls().len() < 20, "{:?}", store.calls());
}

#[test]
fn the_search_for_keys_of_another_type_is_bounded_and_every_group_is_answered() {
    let every_second: Vec<Key> = (0..500).filter(|user| user % 2 == 1).map(total).collect();
    let store = ScriptedStore { mistyped: every_second, ..ScriptedStore::default() };
    let answers = block_on(read_each(&store, pairs(0..500), 2)).unwrap();
    assert_eq!(store.calls().len(), 1 + 2 * SPLITS_MAX);
    assert_eq!((answers.len(), &answers[0], &answers[1]), (500, &Ok(vec![Value::Missing; 2]), &Err(mistyped())));
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert!((251..500).contains(&failed), "groups whose list was halved no further fail together: {failed}");
}

#[test]
fn a_store_that_becomes_unavailable_ends_the_search_for_a_key() {
    let store = ScriptedStore { mistyped: vec![total(0)], reads_max: Some(2), ..ScriptedStore::default() };
    assert_eq!(block_on(read_each(&store, pairs(0..8), 2)), Err(UNAVAILABLE.into()));
    assert_eq!(store.calls(), [16, 8, 4]);
}

#[test]
fn only_a_failed_outcome_is_a_failure() {
    assert_eq!(failure(&[Outcome::Committed(vec![1]), Outcome::Refused(0)]), None);
    let denied = StoreError::Denied("presence".into());
    let outcomes = [Outcome::Refused(0), Outcome::Failed(denied.clone()), Outcome::Failed(UNAVAILABLE)];
    assert_eq!(failure(&outcomes), Some(denied.into()), "the first one");
}
