//! Which subscriber receives which events, and in which order.

use super::Harness;
use super::fixture::{Fixture, durable, ephemeral};
use crate::limits::{CONTENT_BYTES_MAX, EVENT_NAME_BYTES_MAX};
use crate::port::{Bus, Event, KeyValue, PubSub, Publication};
use crate::testing::task::{BoxFuture, join_all, yield_now};

/// This holds for durable and ephemeral events, with and without a transaction.
pub async fn a_joined_subscriber_receives_everything_in_order<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    fixture.publish(&[durable("before")]).await;
    let listener = fixture.join().await;
    fixture.publish(&[durable("1"), ephemeral("2")]).await;
    fixture.commit(fixture.transaction().publish(ephemeral("3")).publish(durable("4"))).await;
    fixture.publish(&[durable("5")]).await;
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), ["1", "2", "3", "4", "5"]);
    let offsets: Vec<_> =
        listener.received().into_iter().map(|(_, event)| event.position.map(|at| at.offset)).collect();
    assert_eq!(offsets, [Some(2), None, None, Some(3), Some(4)]);
    assert_eq!(listener.received()[4].1.position, Some(fixture.position().await));
    assert!(listener.received().iter().all(|(user, _)| *user == fixture.user));
}

/// This holds for every payload.
pub async fn events_arrive_unchanged<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let listener = fixture.join().await;
    let large = format!("\"{}\"", "ü".repeat(CONTENT_BYTES_MAX / 2));
    let payloads = ["{\"type\":\"x\",\"epoch\":\"y\"}", "\"\\u0000 \\n 😀 \u{2028}\"", " [ ] ", "null", &large];
    let name = "n".repeat(EVENT_NAME_BYTES_MAX);
    for durable in [true, false] {
        let event = |payload: &str| Event { name: name.as_str().into(), payload: payload.into(), durable };
        fixture.publish(&payloads.map(event)).await;
    }
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), [payloads, payloads].concat());
    assert!(listener.received().iter().all(|(_, event)| *event.name == name));
}

/// A publication reaches one user only.
pub async fn other_users_receive_nothing<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..3).map(|_| Fixture::new(harness)).collect();
    let (first, second) = (fixtures[0].join().await, fixtures[1].join().await);
    let publication = |index: usize, payload: &str| Publication { user: fixtures[index].user, event: durable(payload) };
    let mixed = vec![publication(0, "1"), publication(1, "2"), publication(2, "3"), publication(0, "4")];
    harness.store().publish(mixed).await.unwrap();
    harness.wait_for_deliveries().await;
    assert_eq!(first.payloads(), ["1", "4"]);
    assert_eq!(second.payloads(), ["2"]);
}

/// Leaving twice, or without having joined, has no effect.
pub async fn a_user_that_was_left_receives_nothing<H: Harness>(harness: &H) {
    let (fixture, not_joined) = (Fixture::new(harness), Fixture::new(harness));
    let listener = fixture.join().await;
    fixture.publish(&[durable("1")]).await;
    harness.wait_for_deliveries().await;
    fixture.store().leave(fixture.user).await;
    fixture.publish(&[durable("2")]).await;
    harness.wait_for_deliveries().await;
    assert_eq!(listener.payloads(), ["1"]);
    fixture.store().leave(fixture.user).await;
    not_joined.store().leave(not_joined.user).await;
    let again = fixture.join().await;
    fixture.publish(&[durable("3")]).await;
    harness.wait_for_deliveries().await;
    assert_eq!(again.payloads(), ["3"]);
}

/// A host has one subscriber for each user.
pub async fn joining_again_replaces_the_subscriber<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let first = fixture.join().await;
    fixture.publish(&[durable("1")]).await;
    harness.wait_for_deliveries().await;
    let second = fixture.join().await;
    fixture.publish(&[durable("2")]).await;
    harness.wait_for_deliveries().await;
    assert_eq!((first.payloads(), second.payloads()), (vec!["1".to_owned()], vec!["2".to_owned()]));
}

/// No subscriber receives a later offset first.
pub async fn concurrent_publications_arrive_in_the_order_of_their_offsets<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let listener = fixture.join().await;
    let writer = |number: usize| {
        let fixture = &fixture;
        let future: BoxFuture<'_, ()> = Box::pin(async move {
            for _ in 0..10 {
                if number.is_multiple_of(2) {
                    fixture.publish(&[durable("0")]).await;
                } else {
                    let transaction = fixture.transaction().publish(durable("0"));
                    fixture.store().commit(vec![transaction]).await.unwrap();
                }
                yield_now().await;
            }
        });
        future
    };
    join_all((0..8).map(writer).collect()).await;
    harness.wait_for_deliveries().await;
    let offsets = listener.received().into_iter().map(|(_, event)| event.position.unwrap().offset);
    assert_eq!(offsets.collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
}
