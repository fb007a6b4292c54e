//! When keys expire. The spans are short, because some adapters can only wait for them.

use super::Harness;
use super::fixture::{Fixture, add, bytes, delete_field, range, set, set_field};
use crate::key::Space;
use crate::port::{Check, Mutation, Query, Value};

const ITEMS: [&str; 4] = ["text", "number", "hash", "ordered"];
/// Long enough that a slow adapter can read the key before it expires.
const SHORT_MS: u64 = 400;
/// A key with this time to live does not expire during a case.
const LONG_MS: u64 = 600_000;

async fn one_of_each_type_with_a_short_ttl<H: Harness>(fixture: &Fixture<'_, H>) {
    fixture.one_of_each_type().await;
    fixture.change(ITEMS.map(|item| Mutation::Expire(fixture.key(item), SHORT_MS))).await;
    fixture.change([set(&fixture.key("text"), "one", Some(SHORT_MS))]).await;
}

/// Neither a query nor a check finds it.
pub async fn an_expired_key_is_never_visible<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    one_of_each_type_with_a_short_ttl(&fixture).await;
    for item in ITEMS {
        assert!(fixture.exists(item).await, "{item} exists");
    }
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(!fixture.exists(item).await, "{item}");
        assert_eq!(fixture.ask(Query::TimeToLive(fixture.key(item))).await, Value::Missing, "{item}");
        assert!(fixture.holds(Check::Absent(fixture.key(item))).await, "{item}");
        assert!(!fixture.holds(Check::Present(fixture.key(item))).await, "{item}");
    }
    let [text, number, hash, ordered] = ITEMS.map(|item| fixture.key(item));
    assert_eq!(fixture.ask(Query::Bytes(text.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::Counter(number.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::Fields(hash.clone())).await, Value::Missing);
    let named = Query::NamedFields(hash.clone(), ["field".into()].into());
    assert_eq!(fixture.ask(named).await, Value::NamedFields(vec![None]));
    assert_eq!(fixture.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(vec![]));
    assert!(!fixture.holds(Check::Equals(text, b"one".to_vec())).await);
    assert!(fixture.holds(Check::FieldEquals(hash.clone(), "field".into(), None)).await);
    assert!(fixture.holds(Check::FieldBelow(hash, "field".into(), 0)).await);
    assert!(fixture.holds(Check::ScoreEquals(ordered, "member".into(), None)).await);
}

/// Neither its content nor its type nor its expiry remains.
pub async fn an_expired_key_leaves_nothing_behind<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    one_of_each_type_with_a_short_ttl(&fixture).await;
    harness.advance(SHORT_MS).await;
    let [text, number, hash, ordered] = ITEMS.map(|item| fixture.key(item));
    let renewals = [Mutation::Expire(text.clone(), LONG_MS), Mutation::Persist(number.clone())];
    fixture.change(renewals).await;
    assert!(!fixture.exists("text").await && !fixture.exists("number").await, "an expired key does not come back");
    fixture.change([delete_field(&hash, "field"), Mutation::OrderedRemove(ordered.clone(), "member".into())]).await;
    assert_eq!(fixture.change([add(&number, 5)]).await, [5], "the counter starts from zero");
    fixture
        .change([
            set_field(&hash, "other", "two"),
            Mutation::OrderedPut(ordered.clone(), "other".into(), 2),
            set_field(&text, "now", "a hash"),
        ])
        .await;
    assert_eq!(fixture.ask(Query::Fields(hash)).await, Value::Fields(vec![("other".into(), "two".into())]));
    assert_eq!(fixture.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(vec![("other".into(), 2)]));
    for item in ITEMS {
        assert_eq!(fixture.ask(Query::TimeToLive(fixture.key(item))).await, Value::TimeToLive(None), "{item}");
    }
}

/// It is never more than the given one, and never zero.
pub async fn the_time_to_live_counts_down<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("text");
    fixture.change([set(&key, "one", Some(LONG_MS))]).await;
    let remaining = async || match fixture.ask(Query::TimeToLive(key.clone())).await {
        Value::TimeToLive(Some(remaining_ms)) => remaining_ms,
        other => panic!("the key expires: {other:?}"),
    };
    let before = remaining().await;
    assert!(before <= LONG_MS && before > LONG_MS / 2, "{before}");
    harness.advance(50).await;
    let after = remaining().await;
    assert!(after <= before - 50 && after > LONG_MS / 2, "{before} then {after}");
}

/// This also holds for a mutation that only removes.
pub async fn writing_keeps_the_expiry_except_set<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let [text, number, hash, ordered] = ITEMS.map(|item| fixture.key(item));
    fixture.change([set_field(&hash, "count", "1"), Mutation::OrderedPut(ordered.clone(), "other".into(), 1)]).await;
    fixture.change(ITEMS.map(|item| Mutation::Expire(fixture.key(item), SHORT_MS))).await;
    fixture
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
        assert!(!fixture.exists(item).await, "{item}");
    }
    assert_eq!(
        fixture.ask(Query::Bytes(text.clone())).await,
        bytes("two"),
        "a value set without a time to live does not expire"
    );
    fixture.change([set(&text, "three", Some(LONG_MS)), set(&text, "four", Some(SHORT_MS))]).await;
    harness.advance(SHORT_MS).await;
    assert!(!fixture.exists("text").await, "the last set decides");
}

/// It can be later or earlier; a missing key stays missing.
pub async fn expire_changes_the_deadline_of_every_type<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    one_of_each_type_with_a_short_ttl(&fixture).await;
    fixture.change(ITEMS.map(|item| Mutation::Expire(fixture.key(item), LONG_MS))).await;
    fixture.change([Mutation::Expire(fixture.key("missing"), LONG_MS)]).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(fixture.exists(item).await, "{item} expires later");
    }
    assert!(!fixture.exists("missing").await);
    fixture.change(ITEMS.map(|item| Mutation::Expire(fixture.key(item), SHORT_MS))).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert!(!fixture.exists(item).await, "{item} expires earlier");
    }
}

/// This holds for every type; a missing key stays missing.
pub async fn persist_removes_the_expiry<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    one_of_each_type_with_a_short_ttl(&fixture).await;
    fixture.change(ITEMS.map(|item| Mutation::Persist(fixture.key(item)))).await;
    fixture.change([Mutation::Persist(fixture.key("missing"))]).await;
    harness.advance(SHORT_MS).await;
    for item in ITEMS {
        assert_eq!(fixture.ask(Query::TimeToLive(fixture.key(item))).await, Value::TimeToLive(None), "{item}");
    }
    assert!(!fixture.exists("missing").await);
}

/// A counter whose index has expired is not indexed either.
pub async fn an_expired_counter_is_not_indexed<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let index = fixture.key("index");
    fixture.change([set_field(&index, "short", "1"), set_field(&index, "long", "1")]).await;
    fixture.change([set(&fixture.key("short"), "7", Some(SHORT_MS)), add(&fixture.key("long"), 8)]).await;
    let query = Query::IndexedCounters { index: index.clone(), space: Space::App };
    assert_eq!(fixture.ask(query.clone()).await, Value::Counters(vec![("long".into(), 8), ("short".into(), 7)]));
    harness.advance(SHORT_MS).await;
    assert_eq!(fixture.ask(query.clone()).await, Value::Counters(vec![("long".into(), 8)]));
    fixture.change([Mutation::Expire(index, SHORT_MS)]).await;
    harness.advance(SHORT_MS).await;
    assert_eq!(fixture.ask(query).await, Value::Counters(vec![]));
}
