//! Many callers on one owner. Futures of one task take turns; an adapter's own concurrency comes on top.

use super::Harness;
use super::kit::{Scene, add, set};
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, Value};
use crate::testing::task::{BoxFuture, join_all, yield_now};

const TASKS: usize = 8;
const ROUNDS: usize = 25;

async fn side_by_side<'a, F>(task: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'a,
{
    let tasks = (0..TASKS).map(|number| Box::pin(task(number)) as BoxFuture<'a, ()>);
    join_all(tasks.collect()).await;
}

/// Nothing is lost, nothing counts twice.
pub async fn concurrent_sums_are_exact<H: Harness>(harness: &H) {
    let scene = &Scene::new(harness);
    let keys = &[scene.key("number"), scene.key("hash")];
    side_by_side(|_| async move {
        for _ in 0..ROUNDS {
            scene.change([add(&keys[0], 1), Mutation::AddField(keys[1].clone(), "field".into(), 2)]).await;
            yield_now().await;
        }
    })
    .await;
    let rounds = (TASKS * ROUNDS) as i64;
    assert_eq!(scene.counter("number").await, Some(rounds));
    let twice = (rounds * 2).to_string();
    assert!(scene.holds(Check::FieldEquals(keys[1].clone(), "field".into(), Some(twice.into()))).await);
}

/// Read, check what was read, write: whoever loses tries again.
pub async fn compare_and_set_loops_end_exactly<H: Harness>(harness: &H) {
    let scene = &Scene::new(harness);
    scene.change([set(&scene.key("text"), "0", None)]).await;
    side_by_side(|_| async move {
        for _ in 0..ROUNDS {
            compare_and_set(scene).await;
        }
    })
    .await;
    let expected = (TASKS * ROUNDS).to_string();
    assert!(scene.holds(Check::Equals(scene.key("text"), expected.into_bytes())).await);
}

async fn compare_and_set<H: Harness>(scene: &Scene<'_, H>) {
    loop {
        let Value::Bytes(before) = scene.ask(Query::Bytes(scene.key("text"))).await else { panic!("it is there") };
        // Somebody else reads the same.
        yield_now().await;
        let number: u64 = String::from_utf8(before.clone()).unwrap().parse().unwrap();
        let transaction = scene.transaction().check(Check::Equals(scene.key("text"), before)).mutate(set(
            &scene.key("text"),
            &(number + 1).to_string(),
            None,
        ));
        match scene.commit(transaction).await {
            Outcome::Committed(_) => return,
            Outcome::Refused(0) => {}
            other => panic!("won or lost: {other:?}"),
        }
    }
}

/// A lease has one holder.
pub async fn one_of_many_wins_an_absent_key<H: Harness>(harness: &H) {
    let scene = &Scene::new(harness);
    side_by_side(|number| async move {
        let lease = scene.key("lease");
        yield_now().await;
        let claim = scene
            .transaction()
            .check(Check::Absent(lease.clone()))
            .mutate(set(&lease, &number.to_string(), Some(600_000)))
            .mutate(add(&scene.key("winners"), 1));
        let outcome = scene.commit(claim).await;
        assert!(matches!(outcome, Outcome::Committed(_) | Outcome::Refused(0)), "{outcome:?}");
    })
    .await;
    assert_eq!(scene.counter("winners").await, Some(1));
}

/// Two counters that always move together are never seen apart, whatever else the call asks.
pub async fn what_is_asked_of_one_owner_is_of_one_moment<H: Harness>(harness: &H) {
    let (scene, other) = (&Scene::new(harness), &Scene::new(harness));
    let keys = &[scene.key("one"), scene.key("two")];
    side_by_side(|number| async move {
        for _ in 0..ROUNDS {
            if number.is_multiple_of(2) {
                scene.change([add(&keys[0], 1), add(&keys[1], 1)]).await;
            } else {
                let [one, two] = keys.clone().map(Query::Counter);
                let asked = vec![one, Query::Counter(other.key("any")), two];
                let answers = scene.store().read(asked).await.unwrap();
                assert_eq!(answers[0], answers[2]);
            }
            yield_now().await;
        }
    })
    .await;
}
