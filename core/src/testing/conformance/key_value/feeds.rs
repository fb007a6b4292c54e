//! Places, replays and gaps.

use super::Harness;
use super::kit::{Scene, add, durable, ephemeral, is_wrong_type, set_field};
use crate::feed::Position;
use crate::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use crate::port::{Check, Feeds, Outcome, Replay};

/// Without gaps, whichever way it was published.
pub async fn a_durable_publication_takes_the_next_place<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let start = scene.position().await;
    assert!(start.nowhere_since().is_some() && start.offset == 0, "{start}");
    let step = |payload: &str| scene.transaction().mutate(add(&scene.key("n"), 1)).publish(durable(payload));
    assert_eq!(scene.commit(step("1").publish(durable("2"))).await, Outcome::Committed(vec![1]));
    scene.publish(&[durable("3")]).await;
    assert_eq!(scene.commit(step("4")).await, Outcome::Committed(vec![2]));
    let newest = scene.position().await;
    assert_eq!(newest.offset, 4);
    let Replay::Events(events) = scene.replay(&start).await else { panic!("a whole feed") };
    for (offset, event) in (1..).zip(&events) {
        assert_eq!((&*event.name, &*event.payload), ("case.durable", &*format!("{offset}")));
        assert_eq!(event.position, Some(Position { epoch: newest.epoch.clone(), offset }));
    }
    assert_eq!(events.len(), 4);
    for offset in 0..=4 {
        let since = Position { epoch: newest.epoch.clone(), offset };
        assert_eq!(scene.offsets_after(&since).await, Some((offset + 1..=4).collect()), "{since}");
    }
}

/// And is never replayed.
pub async fn an_ephemeral_publication_takes_no_place<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.publish(&[ephemeral("1")]).await;
    assert!(scene.position().await.nowhere_since().is_some(), "it begins no feed");
    scene.publish(&[durable("2"), ephemeral("3"), durable("4")]).await;
    scene.commit(scene.transaction().publish(ephemeral("5"))).await;
    let newest = scene.position().await;
    assert_eq!(newest.offset, 2);
    let Replay::Events(events) = scene.replay(&Position { offset: 0, ..newest }).await else { panic!("a feed") };
    let payloads: Vec<_> = events.iter().map(|event| &*event.payload).collect();
    assert_eq!(payloads, ["2", "4"]);
}

/// Positions come in the order asked.
pub async fn users_have_feeds_of_their_own<H: Harness>(harness: &H) {
    let scenes: Vec<_> = (0..5).map(|_| Scene::new(harness)).collect();
    for (number, scene) in scenes.iter().enumerate() {
        for _ in 0..number {
            scene.publish(&[durable("0")]).await;
        }
    }
    let mut users: Vec<_> = scenes.iter().rev().map(|scene| scene.user).collect();
    users.push(scenes[3].user);
    let positions = harness.store().positions(&users).await.unwrap();
    let offsets: Vec<_> = positions.iter().map(|position| position.offset).collect();
    assert_eq!(offsets, [4, 3, 2, 1, 0, 3]);
    assert_eq!(harness.store().positions(&[]).await, Ok(vec![]));
}

/// Neither by a refused transaction nor by one that fails.
pub async fn what_did_not_happen_is_not_published<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("n");
    let refused = scene.transaction().check(Check::Present(key.clone())).publish(durable("1"));
    assert_eq!(scene.commit(refused).await, Outcome::Refused(0));
    let failed = scene.transaction().mutate(add(&key, 1)).mutate(set_field(&key, "f", "1")).publish(durable("1"));
    assert!(is_wrong_type(&scene.commit(failed).await));
    assert!(scene.position().await.nowhere_since().is_some());
    scene.publish(&[durable("1")]).await;
    assert_eq!(scene.position().await.offset, 1, "no place was used up");
}

/// Epochs are short, plain, and never look like nowhere.
pub async fn a_position_outlives_its_text<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    for _ in 0..2 {
        let position = scene.position().await;
        assert_eq!(position.to_string().parse(), Ok(position));
        scene.publish(&[durable("1")]).await;
    }
    assert_eq!(scene.position().await.nowhere_since(), None);
}

/// Who is further behind gets nothing in part.
pub async fn a_feed_keeps_the_newest_256<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let start = scene.position().await;
    let events: Vec<_> = (1..=FEED_EVENTS_MAX).map(|number| durable(&number.to_string())).collect();
    scene.publish(&events).await;
    let total = FEED_EVENTS_MAX as u64;
    assert_eq!(scene.offsets_after(&start).await, Some((1..=total).collect()), "just full");
    scene.publish(&[durable("one"), durable("more")]).await;
    let newest = scene.position().await;
    assert_eq!(newest.offset, total + 2);
    let after = async |offset| scene.offsets_after(&Position { offset, ..newest.clone() }).await;
    assert_eq!(after(2).await, Some((3..=total + 2).collect()));
    assert_eq!(after(1).await, None);
    assert_eq!(after(0).await, None);
    assert_eq!(scene.offsets_after(&start).await, None, "nowhere stands before the first");
}

/// An epoch that was never the feed's, and a place that nobody reached yet.
pub async fn a_position_that_the_feed_does_not_know_is_a_gap<H: Harness>(harness: &H) {
    let (scene, other) = (Scene::new(harness), Scene::new(harness));
    let foreign = Position { epoch: "zzz".into(), offset: 0 };
    assert_eq!(scene.replay(&foreign).await, Replay::Gap, "there is no feed");
    scene.publish(&[durable("1")]).await;
    other.publish(&[durable("1")]).await;
    assert_eq!(scene.replay(&foreign).await, Replay::Gap);
    assert_eq!(scene.replay(&Position { offset: 1, ..foreign }).await, Replay::Gap);
    let newest = scene.position().await;
    assert_eq!(scene.replay(&Position { offset: 2, ..newest.clone() }).await, Replay::Gap);
    assert_eq!(scene.replay(&Position { offset: u64::MAX, ..newest.clone() }).await, Replay::Gap);
    let others = other.position().await;
    assert!(others.epoch == newest.epoch || scene.replay(&others).await == Replay::Gap);
}

/// Somebody who looked before the feed began misses nothing of it.
pub async fn nowhere_replays_a_whole_feed_or_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let start = scene.position().await;
    assert_eq!(scene.replay(&start).await, Replay::Events(vec![]));
    harness.advance(5).await;
    let later = scene.position().await;
    assert_ne!(start, later, "nowhere remembers its moment");
    scene.publish(&[durable("1"), durable("2")]).await;
    assert_eq!(scene.offsets_after(&start).await, Some(vec![1, 2]));
    assert_eq!(scene.offsets_after(&later).await, Some(vec![1, 2]));
}

/// A feed could have begun and ended since.
pub async fn nowhere_is_a_gap_when_it_is_too_long_ago<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let ancient = Position { epoch: "n1".into(), offset: 0 };
    assert_eq!(scene.replay(&ancient).await, Replay::Gap, "there is no feed now");
    scene.publish(&[durable("1")]).await;
    assert_eq!(scene.replay(&ancient).await, Replay::Gap);
    if harness.advance_max_ms() > FEED_TTL_MS {
        let quiet = Scene::new(harness);
        let start = quiet.position().await;
        harness.advance(FEED_TTL_MS).await;
        assert_eq!(quiet.replay(&start).await, Replay::Gap);
    }
}

/// The next one is another feed.
pub async fn a_feed_ends_after_its_last_durable_event<H: Harness>(harness: &H) {
    if harness.advance_max_ms() < FEED_TTL_MS {
        return;
    }
    let scene = Scene::new(harness);
    scene.publish(&[durable("1")]).await;
    let first = scene.position().await;
    harness.advance(FEED_TTL_MS / 2).await;
    scene.publish(&[durable("2")]).await;
    harness.advance(FEED_TTL_MS / 2).await;
    assert_eq!(scene.offsets_after(&first).await, Some(vec![2]), "every durable event prolongs it");
    scene.publish(&[ephemeral("3")]).await;
    harness.advance(FEED_TTL_MS / 2).await;
    assert_eq!(scene.replay(&first).await, Replay::Gap);
    assert!(scene.position().await.nowhere_since().is_some());
    scene.publish(&[durable("4")]).await;
    let second = scene.position().await;
    assert_eq!(second.offset, 1);
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(scene.replay(&first).await, Replay::Gap);
}
