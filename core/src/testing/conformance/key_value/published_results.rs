//! Publications that carry results of their own transaction.

use super::Harness;
use super::fixture::{Fixture, add, durable, ephemeral, is_wrong_type, set};
use crate::port::{Check, KeyValue, Mutation, Outcome, Replay, Transaction};

/// The members are the last ones of the payload, in the order of the list. Other events are unchanged.
pub async fn an_event_carries_the_results_that_are_listed<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let listener = fixture.join().await;
    let transaction = fixture
        .transaction()
        .mutate(add(&fixture.key("count"), 5))
        .mutate(set(&fixture.key("text"), "without a result", None))
        .mutate(Mutation::AddField(fixture.key("hash"), "field".into(), -7))
        .publish(durable(r#"{"id":"a"}"#))
        .with_result("count", 0)
        .publish(durable("{}"))
        .with_result("field", 1)
        .with_result("count", 0)
        .publish(durable("1"))
        .publish(ephemeral(r#"{"deep":{}}"#))
        .with_result("field", 1);
    assert_eq!(fixture.commit(transaction).await, Outcome::Committed(vec![5, -7]));
    harness.wait_for_deliveries().await;
    let expected = [r#"{"id":"a","count":5}"#, r#"{"field":-7,"count":5}"#, "1", r#"{"deep":{},"field":-7}"#];
    assert_eq!(listener.payloads(), expected);
}

/// A result is not below the floor. A transaction that is committed again has other results.
pub async fn a_repeated_transaction_carries_its_own_results<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let listener = fixture.join().await;
    let count = fixture.key("count");
    fixture.change([add(&count, 2)]).await;
    let less = Mutation::Add { key: count.clone(), delta: -1, floor: Some(0) };
    let twice = fixture.transaction().mutate(less.clone()).mutate(less);
    let transaction = twice.publish(durable("{}")).with_result("first", 0).with_result("second", 1);
    for expected in [[1, 0], [0, 0]] {
        assert_eq!(fixture.commit(transaction.clone()).await, Outcome::Committed(expected.to_vec()));
    }
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), [r#"{"first":1,"second":0}"#, r#"{"first":0,"second":0}"#]);
}

/// Also of a payload with many members or with unusual names, and of a number that a double does not hold exactly.
pub async fn a_replay_has_the_results<H: Harness>(harness: &H) {
    // One that a double does not hold, and one that is shorter with an exponent.
    replay_of(harness, (1 << 53) + 1).await;
    replay_of(harness, 200_000_000).await;
}

async fn replay_of<H: Harness>(harness: &H, sum: i64) {
    let fixture = Fixture::new(harness);
    let since = fixture.follow().await;
    let listener = fixture.join().await;
    let members = |count: u32| (0..count).map(|number| format!("\"m{number}\":{number}")).collect::<Vec<_>>().join(",");
    let all = [r#""id":"a","text":"\"}""#.to_owned(), r#""a b":{"c":[1]}"#.to_owned(), members(31), members(40)];
    let counted = fixture.transaction().mutate(add(&fixture.key("count"), sum));
    let publish = |transaction: Transaction, members: &String| {
        transaction.publish(durable(&format!("{{{members}}}"))).with_result("sum", 0).with_result("again", 0)
    };
    let outcome = fixture.commit(all.iter().fold(counted, publish)).await;
    assert_eq!(outcome, Outcome::Committed(vec![sum]));
    let expected = all.map(|members| format!("{{{members},\"sum\":{sum},\"again\":{sum}}}"));
    let Replay::Events(events) = fixture.replay(&since).await else { panic!("no event was missed") };
    assert_eq!(events.iter().map(|event| event.payload.to_string()).collect::<Vec<_>>(), expected);
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), expected);
}

/// The transactions differ in nothing but their keys.
pub async fn transactions_of_one_call_carry_their_own_results<H: Harness>(harness: &H) {
    let fixtures = [Fixture::new(harness), Fixture::new(harness), Fixture::new(harness)];
    let mut listeners = Vec::new();
    for (number, fixture) in (1..).zip(&fixtures) {
        fixture.follow().await;
        fixture.change([add(&fixture.key("count"), number)]).await;
        listeners.push(fixture.join().await);
    }
    let count = |fixture: &Fixture<'_, H>| {
        let counted = fixture.transaction().mutate(add(&fixture.key("count"), 10));
        counted.publish(durable(r#"{"id":"a"}"#)).with_result("count", 0)
    };
    let outcomes = harness.store().commit(fixtures.iter().map(count).collect()).await.expect("all are valid");
    assert_eq!(outcomes, [11, 12, 13].map(|sum| Outcome::Committed(vec![sum])));
    harness.wait_for_deliveries().await;
    let payloads: Vec<String> = listeners.iter().flat_map(|listener| listener.payloads()).collect();
    assert_eq!(payloads, [11, 12, 13].map(|sum| format!("{{\"id\":\"a\",\"count\":{sum}}}")));
}

/// This holds for a check that refuses the transaction, and for a key of another type.
pub async fn a_transaction_without_results_publishes_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let listener = fixture.join().await;
    let text = fixture.key("text");
    fixture.change([set(&text, "text", None)]).await;
    let carrying = |item: &str| {
        fixture.transaction().mutate(add(&fixture.key(item), 1)).publish(durable("{}")).with_result("sum", 0)
    };
    let refused = carrying("count").check(Check::Absent(text.clone()));
    assert_eq!(fixture.commit(refused).await, Outcome::Refused(0));
    let outcome = fixture.commit(carrying("text")).await;
    assert!(is_wrong_type(&outcome), "{outcome:?}");
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), [""; 0]);
    assert!(fixture.position().await.without_feed_since().is_some(), "nothing was published");
}
