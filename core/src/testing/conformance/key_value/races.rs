//! Many concurrent callers on one owner. The futures of one task alternate; adapters may add threads of their own.

use super::Harness;
use super::fixture::{Fixture, add, set};
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, Value};
use crate::testing::task::{BoxFuture, join_all, yield_now};

const TASKS: usize = 8;
const ROUNDS: usize = 25;

async fn concurrently<'a, F>(task: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'a,
{
    let tasks = (0..TASKS).map(|number| Box::pin(task(number)) as BoxFuture<'a, ()>);
    join_all(tasks.collect()).await;
}

/// No addition is lost, and none counts twice.
pub async fn concurrent_sums_are_exact<H: Harness>(harness: &H) {
    let fixture = &Fixture::new(harness);
    let keys = &[fixture.key("number"), fixture.key("hash")];
    concurrently(|_| async move {
        for _ in 0..ROUNDS {
            fixture.change([add(&keys[0], 1), Mutation::AddField(keys[1].clone(), "field".into(), 2)]).await;
            yield_now().await;
        }
    })
    .await;
    let rounds = (TASKS * ROUNDS) as i64;
    assert_eq!(fixture.counter("number").await, Some(rounds));
    let twice = (rounds * 2).to_string();
    assert!(fixture.holds(Check::FieldEquals(keys[1].clone(), "field".into(), Some(twice.into()))).await);
}

/// Each caller reads, checks the value that was read, and writes; after a lost race it tries again.
pub async fn compare_and_set_loops_lose_no_update<H: Harness>(harness: &H) {
    let fixture = &Fixture::new(harness);
    fixture.change([set(&fixture.key("text"), "0", None)]).await;
    concurrently(|_| async move {
        for _ in 0..ROUNDS {
            compare_and_set(fixture).await;
        }
    })
    .await;
    let expected = (TASKS * ROUNDS).to_string();
    assert!(fixture.holds(Check::Equals(fixture.key("text"), expected.into_bytes())).await);
}

async fn compare_and_set<H: Harness>(fixture: &Fixture<'_, H>) {
    loop {
        let Value::Bytes(before) = fixture.ask(Query::Bytes(fixture.key("text"))).await else {
            panic!("the key exists")
        };
        // Another caller may read the same value here.
        yield_now().await;
        let number: u64 = String::from_utf8(before.clone()).unwrap().parse().unwrap();
        let transaction = fixture.transaction().check(Check::Equals(fixture.key("text"), before)).mutate(set(
            &fixture.key("text"),
            &(number + 1).to_string(),
            None,
        ));
        match fixture.commit(transaction).await {
            Outcome::Committed(_) => return,
            Outcome::Refused(0) => {}
            other => panic!("expected success or a lost race: {other:?}"),
        }
    }
}

/// Only one of them can take a lease.
pub async fn one_of_many_callers_creates_an_absent_key<H: Harness>(harness: &H) {
    let fixture = &Fixture::new(harness);
    concurrently(|number| async move {
        let lease = fixture.key("lease");
        yield_now().await;
        let claim = fixture
            .transaction()
            .check(Check::Absent(lease.clone()))
            .mutate(set(&lease, &number.to_string(), Some(600_000)))
            .mutate(add(&fixture.key("winners"), 1));
        let outcome = fixture.commit(claim).await;
        assert!(matches!(outcome, Outcome::Committed(_) | Outcome::Refused(0)), "{outcome:?}");
    })
    .await;
    assert_eq!(fixture.counter("winners").await, Some(1));
}

/// Two counters that always change together are always equal, even if the call also reads other owners.
pub async fn a_read_of_one_owner_is_consistent<H: Harness>(harness: &H) {
    let (fixture, other) = (&Fixture::new(harness), &Fixture::new(harness));
    let keys = &[fixture.key("one"), fixture.key("two")];
    concurrently(|number| async move {
        for _ in 0..ROUNDS {
            if number.is_multiple_of(2) {
                fixture.change([add(&keys[0], 1), add(&keys[1], 1)]).await;
            } else {
                let [one, two] = keys.clone().map(Query::Counter);
                let queries = vec![one, Query::Counter(other.key("any")), two];
                let answers = fixture.store().read(queries).await.unwrap();
                assert_eq!(answers[0], answers[2]);
            }
            yield_now().await;
        }
    })
    .await;
}
