//! Whose events are kept: those of users who are followed.

use super::Harness;
use super::fixture::{Fixture, add, durable, ephemeral, set};
use crate::key::Key;
use crate::limits::FOLLOWED_TTL_MS;
use crate::port::{Feeds, Mutation, Outcome, Query, Replay, Value};

/// By a transaction and by a plain publication.
pub async fn events_are_kept_while_the_user_is_followed<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let start = fixture.follow().await;
    assert!(start.without_feed_since().is_some() && start.offset == 0, "{start}");
    assert!(matches!(fixture.ask(Query::Presence(Key::followed(fixture.user))).await, Value::Presence(true)));
    fixture.commit(fixture.transaction().publish(durable("1"))).await;
    fixture.publish(&[durable("2")]).await;
    assert_eq!(fixture.offsets_after(&start).await, Some(vec![1, 2]));
    let again = fixture.follow().await;
    assert_eq!(again, fixture.position().await);
    fixture.publish(&[durable("3")]).await;
    assert_eq!(fixture.offsets_after(&again).await, Some(vec![3]));
}

/// So a position in it is answered with a gap, also when somebody follows the user again.
pub async fn an_event_that_is_not_kept_deletes_the_feed<H: Harness>(harness: &H) {
    for in_transaction in [true, false] {
        let fixture = Fixture::new(harness).followed().await;
        fixture.publish(&[durable("1"), durable("2")]).await;
        let known = fixture.position().await;
        assert_eq!(fixture.offsets_after(&known).await, Some(vec![]));
        fixture.change([Mutation::Delete(Key::followed(fixture.user))]).await;
        assert_eq!(fixture.offsets_after(&known).await, Some(vec![]), "nothing was missed yet");
        if in_transaction {
            let change = fixture.transaction().mutate(add(&fixture.key("n"), 1)).publish(durable("3"));
            assert_eq!(fixture.commit(change).await, Outcome::Committed(vec![1]), "the change happens nevertheless");
        } else {
            fixture.publish(&[durable("3")]).await;
        }
        assert!(fixture.position().await.without_feed_since().is_some());
        assert_eq!(fixture.replay(&known).await, Replay::Gap);
        fixture.follow().await;
        fixture.publish(&[durable("4")]).await;
        assert_eq!(fixture.replay(&known).await, Replay::Gap);
        let new = fixture.position().await;
        assert!(new.offset == 1 && new.epoch != known.epoch, "{new} after {known}");
    }
}

/// Whoever is connected in spite of that receives it at once, in order.
pub async fn an_event_that_is_not_kept_is_published_without_a_position<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let listener = fixture.join().await;
    fixture.commit(fixture.transaction().publish(durable("1")).publish(ephemeral("2"))).await;
    fixture.publish(&[durable("3")]).await;
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), ["1", "2", "3"]);
    assert!(listener.received().iter().all(|(_, delivery)| delivery.position.is_none()));
    assert!(fixture.position().await.without_feed_since().is_some());
}

/// A transaction can begin and end that its user is followed.
pub async fn the_state_after_the_mutations_decides<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let followed = Key::followed(fixture.user);
    let begin = fixture.transaction().mutate(set(&followed, "", Some(60_000))).publish(durable("1"));
    assert_eq!(fixture.commit(begin).await, Outcome::Committed(vec![]));
    assert_eq!(fixture.position().await.offset, 1);
    let end = fixture.transaction().mutate(Mutation::Delete(followed)).publish(durable("2"));
    assert_eq!(fixture.commit(end).await, Outcome::Committed(vec![]));
    assert!(fixture.position().await.without_feed_since().is_some());
}

/// It was never kept.
pub async fn an_ephemeral_event_leaves_the_feed_alone<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    fixture.publish(&[durable("1")]).await;
    let known = fixture.position().await;
    fixture.change([Mutation::Delete(Key::followed(fixture.user))]).await;
    fixture.publish(&[ephemeral("2")]).await;
    assert_eq!(fixture.offsets_after(&known).await, Some(vec![]));
}

/// The time to live of the key is that of the documentation.
pub async fn following_again_renews_the_time<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let left = async || match fixture.ask(Query::TimeToLive(Key::followed(fixture.user))).await {
        Value::TimeToLive(Some(left)) => left,
        other => panic!("{other:?}"),
    };
    fixture.change([set(&Key::followed(fixture.user), "", Some(1_000))]).await;
    assert!(left().await <= 1_000);
    fixture.follow().await;
    assert!((FOLLOWED_TTL_MS - 30_000..=FOLLOWED_TTL_MS).contains(&left().await));
}

/// Then a user whom nobody follows has no feed, and a member who is owed nothing needs no transaction that ends one.
pub async fn a_feed_ends_no_later_than_its_user_is_followed<H: Harness>(harness: &H) {
    const SPAN_MS: u64 = 400;
    let fixture = Fixture::new(harness);
    let begin =
        fixture.transaction().mutate(set(&Key::followed(fixture.user), "", Some(SPAN_MS))).publish(durable("1"));
    fixture.commit(begin).await;
    let known = fixture.position().await;
    if known.without_feed_since().is_some() {
        // A slow machine.
        return;
    }
    harness.advance(SPAN_MS).await;
    assert!(fixture.position().await.without_feed_since().is_some());
    assert_eq!(fixture.replay(&known).await, Replay::Gap);
}

/// The same as `positions`.
pub async fn positions_are_in_the_order_of_the_users<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..4).map(|_| Fixture::new(harness)).collect();
    for (number, fixture) in fixtures.iter().enumerate() {
        fixture.follow().await;
        for _ in 0..number {
            fixture.publish(&[durable("0")]).await;
        }
    }
    let users: Vec<_> = fixtures.iter().rev().map(|fixture| fixture.user).collect();
    let positions = harness.store().follow(&users).await.unwrap();
    let offsets: Vec<_> = positions.iter().map(|position| position.offset).collect();
    assert_eq!(offsets, [3, 2, 1, 0]);
    assert_eq!(harness.store().follow(&[]).await, Ok(vec![]));
}
