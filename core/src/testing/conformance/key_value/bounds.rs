//! What is refused before anything happens, and what just fits.

use super::Harness;
use super::kit::{Scene, add, bytes, durable, range, set, set_field};
use crate::ids::ConversationId;
use crate::key::{Key, Owner, Space};
use crate::limits::{
    CALL_BYTES_MAX, CALL_ITEMS_MAX, EVENT_NAME_BYTES_MAX, LIFE_MS_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RANGE_MAX,
    TRANSACTION_ITEMS_MAX, VALUE_BYTES_MAX,
};
use crate::port::{
    Check, Event, KeyValue, Mutation, Outcome, PubSub, Publication, Query, StoreError, Text, Transaction,
};

fn is_invalid(error: &StoreError) -> bool {
    matches!(error, StoreError::Invalid(_))
}

fn is_too_large(error: &StoreError) -> bool {
    matches!(error, StoreError::TooLarge(_))
}

/// A transaction of its own for each mutation.
fn alone(mutation: Mutation) -> Transaction {
    Transaction::new(mutation.key().owner).mutate(mutation)
}

/// Keys that are none, ranges of nothing, names without letters.
pub async fn an_impossible_query_is_refused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("any");
    for key in impossible_keys(&scene) {
        assert!(is_invalid(&scene.ask_in_vain(Query::Presence(key.clone())).await), "{key:?}");
    }
    for limit in [0, RANGE_MAX + 1] {
        assert!(is_invalid(&scene.ask_in_vain(range(&key, 0, 1, limit)).await), "{limit}");
    }
    let nameless = Query::NamedFields(key.clone(), [String::new()].into());
    assert!(is_invalid(&scene.ask_in_vain(nameless).await));
    let indexed = Query::IndexedCounters { index: key, space: Space::UnreadTotal };
    assert!(is_invalid(&scene.ask_in_vain(indexed).await));
}

fn impossible_keys<H: Harness>(scene: &Scene<'_, H>) -> Vec<Key> {
    let mut keys = vec![Key::new(Space::App, scene.owner()), Key::new(Space::UnreadConversation, scene.owner())];
    keys.push(Key { space: Space::Online, ..scene.key("item") });
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    keys.extend(["", "A", "a b", "a:b", "{a}", "ü", &long].map(|item| scene.key(item)));
    keys
}

/// As for queries; and lives of no length, changes without a field, publications to nobody.
pub async fn an_impossible_transaction_is_refused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("any");
    for key in impossible_keys(&scene) {
        assert!(is_invalid(&scene.commit_in_vain(alone(add(&key, 1))).await), "{key:?}");
        let checked = scene.transaction().check(Check::Absent(key.clone()));
        assert!(is_invalid(&scene.commit_in_vain(checked).await), "{key:?}");
    }
    let mutations = [
        set(&key, "one", Some(0)),
        Mutation::Expire(key.clone(), 0),
        Mutation::SetFields(key.clone(), vec![]),
        set_field(&key, "", "one"),
        Mutation::DeleteFields(key.clone(), vec![Text::default()]),
        Mutation::AddField(key.clone(), Text::default(), 1),
        Mutation::OrderedPut(key.clone(), Text::default(), 1),
        Mutation::OrderedRemove(key.clone(), Text::default()),
    ];
    for mutation in mutations {
        let error = scene.commit_in_vain(alone(mutation.clone())).await;
        assert!(is_invalid(&error), "{mutation:?}: {error}");
    }
    for owner in [Owner::Conversation(ConversationId::from_u128(harness.fresh())), Owner::Shard(1)] {
        let told = Transaction::new(owner).publish(durable("1"));
        assert!(is_invalid(&scene.commit_in_vain(told).await), "{owner:?}");
    }
}

/// By its name, its size, and with all others of the call.
pub async fn an_impossible_publication_is_refused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let refusal = async |events: Vec<Event>| {
        let transaction = events.iter().cloned().fold(scene.transaction(), Transaction::publish);
        let committed = scene.commit_in_vain(transaction).await;
        let publications = events.into_iter().map(|event| Publication { user: scene.user, event }).collect();
        let published = scene.store().publish(publications).await.expect_err("makes no sense either");
        assert_eq!(is_invalid(&committed), is_invalid(&published), "{committed} and {published}");
        published
    };
    let long = "a".repeat(EVENT_NAME_BYTES_MAX + 1);
    for name in ["", "A", "a b", "ü", &long] {
        let event = Event { name: name.into(), ..durable("1") };
        assert!(is_invalid(&refusal(vec![durable("1"), event]).await), "{name}");
    }
    let large = durable(&"1".repeat(PAYLOAD_BYTES_MAX + 1));
    assert!(is_too_large(&refusal(vec![durable("1"), large]).await));
    let fits = durable(&"1".repeat(PAYLOAD_BYTES_MAX));
    assert!(is_too_large(&refusal(vec![fits; CALL_BYTES_MAX / PAYLOAD_BYTES_MAX]).await));
    let many = (0..=CALL_ITEMS_MAX).map(|_| Publication { user: scene.user, event: durable("1") });
    assert!(is_too_large(&scene.store().publish(many.collect()).await.unwrap_err()));
    assert!(scene.position().await.nowhere_since().is_some(), "nothing was published");
}

/// In a check and in a mutation.
pub async fn another_owners_key_is_refused<H: Harness>(harness: &H) {
    let (scene, other) = (Scene::new(harness), Scene::new(harness));
    let same_bits = Owner::Conversation(ConversationId::from_u128(scene.user.as_u128()));
    for owner in [other.owner(), Owner::Shard(0), same_bits] {
        let foreign = Key { owner, ..scene.key("any") };
        let base = || scene.transaction().mutate(add(&scene.key("any"), 1));
        for transaction in [base().check(Check::Absent(foreign.clone())), base().mutate(add(&foreign, 1))] {
            let error = scene.commit_in_vain(transaction).await;
            assert!(matches!(error, StoreError::CrossPartition(_)), "{error}");
        }
    }
    assert!(!scene.exists("any").await);
}

/// Calls, transactions, values and names.
pub async fn what_is_too_large_is_refused<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("any");
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    let large = "a".repeat(VALUE_BYTES_MAX + 1);
    let mutations = [
        set(&key, &large, None),
        set(&key, "brief", Some(LIFE_MS_MAX + 1)),
        Mutation::Expire(key.clone(), u64::MAX),
        set_field(&key, "field", &large),
        set_field(&key, &long, "value"),
        Mutation::DeleteFields(key.clone(), vec![long.clone().into()]),
        Mutation::AddField(key.clone(), long.clone().into(), 1),
        Mutation::OrderedPut(key.clone(), long.clone().into(), 1),
        Mutation::OrderedRemove(key.clone(), long.clone().into()),
    ];
    for mutation in mutations {
        assert!(is_too_large(&scene.commit_in_vain(alone(mutation)).await));
    }
    assert!(is_too_large(&scene.ask_in_vain(Query::NamedFields(key.clone(), [long].into())).await));
    let items = (0..=TRANSACTION_ITEMS_MAX).fold(scene.transaction(), |all, _| all.mutate(add(&key, 1)));
    assert!(is_too_large(&scene.commit_in_vain(items).await));
    let queries = vec![Query::Presence(key.clone()); CALL_ITEMS_MAX + 1];
    assert!(is_too_large(&scene.store().read(queries).await.unwrap_err()));
    let transactions = vec![alone(add(&key, 1)); CALL_ITEMS_MAX + 1];
    assert!(is_too_large(&scene.store().commit(transactions).await.unwrap_err()));
    let value = "a".repeat(VALUE_BYTES_MAX);
    let transactions = vec![alone(set(&key, &value, None)); CALL_BYTES_MAX / VALUE_BYTES_MAX + 1];
    assert!(is_too_large(&scene.store().commit(transactions).await.unwrap_err()));
    assert!(!scene.exists("any").await, "nothing happened");
}

/// Not even the transactions that were right.
pub async fn a_refused_call_changes_nothing<H: Harness>(harness: &H) {
    let scenes = [Scene::new(harness), Scene::new(harness), Scene::new(harness)];
    let good = |scene: &Scene<'_, H>| scene.transaction().mutate(add(&scene.key("any"), 1)).publish(durable("1"));
    let bad = good(&scenes[1]).mutate(Mutation::Expire(scenes[1].key("any"), 0));
    let error = harness.store().commit(vec![good(&scenes[0]), bad, good(&scenes[2])]).await.unwrap_err();
    assert!(is_invalid(&error), "{error}");
    for scene in &scenes {
        assert!(!scene.exists("any").await);
        assert!(scene.position().await.nowhere_since().is_some());
    }
}

/// Values, names, transactions and calls of exactly the largest size.
pub async fn the_bounds_themselves_are_allowed<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let long = "a".repeat(NAME_BYTES_MAX);
    let large = "a".repeat(VALUE_BYTES_MAX);
    let key = scene.key(&long);
    scene.change([set(&key, &large, Some(LIFE_MS_MAX))]).await;
    assert_eq!(scene.ask(Query::Bytes(key.clone())).await, bytes(&large));
    scene.change([Mutation::Delete(key.clone()), set_field(&key, &long, &large)]).await;
    assert!(scene.holds(Check::FieldEquals(key, long.into(), Some(large.into()))).await);
    let number = scene.key("number");
    let items = (0..TRANSACTION_ITEMS_MAX).fold(scene.transaction(), |all, _| all.mutate(add(&number, 1)));
    let expected = (1..=TRANSACTION_ITEMS_MAX as i64).collect();
    assert_eq!(scene.commit(items).await, Outcome::Committed(expected));
    let transactions = vec![alone(add(&number, 1)); CALL_ITEMS_MAX];
    assert_eq!(harness.store().commit(transactions).await.unwrap().len(), CALL_ITEMS_MAX);
    let queries = vec![Query::Counter(number); CALL_ITEMS_MAX];
    assert_eq!(harness.store().read(queries).await.unwrap().len(), CALL_ITEMS_MAX);
    assert_eq!(scene.counter("number").await, Some((TRANSACTION_ITEMS_MAX + CALL_ITEMS_MAX) as i64));
    let payload = Event { name: "a".repeat(EVENT_NAME_BYTES_MAX).into(), ..durable(&"1".repeat(PAYLOAD_BYTES_MAX)) };
    scene.publish(&[payload]).await;
    let ordered = scene.key("ordered");
    let put = |score: u32| Mutation::OrderedPut(ordered.clone(), score.to_string().into(), score.into());
    let members = (0..RANGE_MAX + 1).map(put);
    assert_eq!(scene.commit(members.fold(scene.transaction(), Transaction::mutate)).await, Outcome::Committed(vec![]));
    let crate::port::Value::Ordered(page) = scene.ask(range(&ordered, 0, i64::MAX, RANGE_MAX)).await else {
        panic!("a range");
    };
    assert_eq!(page.len(), RANGE_MAX as usize);
}
