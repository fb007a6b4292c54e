//! Who hears what, and in which order.

use super::Harness;
use super::kit::{Scene, durable, ephemeral};
use crate::limits::{CONTENT_BYTES_MAX, EVENT_NAME_BYTES_MAX};
use crate::port::{Bus, Event, KeyValue, PubSub, Publication};
use crate::testing::task::{BoxFuture, join_all, yield_now};

/// Durable or not, from a transaction or not.
pub async fn a_joined_subscriber_hears_everything_in_order<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.publish(&[durable("before")]).await;
    let listener = scene.join().await;
    scene.publish(&[durable("1"), ephemeral("2")]).await;
    scene.commit(scene.transaction().publish(ephemeral("3")).publish(durable("4"))).await;
    scene.publish(&[durable("5")]).await;
    harness.settle().await;
    assert_eq!(listener.payloads(), ["1", "2", "3", "4", "5"]);
    let offsets: Vec<_> = listener.heard().into_iter().map(|(_, event)| event.position.map(|at| at.offset)).collect();
    assert_eq!(offsets, [Some(2), None, None, Some(3), Some(4)]);
    assert_eq!(listener.heard()[4].1.position, Some(scene.position().await));
    assert!(listener.heard().iter().all(|(user, _)| *user == scene.user));
}

/// Whatever a payload is made of.
pub async fn events_arrive_unchanged<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let listener = scene.join().await;
    let large = format!("\"{}\"", "ü".repeat(CONTENT_BYTES_MAX / 2));
    let payloads = ["{\"type\":\"x\",\"epoch\":\"y\"}", "\"\\u0000 \\n 😀 \u{2028}\"", " [ ] ", "null", &large];
    let name = "n".repeat(EVENT_NAME_BYTES_MAX);
    for durable in [true, false] {
        let event = |payload: &str| Event { name: name.as_str().into(), payload: payload.into(), durable };
        scene.publish(&payloads.map(event)).await;
    }
    harness.settle().await;
    assert_eq!(listener.payloads(), [payloads, payloads].concat());
    assert!(listener.heard().iter().all(|(_, event)| *event.name == name));
}

/// A publication is for one user.
pub async fn others_hear_nothing<H: Harness>(harness: &H) {
    let scenes: Vec<_> = (0..3).map(|_| Scene::new(harness)).collect();
    let (first, second) = (scenes[0].join().await, scenes[1].join().await);
    let publication = |index: usize, payload: &str| Publication { user: scenes[index].user, event: durable(payload) };
    let mixed = vec![publication(0, "1"), publication(1, "2"), publication(2, "3"), publication(0, "4")];
    harness.store().publish(mixed).await.unwrap();
    harness.settle().await;
    assert_eq!(first.payloads(), ["1", "4"]);
    assert_eq!(second.payloads(), ["2"]);
}

/// Leaving twice, or without having joined, does no harm.
pub async fn who_left_hears_nothing<H: Harness>(harness: &H) {
    let (scene, stranger) = (Scene::new(harness), Scene::new(harness));
    let listener = scene.join().await;
    scene.publish(&[durable("1")]).await;
    harness.settle().await;
    scene.store().leave(scene.user).await;
    scene.publish(&[durable("2")]).await;
    harness.settle().await;
    assert_eq!(listener.payloads(), ["1"]);
    scene.store().leave(scene.user).await;
    stranger.store().leave(stranger.user).await;
    let again = scene.join().await;
    scene.publish(&[durable("3")]).await;
    harness.settle().await;
    assert_eq!(again.payloads(), ["3"]);
}

/// One host, one subscriber.
pub async fn joining_again_replaces_the_subscriber<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let first = scene.join().await;
    scene.publish(&[durable("1")]).await;
    harness.settle().await;
    let second = scene.join().await;
    scene.publish(&[durable("2")]).await;
    harness.settle().await;
    assert_eq!((first.payloads(), second.payloads()), (vec!["1".to_owned()], vec!["2".to_owned()]));
}

/// Nobody sees a later place first.
pub async fn concurrent_publications_arrive_in_the_order_of_their_places<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let listener = scene.join().await;
    let writer = |number: usize| {
        let scene = &scene;
        let future: BoxFuture<'_, ()> = Box::pin(async move {
            for _ in 0..10 {
                if number.is_multiple_of(2) {
                    scene.publish(&[durable("0")]).await;
                } else {
                    let transaction = scene.transaction().publish(durable("0"));
                    scene.store().commit(vec![transaction]).await.unwrap();
                }
                yield_now().await;
            }
        });
        future
    };
    join_all((0..8).map(writer).collect()).await;
    harness.settle().await;
    let offsets = listener.heard().into_iter().map(|(_, event)| event.position.unwrap().offset);
    assert_eq!(offsets.collect::<Vec<_>>(), (1..=80).collect::<Vec<_>>());
}
