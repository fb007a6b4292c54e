//! When keys end. Spans are short enough to be waited for where time cannot be moved.

use super::Harness;
use super::kit::{Scene, add, bytes, delete_field, range, set, set_field};
use crate::key::{Key, Space};
use crate::port::{Check, Mutation, Query, Value};

const ITEMS: [&str; 4] = ["text", "number", "hash", "ordered"];
/// Long enough for a slow adapter to see the key first.
const SHORT_MS: u64 = 400;
/// Nothing that lives so long ends within a case.
const LONG_MS: u64 = 600_000;

async fn one_of_each_type_ending_soon<H: Harness>(scene: &Scene<'_, H>) {
    scene.one_of_each_type().await;
    scene.change(ITEMS.map(|item| Mutation::Expire(scene.key(item), SHORT_MS))).await;
    scene.change([set(&scene.key("text"), "one", Some(SHORT_MS))]).await;
}

/// By no query and by no check.
pub async fn what_has_expired_is_never_seen<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    one_of_each_type_ending_soon(&scene).await;
    for item in ITEMS {
        assert!(scene.exists(item).await, "{item} lives");
    }
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(!scene.exists(item).await, "{item}");
        assert_eq!(scene.ask(Query::TimeToLive(scene.key(item))).await, Value::Missing, "{item}");
        assert!(scene.holds(Check::Absent(scene.key(item))).await, "{item}");
        assert!(!scene.holds(Check::Present(scene.key(item))).await, "{item}");
    }
    let [text, number, hash, ordered] = ITEMS.map(|item| scene.key(item));
    assert_eq!(scene.ask(Query::Bytes(text.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::Counter(number.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::Fields(hash.clone())).await, Value::Missing);
    let named = Query::NamedFields(hash.clone(), ["field".into()].into());
    assert_eq!(scene.ask(named).await, Value::NamedFields(vec![None]));
    assert_eq!(scene.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(vec![]));
    assert!(!scene.holds(Check::Equals(text, b"one".to_vec())).await);
    assert!(scene.holds(Check::FieldEquals(hash.clone(), "field".into(), None)).await);
    assert!(scene.holds(Check::FieldBelow(hash, "field".into(), 0)).await);
    assert!(scene.holds(Check::ScoreEquals(ordered, "member".into(), None)).await);
}

/// No content, no type and no expiry.
pub async fn what_has_expired_leaves_nothing_behind<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    one_of_each_type_ending_soon(&scene).await;
    harness.advance(SHORT_MS).await;
    let [text, number, hash, ordered] = ITEMS.map(|item| scene.key(item));
    let revive = [Mutation::Expire(text.clone(), LONG_MS), Mutation::Persist(number.clone())];
    scene.change(revive).await;
    assert!(!scene.exists("text").await && !scene.exists("number").await, "the dead do not come back");
    scene.change([delete_field(&hash, "field"), Mutation::OrderedRemove(ordered.clone(), "member".into())]).await;
    assert_eq!(scene.change([add(&number, 5)]).await, [5], "counts from zero again");
    scene
        .change([
            set_field(&hash, "other", "two"),
            Mutation::OrderedPut(ordered.clone(), "other".into(), 2),
            set_field(&text, "now", "a hash"),
        ])
        .await;
    assert_eq!(scene.ask(Query::Fields(hash)).await, Value::Fields(vec![("other".into(), "two".into())]));
    assert_eq!(scene.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(vec![("other".into(), 2)]));
    for item in ITEMS {
        assert_eq!(scene.ask(Query::TimeToLive(scene.key(item))).await, Value::TimeToLive(None), "{item}");
    }
}

/// Never more than was given, never zero.
pub async fn the_time_to_live_counts_down<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("text");
    scene.change([set(&key, "one", Some(LONG_MS))]).await;
    let left = async || match scene.ask(Query::TimeToLive(key.clone())).await {
        Value::TimeToLive(Some(left_ms)) => left_ms,
        other => panic!("the key ends: {other:?}"),
    };
    let before = left().await;
    assert!(before <= LONG_MS && before > LONG_MS / 2, "{before}");
    harness.advance(50).await;
    let after = left().await;
    assert!(after <= before - 50 && after > LONG_MS / 2, "{before} then {after}");
}

/// Also when the write only removes.
pub async fn writing_keeps_the_expiry_except_set<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let [text, number, hash, ordered] = ITEMS.map(|item| scene.key(item));
    scene.change([set_field(&hash, "count", "1"), Mutation::OrderedPut(ordered.clone(), "other".into(), 1)]).await;
    scene.change(ITEMS.map(|item| Mutation::Expire(scene.key(item), SHORT_MS))).await;
    scene
        .change([
            add(&number, 1),
            set_field(&hash, "other", "two"),
            Mutation::AddField(hash.clone(), "count".into(), 1),
            delete_field(&hash, "field"),
            Mutation::OrderedPut(ordered.clone(), "member".into(), 2),
            Mutation::OrderedRemove(ordered.clone(), "other".into()),
            set(&text, "two", None),
        ])
        .await;
    harness.advance(SHORT_MS).await;
    for item in ["number", "hash", "ordered"] {
        assert!(!scene.exists(item).await, "{item}");
    }
    assert_eq!(scene.ask(Query::Bytes(text.clone())).await, bytes("two"), "set without an end has none");
    scene.change([set(&text, "three", Some(LONG_MS)), set(&text, "four", Some(SHORT_MS))]).await;
    harness.advance(SHORT_MS).await;
    assert!(!scene.exists("text").await, "the last set counts");
}

/// Later, earlier, and only where there is something.
pub async fn expire_moves_the_end_of_every_type<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    one_of_each_type_ending_soon(&scene).await;
    scene.change(ITEMS.map(|item| Mutation::Expire(scene.key(item), LONG_MS))).await;
    scene.change([Mutation::Expire(scene.key("missing"), LONG_MS)]).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(scene.exists(item).await, "{item} lives longer");
    }
    assert!(!scene.exists("missing").await);
    scene.change(ITEMS.map(|item| Mutation::Expire(scene.key(item), SHORT_MS))).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(!scene.exists(item).await, "{item} ends earlier");
    }
}

/// Of every type; what is missing stays missing.
pub async fn persist_takes_the_expiry_away<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    one_of_each_type_ending_soon(&scene).await;
    scene.change(ITEMS.map(|item| Mutation::Persist(scene.key(item)))).await;
    scene.change([Mutation::Persist(scene.key("missing"))]).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert_eq!(scene.ask(Query::TimeToLive(scene.key(item))).await, Value::TimeToLive(None), "{item}");
    }
    assert!(!scene.exists("missing").await);
}

/// Nor is one whose index has expired.
pub async fn an_expired_counter_is_not_indexed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let index = Key::of_user(Space::UnreadSequence, scene.user);
    scene.change([set_field(&index, "brief", "1"), set_field(&index, "long", "1")]).await;
    scene.change([set(&scene.key("brief"), "7", Some(SHORT_MS)), add(&scene.key("long"), 8)]).await;
    let query = Query::IndexedCounters { index: index.clone(), space: Space::App };
    assert_eq!(scene.ask(query.clone()).await, Value::Counters(vec![("brief".into(), 7), ("long".into(), 8)]));
    harness.advance(SHORT_MS).await;
    assert_eq!(scene.ask(query.clone()).await, Value::Counters(vec![("long".into(), 8)]));
    scene.change([Mutation::Expire(index, SHORT_MS)]).await;
    harness.advance(SHORT_MS).await;
    assert_eq!(scene.ask(query).await, Value::Counters(vec![]));
}
