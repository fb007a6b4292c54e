//! What queries answer.

use super::Harness;
use super::kit::{Scene, add, bytes, fields, pairs, range, set, set_field};
use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::port::{Item, KeyValue, Mutation, Query, StoreError, Value};

/// Missing is an answer of its own.
pub async fn a_missing_key_is_not_zero_and_not_empty<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("nothing");
    assert_eq!(scene.ask(Query::Bytes(key.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::Counter(key.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::Fields(key.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::TimeToLive(key.clone())).await, Value::Missing);
    assert_eq!(scene.ask(Query::Presence(key.clone())).await, Value::Presence(false));
    assert_eq!(scene.ask(range(&key, i64::MIN, i64::MAX, 1)).await, Value::Ordered(vec![]));
    let named = Query::NamedFields(key.clone(), ["a".into(), "b".into()].into());
    assert_eq!(scene.ask(named).await, Value::NamedFields(vec![None, None]));
    let indexed = Query::IndexedCounters { index: key, space: Space::UnreadConversation };
    assert_eq!(scene.ask(indexed).await, Value::Counters(vec![]));
    assert_eq!(harness.store().read(vec![]).await, Ok(vec![]));
}

/// Each type comes back as it was written, in every space.
pub async fn every_query_answers_what_was_written<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    assert_eq!(scene.ask(Query::Bytes(scene.key("text"))).await, bytes("one"));
    assert_eq!(scene.ask(Query::Counter(scene.key("number"))).await, Value::Counter(1));
    assert_eq!(scene.ask(Query::Fields(scene.key("hash"))).await, Value::Fields(pairs(&[("field", "one".into())])));
    let members = scene.ask(range(&scene.key("ordered"), 0, 2, 10)).await;
    assert_eq!(members, Value::Ordered(pairs(&[("member", 1)])));
    for item in ["text", "number", "hash", "ordered"] {
        assert!(scene.exists(item).await, "{item}");
        assert_eq!(scene.ask(Query::TimeToLive(scene.key(item))).await, Value::TimeToLive(None), "{item}");
    }
    for space in Space::ALL.into_iter().filter(|space| !space.has_item()) {
        let key = Key::new(space, scene.owner());
        scene.change([Mutation::Set(key.clone(), vec![0, 255, 10], None)]).await;
        assert_eq!(scene.ask(Query::Bytes(key)).await, Value::Bytes(vec![0, 255, 10]), "{space}");
    }
}

/// Across owners and types, however many.
pub async fn answers_come_in_the_order_asked<H: Harness>(harness: &H) {
    let scenes: Vec<_> = (0..20).map(|_| Scene::new(harness)).collect();
    for (number, scene) in (0..).zip(&scenes) {
        scene.change([add(&scene.key("number"), number)]).await;
    }
    let mut queries: Vec<_> = scenes.iter().map(|scene| Query::Counter(scene.key("number"))).collect();
    queries.extend(scenes.iter().rev().map(|scene| Query::Counter(scene.key("number"))));
    let answers = harness.store().read(queries).await.unwrap();
    let expected: Vec<_> = (0..20).chain((0..20).rev()).map(Value::Counter).collect();
    assert_eq!(answers, expected);
}

/// All fields are sorted; named ones are not, and may repeat.
pub async fn fields_come_by_name_and_named_fields_in_the_order_asked<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("hash");
    let written = fields(&[("b", "2"), ("ü", ""), ("a", "1"), ("B", "zwei\0")]);
    scene.change([Mutation::SetFields(key.clone(), written)]).await;
    let sorted = [("B", "zwei\0"), ("a", "1"), ("b", "2"), ("ü", "")].map(|(name, value)| (name, value.to_owned()));
    assert_eq!(scene.ask(Query::Fields(key.clone())).await, Value::Fields(pairs(&sorted)));
    let names = ["b", "missing", "a", "b", "ü"].map(str::to_owned).to_vec();
    let expected = [Some("2"), None, Some("1"), Some("2"), Some("")].map(|value| value.map(str::to_owned));
    assert_eq!(scene.ask(Query::NamedFields(key.clone(), names.into())).await, Value::NamedFields(expected.into()));
    assert_eq!(scene.ask(Query::NamedFields(key, [].into())).await, Value::NamedFields(vec![]));
}

/// Lowest score first, then by member.
pub async fn an_ordered_range_is_inclusive_sorted_and_limited<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("ordered");
    let members = [("d", 10), ("b", 5), ("c", 5), ("a", 5), ("low", -1_790_000_000_123), ("high", 1_790_000_000_123)];
    for (member, score) in members {
        scene.change([Mutation::OrderedPut(key.clone(), member.into(), score)]).await;
    }
    let ask = async |minimum, maximum, limit| match scene.ask(range(&key, minimum, maximum, limit)).await {
        Value::Ordered(members) => members.into_iter().map(|(member, _)| member).collect::<Vec<_>>().join(" "),
        other => panic!("no range: {other:?}"),
    };
    assert_eq!(ask(i64::MIN, i64::MAX, 1_000).await, "low a b c d high");
    assert_eq!(ask(5, 10, 1_000).await, "a b c d");
    assert_eq!(ask(6, 9, 1_000).await, "");
    assert_eq!(ask(5, 10, 2).await, "a b");
    assert_eq!(ask(10, 5, 1_000).await, "");
    assert_eq!(ask(1_790_000_000_123, 1_790_000_000_123, 1).await, "high");
    assert_eq!(ask(1_790_000_000_124, i64::MAX, 1).await, "");
}

/// There is one type for bytes and counters.
pub async fn a_counter_is_also_its_decimal_text<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.change([add(&scene.key("number"), -17), set(&scene.key("text"), "41", None)]).await;
    assert_eq!(scene.ask(Query::Bytes(scene.key("number"))).await, bytes("-17"));
    assert_eq!(scene.counter("text").await, Some(41));
    assert_eq!(scene.change([add(&scene.key("text"), 1)]).await, [42]);
    assert_eq!(scene.ask(Query::Bytes(scene.key("text"))).await, bytes("42"));
}

/// Sorted by item; what is missing, of another owner, or no item at all is left out.
pub async fn indexed_counters_are_those_that_the_hash_names<H: Harness>(harness: &H) {
    let (scene, other) = (Scene::new(harness), Scene::new(harness));
    let index = Key::of_user(Space::UnreadSequence, scene.user);
    let ids: Vec<UserId> = (0..3).map(|_| UserId::from_u128(harness.fresh())).collect();
    let counter = |scene: &Scene<'_, H>, id: UserId| Key {
        space: Space::UnreadConversation,
        owner: scene.owner(),
        item: Some(id.to_string()),
    };
    scene.change([add(&counter(&scene, ids[0]), 5), add(&counter(&scene, ids[2]), 0)]).await;
    other.change([add(&counter(&other, ids[1]), 7)]).await;
    let spellings = [ids[0].to_string(), ids[1].to_string(), ids[0].to_string().to_uppercase() + "X", "no item".into()];
    for field in spellings {
        scene.change([set_field(&index, &field, "1")]).await;
    }
    let query = Query::IndexedCounters { index: index.clone(), space: Space::UnreadConversation };
    assert_eq!(scene.ask(query.clone()).await, Value::Counters(vec![(ids[0].to_string().into(), 5)]));
    scene.change([set_field(&index, &ids[2].to_string(), "9")]).await;
    let mut both = vec![(Item::from(ids[0].to_string()), 5), (ids[2].to_string().into(), 0)];
    both.sort();
    assert_eq!(scene.ask(query.clone()).await, Value::Counters(both));
    scene.change([set(&counter(&scene, ids[2]), "many", None)]).await;
    assert!(matches!(scene.ask_in_vain(query).await, StoreError::WrongType(_)));
}

/// A good query in the same call gets no answer either.
pub async fn a_query_of_the_wrong_type_fails_the_call<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let [text, number, hash, ordered] = ["text", "number", "hash", "ordered"].map(|item| scene.key(item));
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
    let nameless = Query::NamedFields(text, [].into());
    assert!(matches!(scene.ask_in_vain(nameless).await, StoreError::WrongType(_)));
}

/// Whatever else looks like one is text.
pub async fn a_number_has_one_spelling<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("text");
    for text in ["", "01", "+1", "-0", " 1", "1 ", "1.0", "1e3", "9223372036854775808"] {
        scene.change([set(&key, text, None), set_field(&scene.key("hash"), "field", text)]).await;
        assert!(matches!(scene.ask_in_vain(Query::Counter(key.clone())).await, StoreError::WrongType(_)), "{text:?}");
        assert!(super::kit::is_wrong_type(&scene.try_change(add(&key, 1)).await), "{text:?}");
        let add_field = Mutation::AddField(scene.key("hash"), "field".into(), 1);
        assert!(super::kit::is_wrong_type(&scene.try_change(add_field).await), "{text:?}");
    }
    for number in [i64::MIN, -1, 0, i64::MAX] {
        scene.change([set(&key, &number.to_string(), None)]).await;
        assert_eq!(scene.counter("text").await, Some(number));
    }
}
