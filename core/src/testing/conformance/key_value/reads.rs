//! What queries return.

use super::Harness;
use super::fixture::{Fixture, add, bytes, fields, pairs, range, set, set_field};
use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::port::{Item, KeyValue, Mutation, Query, StoreError, Value};

/// A missing key has an answer of its own.
pub async fn a_missing_key_is_not_zero_and_not_empty<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("nothing");
    assert_eq!(fixture.ask(Query::Bytes(key.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::Counter(key.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::Fields(key.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::TimeToLive(key.clone())).await, Value::Missing);
    assert_eq!(fixture.ask(Query::Presence(key.clone())).await, Value::Presence(false));
    assert_eq!(fixture.ask(range(&key, i64::MIN, i64::MAX, 1)).await, Value::Ordered(vec![]));
    let named = Query::NamedFields(key.clone(), ["a".into(), "b".into()].into());
    assert_eq!(fixture.ask(named).await, Value::NamedFields(vec![None, None]));
    let sequences = Key::of_user(Space::UnreadSequence, fixture.user);
    let indexed = Query::IndexedCounters { index: sequences, space: Space::UnreadConversation };
    assert_eq!(fixture.ask(indexed).await, Value::Counters(vec![]));
    let indexed = Query::IndexedCounters { index: key, space: Space::App };
    assert_eq!(fixture.ask(indexed).await, Value::Counters(vec![]));
    assert_eq!(harness.store().read(vec![]).await, Ok(vec![]));
}

/// Values of every type are read as they were written, in every space.
pub async fn every_query_returns_what_was_written<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    assert_eq!(fixture.ask(Query::Bytes(fixture.key("text"))).await, bytes("one"));
    assert_eq!(fixture.ask(Query::Counter(fixture.key("number"))).await, Value::Counter(1));
    assert_eq!(fixture.ask(Query::Fields(fixture.key("hash"))).await, Value::Fields(pairs(&[("field", "one".into())])));
    let members = fixture.ask(range(&fixture.key("ordered"), 0, 2, 10)).await;
    assert_eq!(members, Value::Ordered(pairs(&[("member", 1)])));
    for item in ["text", "number", "hash", "ordered"] {
        assert!(fixture.exists(item).await, "{item}");
        assert_eq!(fixture.ask(Query::TimeToLive(fixture.key(item))).await, Value::TimeToLive(None), "{item}");
    }
    for space in Space::ALL.into_iter().filter(|space| !space.has_item()) {
        let key = Key::new(space, fixture.owner());
        fixture.change([Mutation::Set(key.clone(), vec![0, 255, 10], None)]).await;
        assert_eq!(fixture.ask(Query::Bytes(key)).await, Value::Bytes(vec![0, 255, 10]), "{space}");
    }
}

/// This holds across owners and types, for any number of queries.
pub async fn answers_are_in_the_order_of_the_queries<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..20).map(|_| Fixture::new(harness)).collect();
    for (number, fixture) in (0..).zip(&fixtures) {
        fixture.change([add(&fixture.key("number"), number)]).await;
    }
    let mut queries: Vec<_> = fixtures.iter().map(|fixture| Query::Counter(fixture.key("number"))).collect();
    queries.extend(fixtures.iter().rev().map(|fixture| Query::Counter(fixture.key("number"))));
    let answers = harness.store().read(queries).await.unwrap();
    let expected: Vec<_> = (0..20).chain((0..20).rev()).map(Value::Counter).collect();
    assert_eq!(answers, expected);
}

/// All fields are sorted by name; named fields are not sorted and may be repeated.
pub async fn fields_are_sorted_and_named_fields_are_in_the_order_asked<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("hash");
    let written = fields(&[("b", "2"), ("ü", ""), ("a", "1"), ("B", "zwei\0")]);
    fixture.change([Mutation::SetFields(key.clone(), written)]).await;
    let sorted = [("B", "zwei\0"), ("a", "1"), ("b", "2"), ("ü", "")].map(|(name, value)| (name, value.to_owned()));
    assert_eq!(fixture.ask(Query::Fields(key.clone())).await, Value::Fields(pairs(&sorted)));
    let names = ["b", "missing", "a", "b", "ü"].map(str::to_owned).to_vec();
    let expected = [Some("2"), None, Some("1"), Some("2"), Some("")].map(|value| value.map(str::to_owned));
    assert_eq!(fixture.ask(Query::NamedFields(key.clone(), names.into())).await, Value::NamedFields(expected.into()));
    assert_eq!(fixture.ask(Query::NamedFields(key, [].into())).await, Value::NamedFields(vec![]));
}

/// Members are sorted by score, then by name.
pub async fn an_ordered_range_is_inclusive_sorted_and_limited<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("ordered");
    let members = [("d", 10), ("b", 5), ("c", 5), ("a", 5), ("low", -1_790_000_000_123), ("high", 1_790_000_000_123)];
    for (member, score) in members {
        fixture.change([Mutation::OrderedPut(key.clone(), member.into(), score)]).await;
    }
    let ask = async |minimum, maximum, limit| match fixture.ask(range(&key, minimum, maximum, limit)).await {
        Value::Ordered(members) => members.into_iter().map(|(member, _)| member).collect::<Vec<_>>().join(" "),
        other => panic!("this is not a range: {other:?}"),
    };
    assert_eq!(ask(i64::MIN, i64::MAX, 1_000).await, "low a b c d high");
    assert_eq!(ask(5, 10, 1_000).await, "a b c d");
    assert_eq!(ask(6, 9, 1_000).await, "");
    assert_eq!(ask(5, 10, 2).await, "a b");
    assert_eq!(ask(10, 5, 1_000).await, "");
    assert_eq!(ask(1_790_000_000_123, 1_790_000_000_123, 1).await, "high");
    assert_eq!(ask(1_790_000_000_124, i64::MAX, 1).await, "");
}

/// Bytes and counters are the same type.
pub async fn a_counter_is_also_its_decimal_text<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.change([add(&fixture.key("number"), -17), set(&fixture.key("text"), "41", None)]).await;
    assert_eq!(fixture.ask(Query::Bytes(fixture.key("number"))).await, bytes("-17"));
    assert_eq!(fixture.counter("text").await, Some(41));
    assert_eq!(fixture.change([add(&fixture.key("text"), 1)]).await, [42]);
    assert_eq!(fixture.ask(Query::Bytes(fixture.key("text"))).await, bytes("42"));
}

/// They are sorted by item. Missing counters, counters of another owner and invalid items are left out.
pub async fn indexed_counters_are_those_named_by_the_hash<H: Harness>(harness: &H) {
    let (fixture, other) = (Fixture::new(harness), Fixture::new(harness));
    let index = Key::of_user(Space::UnreadSequence, fixture.user);
    let ids: Vec<UserId> = (0..3).map(|_| UserId::from_u128(harness.fresh())).collect();
    let counter = |fixture: &Fixture<'_, H>, id: UserId| Key {
        item: Some(id.to_string()),
        ..Key::of_user(Space::UnreadConversation, fixture.user)
    };
    fixture.change([add(&counter(&fixture, ids[0]), 5), add(&counter(&fixture, ids[2]), 0)]).await;
    other.change([add(&counter(&other, ids[1]), 7)]).await;
    let names = [ids[0].to_string(), ids[1].to_string(), ids[0].to_string().to_uppercase() + "X", "no item".into()];
    for field in names {
        fixture.change([set_field(&index, &field, "1")]).await;
    }
    let query = Query::IndexedCounters { index: index.clone(), space: Space::UnreadConversation };
    assert_eq!(fixture.ask(query.clone()).await, Value::Counters(vec![(ids[0].to_string().into(), 5)]));
    fixture.change([set_field(&index, &ids[2].to_string(), "9")]).await;
    let mut both = vec![(Item::from(ids[0].to_string()), 5), (ids[2].to_string().into(), 0)];
    both.sort();
    assert_eq!(fixture.ask(query.clone()).await, Value::Counters(both));
    fixture.change([set(&counter(&fixture, ids[2]), "many", None)]).await;
    assert!(matches!(fixture.read_error(query).await, StoreError::WrongType(_)));
}

/// A valid query in the same call is not answered either.
pub async fn a_query_of_the_wrong_type_fails_the_call<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let [text, number, hash, ordered] = ["text", "number", "hash", "ordered"].map(|item| fixture.key(item));
    let named = |key: &Key| Query::NamedFields(key.clone(), ["field".into()].into());
    let indexed = |key: &Key| Query::IndexedCounters { index: key.clone(), space: Space::App };
    let mut queries = vec![Query::Counter(text.clone())];
    queries.extend([&hash, &ordered].map(|key| Query::Bytes(key.clone())));
    queries.extend([&hash, &ordered].map(|key| Query::Counter(key.clone())));
    queries.extend([&text, &number, &ordered].map(|key| Query::Fields(key.clone())));
    queries.extend([&text, &number, &ordered].map(named));
    queries.extend([&text, &number, &ordered].map(indexed));
    queries.extend([&text, &number, &hash].map(|key| range(key, 0, 1, 1)));
    for query in queries {
        let answer = harness.store().read(vec![Query::Bytes(text.clone()), query.clone()]).await;
        assert!(matches!(answer, Err(StoreError::WrongType(_))), "{query:?}: {answer:?}");
    }
    let without_names = Query::NamedFields(text, [].into());
    assert!(matches!(fixture.read_error(without_names).await, StoreError::WrongType(_)));
}

/// Any other form of a number is plain text.
pub async fn a_number_has_one_text_form<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("text");
    for text in ["", "01", "+1", "-0", " 1", "1 ", "1.0", "1e3", "0x1", "inf", "-inf", "nan", "9223372036854775808"] {
        fixture.change([set(&key, text, None), set_field(&fixture.key("hash"), "field", text)]).await;
        assert!(matches!(fixture.read_error(Query::Counter(key.clone())).await, StoreError::WrongType(_)), "{text:?}");
        assert!(super::fixture::is_wrong_type(&fixture.try_change(add(&key, 1)).await), "{text:?}");
        let add_field = Mutation::AddField(fixture.key("hash"), "field".into(), 1);
        assert!(super::fixture::is_wrong_type(&fixture.try_change(add_field).await), "{text:?}");
    }
    for number in [i64::MIN, -1, 0, i64::MAX] {
        fixture.change([set(&key, &number.to_string(), None)]).await;
        assert_eq!(fixture.counter("text").await, Some(number));
    }
}
