//! Positions, replays and gaps.

use super::Harness;
use super::fixture::{Fixture, add, durable, ephemeral, is_wrong_type, set_field};
use crate::feed::Position;
use crate::limits::{FEED_EVENTS_MAX, FEED_TTL_MS};
use crate::port::{Check, Feeds, Outcome, Replay};

/// Offsets have no gaps, with and without a transaction.
pub async fn a_durable_publication_takes_the_next_offset<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let start = fixture.position().await;
    assert!(start.without_feed_since().is_some() && start.offset == 0, "{start}");
    let change = |payload: &str| fixture.transaction().mutate(add(&fixture.key("n"), 1)).publish(durable(payload));
    assert_eq!(fixture.commit(change("1").publish(durable("2"))).await, Outcome::Committed(vec![1]));
    fixture.publish(&[durable("3")]).await;
    assert_eq!(fixture.commit(change("4")).await, Outcome::Committed(vec![2]));
    let newest = fixture.position().await;
    assert_eq!(newest.offset, 4);
    let Replay::Events(events) = fixture.replay(&start).await else { panic!("expected the whole feed") };
    for (offset, event) in (1..).zip(&events) {
        assert_eq!((&*event.name, &*event.payload), ("case.durable", &*format!("{offset}")));
        assert_eq!(event.position, Some(Position { epoch: newest.epoch.clone(), offset }));
    }
    assert_eq!(events.len(), 4);
    for offset in 0..=4 {
        let since = Position { epoch: newest.epoch.clone(), offset };
        assert_eq!(fixture.offsets_after(&since).await, Some((offset + 1..=4).collect()), "{since}");
    }
}

/// It is never replayed.
pub async fn an_ephemeral_publication_takes_no_offset<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    fixture.publish(&[ephemeral("1")]).await;
    assert!(fixture.position().await.without_feed_since().is_some(), "it does not begin a feed");
    fixture.publish(&[durable("2"), ephemeral("3"), durable("4")]).await;
    fixture.commit(fixture.transaction().publish(ephemeral("5"))).await;
    let newest = fixture.position().await;
    assert_eq!(newest.offset, 2);
    let Replay::Events(events) = fixture.replay(&Position { offset: 0, ..newest }).await else {
        panic!("expected a feed")
    };
    let payloads: Vec<_> = events.iter().map(|event| &*event.payload).collect();
    assert_eq!(payloads, ["2", "4"]);
}

/// Positions are in the order of the users.
pub async fn each_user_has_a_separate_feed<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..5).map(|_| Fixture::new(harness)).collect();
    for (number, fixture) in fixtures.iter().enumerate() {
        fixture.follow().await;
        for _ in 0..number {
            fixture.publish(&[durable("0")]).await;
        }
    }
    let mut users: Vec<_> = fixtures.iter().rev().map(|fixture| fixture.user).collect();
    users.push(fixtures[3].user);
    let positions = harness.store().positions(&users).await.unwrap();
    let offsets: Vec<_> = positions.iter().map(|position| position.offset).collect();
    assert_eq!(offsets, [4, 3, 2, 1, 0, 3]);
    assert_eq!(harness.store().positions(&[]).await, Ok(vec![]));
}

/// This holds for refused and for failed transactions.
pub async fn a_transaction_that_is_not_committed_publishes_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let key = fixture.key("n");
    let refused = fixture.transaction().check(Check::Present(key.clone())).publish(durable("1"));
    assert_eq!(fixture.commit(refused).await, Outcome::Refused(0));
    let failed = fixture.transaction().mutate(add(&key, 1)).mutate(set_field(&key, "f", "1")).publish(durable("1"));
    assert!(is_wrong_type(&fixture.commit(failed).await));
    assert!(fixture.position().await.without_feed_since().is_some());
    fixture.publish(&[durable("1")]).await;
    assert_eq!(fixture.position().await.offset, 1, "no offset was used");
}

/// Epochs are short and plain, and differ from those of positions without a feed.
pub async fn a_position_survives_its_text<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    for _ in 0..2 {
        let position = fixture.position().await;
        assert_eq!(position.to_string().parse(), Ok(position));
        fixture.publish(&[durable("1")]).await;
    }
    assert_eq!(fixture.position().await.without_feed_since(), None);
}

/// A reader who is further behind never receives only some of the events.
pub async fn a_feed_keeps_the_newest_256<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let start = fixture.position().await;
    let events: Vec<_> = (1..=FEED_EVENTS_MAX).map(|number| durable(&number.to_string())).collect();
    fixture.publish(&events).await;
    let total = FEED_EVENTS_MAX as u64;
    assert_eq!(fixture.offsets_after(&start).await, Some((1..=total).collect()), "the feed is exactly full");
    fixture.publish(&[durable("one"), durable("more")]).await;
    let newest = fixture.position().await;
    assert_eq!(newest.offset, total + 2);
    let after = async |offset| fixture.offsets_after(&Position { offset, ..newest.clone() }).await;
    assert_eq!(after(2).await, Some((3..=total + 2).collect()));
    assert_eq!(after(1).await, None);
    assert_eq!(after(0).await, None);
    assert_eq!(fixture.offsets_after(&start).await, None, "a position without a feed is before the first event");
}

/// An epoch that the feed never had, and an offset that was not used yet.
pub async fn a_position_unknown_to_the_feed_is_a_gap<H: Harness>(harness: &H) {
    let (fixture, other) = (Fixture::new(harness).followed().await, Fixture::new(harness).followed().await);
    let foreign = Position { epoch: "zzz".into(), offset: 0 };
    assert_eq!(fixture.replay(&foreign).await, Replay::Gap, "the user has no feed");
    fixture.publish(&[durable("1")]).await;
    other.publish(&[durable("1")]).await;
    assert_eq!(fixture.replay(&foreign).await, Replay::Gap);
    assert_eq!(fixture.replay(&Position { offset: 1, ..foreign }).await, Replay::Gap);
    let newest = fixture.position().await;
    assert_eq!(fixture.replay(&Position { offset: 2, ..newest.clone() }).await, Replay::Gap);
    assert_eq!(fixture.replay(&Position { offset: u64::MAX, ..newest.clone() }).await, Replay::Gap);
    let others = other.position().await;
    assert!(others.epoch == newest.epoch || fixture.replay(&others).await == Replay::Gap);
}

/// A reader who connected before the feed began misses none of its events.
pub async fn a_position_without_a_feed_replays_a_whole_feed_or_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let start = fixture.position().await;
    assert_eq!(fixture.replay(&start).await, Replay::Events(vec![]));
    harness.advance(5).await;
    let later = fixture.position().await;
    assert_ne!(start, later, "the position contains its time");
    fixture.publish(&[durable("1"), durable("2")]).await;
    assert_eq!(fixture.offsets_after(&start).await, Some(vec![1, 2]));
    assert_eq!(fixture.offsets_after(&later).await, Some(vec![1, 2]));
}

/// A feed could have begun and expired since.
pub async fn an_old_position_without_a_feed_is_a_gap<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let old = Position { epoch: "n1".into(), offset: 0 };
    assert_eq!(fixture.replay(&old).await, Replay::Gap, "the user has no feed now");
    fixture.publish(&[durable("1")]).await;
    assert_eq!(fixture.replay(&old).await, Replay::Gap);
    if harness.advance_max_ms() > FEED_TTL_MS {
        let unused = Fixture::new(harness).followed().await;
        let start = unused.position().await;
        harness.advance(FEED_TTL_MS).await;
        assert_eq!(unused.replay(&start).await, Replay::Gap);
    }
}

/// The next durable event begins another feed.
pub async fn a_feed_expires_after_its_last_durable_event<H: Harness>(harness: &H) {
    if harness.advance_max_ms() < FEED_TTL_MS {
        return;
    }
    let fixture = Fixture::new(harness).followed().await;
    fixture.publish(&[durable("1")]).await;
    let first = fixture.position().await;
    harness.advance(FEED_TTL_MS / 2).await;
    fixture.follow().await;
    fixture.publish(&[durable("2")]).await;
    harness.advance(FEED_TTL_MS / 2).await;
    assert_eq!(fixture.offsets_after(&first).await, Some(vec![2]), "every durable event prolongs the feed");
    fixture.publish(&[ephemeral("3")]).await;
    harness.advance(FEED_TTL_MS / 2).await;
    assert_eq!(fixture.replay(&first).await, Replay::Gap);
    assert!(fixture.position().await.without_feed_since().is_some());
    fixture.follow().await;
    fixture.publish(&[durable("4")]).await;
    let second = fixture.position().await;
    assert_eq!(second.offset, 1);
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(fixture.replay(&first).await, Replay::Gap);
}
