//! What mutations do.

use super::Harness;
use super::kit::{Scene, add, bytes, delete_field, fields, is_wrong_type, pairs, range, set, set_field};
use crate::key::Key;
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, Value};

const ITEMS: [&str; 4] = ["text", "number", "hash", "ordered"];
const NO_RESULTS: [i64; 0] = [];

/// Set asks for no type.
pub async fn set_replaces_every_type<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    for item in ITEMS {
        assert_eq!(scene.change([set(&scene.key(item), "new", None)]).await, NO_RESULTS);
        assert_eq!(scene.ask(Query::Bytes(scene.key(item))).await, bytes("new"), "{item}");
    }
}

/// Delete asks for no type, and for no key.
pub async fn delete_removes_every_type<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    for item in ITEMS {
        assert_eq!(scene.change([Mutation::Delete(scene.key(item))]).await, NO_RESULTS);
        assert!(!scene.exists(item).await, "{item}");
        assert_eq!(scene.change([Mutation::Delete(scene.key(item))]).await, NO_RESULTS, "{item} again");
    }
}

/// The floor raises the result, and never lowers it.
pub async fn add_counts_from_zero_and_never_below_the_floor<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("number");
    let floored = |delta, floor| Mutation::Add { key: key.clone(), delta, floor: Some(floor) };
    assert_eq!(scene.change([add(&key, 5)]).await, [5]);
    assert_eq!(scene.change([add(&key, -7)]).await, [-2]);
    assert_eq!(scene.change([floored(-1, 0)]).await, [0]);
    assert_eq!(scene.change([floored(3, 0)]).await, [3]);
    assert_eq!(scene.change([floored(-1, -100)]).await, [2]);
    assert_eq!(scene.change([floored(0, 10)]).await, [10]);
    assert_eq!(scene.change([Mutation::Delete(key.clone()), floored(-4, 0)]).await, [0]);
    assert_eq!(scene.counter("number").await, Some(0), "zero is not missing");
}

/// Neither a counter nor a field wraps around.
pub async fn a_sum_beyond_64_bits_changes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let (counter, hash) = (scene.key("number"), scene.key("hash"));
    let add_field = |delta| Mutation::AddField(hash.clone(), "field".into(), delta);
    assert_eq!(scene.change([add(&counter, i64::MAX), add_field(i64::MIN)]).await, [i64::MAX, i64::MIN]);
    assert!(is_wrong_type(&scene.try_change(add(&counter, 1)).await));
    assert!(is_wrong_type(&scene.try_change(add_field(-1)).await));
    assert_eq!(scene.counter("number").await, Some(i64::MAX));
    assert_eq!(scene.change([add(&counter, i64::MIN), add_field(i64::MAX)]).await, [-1, -1]);
}

/// What is not named stays.
pub async fn fields_are_set_and_deleted_one_by_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("hash");
    scene.change([Mutation::SetFields(key.clone(), fields(&[("a", "1"), ("b", "2"), ("c", "3")]))]).await;
    scene.change([Mutation::SetFields(key.clone(), fields(&[("b", "zwei"), ("d", ""), ("d", "4")]))]).await;
    let deleted = vec!["a".into(), "missing".into(), "a".into()];
    assert_eq!(scene.change([Mutation::DeleteFields(key.clone(), deleted)]).await, NO_RESULTS);
    let left = pairs(&[("b", "zwei"), ("c", "3"), ("d", "4")].map(|(name, value)| (name, value.to_owned())));
    assert_eq!(scene.ask(Query::Fields(key.clone())).await, Value::Fields(left.clone()));
    scene.change([Mutation::DeleteFields(key.clone(), vec![])]).await;
    assert_eq!(scene.ask(Query::Fields(key)).await, Value::Fields(left));
}

/// The field is text that spells the number.
pub async fn add_field_counts_from_zero<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("hash");
    let add_field = |field: &'static str, delta| Mutation::AddField(key.clone(), field.into(), delta);
    assert_eq!(scene.change([add_field("a", 5), add_field("a", -8), add_field("b", 0)]).await, [5, -3, 0]);
    let fields = [("a", "-3".to_owned()), ("b", "0".to_owned())];
    assert_eq!(scene.ask(Query::Fields(key.clone())).await, Value::Fields(pairs(&fields)));
    scene.change([set_field(&key, "a", "10")]).await;
    assert_eq!(scene.change([add_field("a", 1)]).await, [11]);
}

/// Putting a member again moves it.
pub async fn a_member_has_one_score<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("ordered");
    let put = |member: &'static str, score| Mutation::OrderedPut(key.clone(), member.into(), score);
    assert_eq!(scene.change([put("a", 1), put("b", 2), put("a", 3), put("b", 2)]).await, NO_RESULTS);
    let all = range(&key, i64::MIN, i64::MAX, 10);
    assert_eq!(scene.ask(all.clone()).await, Value::Ordered(pairs(&[("b", 2), ("a", 3)])));
    let remove = |member: &'static str| Mutation::OrderedRemove(key.clone(), member.into());
    assert_eq!(scene.change([remove("missing"), remove("b")]).await, NO_RESULTS);
    assert_eq!(scene.ask(all).await, Value::Ordered(pairs(&[("a", 3)])));
}

/// Removing from what is not there makes nothing.
pub async fn an_empty_hash_or_ordered_set_is_gone<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let (hash, ordered) = (scene.key("hash"), scene.key("ordered"));
    let remove = || Mutation::OrderedRemove(ordered.clone(), "member".into());
    scene.change([delete_field(&hash, "field"), remove()]).await;
    assert!(!scene.exists("hash").await && !scene.exists("ordered").await, "never there");
    scene.one_of_each_type().await;
    scene.change([Mutation::Expire(hash.clone(), 600_000), Mutation::Expire(ordered.clone(), 600_000)]).await;
    scene.change([delete_field(&hash, "field"), remove()]).await;
    assert!(!scene.exists("hash").await && !scene.exists("ordered").await, "emptied");
    assert_eq!(scene.ask(Query::Fields(hash.clone())).await, Value::Missing);
    scene.one_of_each_type().await;
    for key in [hash.clone(), ordered.clone()] {
        assert_eq!(scene.ask(Query::TimeToLive(key)).await, Value::TimeToLive(None), "a new key has no expiry");
    }
    assert_eq!(scene.change([delete_field(&hash, "field"), remove(), add(&hash, 1), add(&ordered, 2)]).await, [1, 2]);
}

/// In order, within one transaction.
pub async fn a_later_mutation_sees_an_earlier_one<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("any");
    let results = scene
        .change([
            set(&key, "40", Some(600_000)),
            add(&key, 2),
            Mutation::Delete(key.clone()),
            Mutation::AddField(key.clone(), "field".into(), 7),
            Mutation::AddField(key.clone(), "field".into(), 1),
            delete_field(&key, "field"),
            add(&key, -1),
        ])
        .await;
    assert_eq!(results, [42, 7, 8, -1]);
    assert_eq!(scene.ask(Query::TimeToLive(key)).await, Value::TimeToLive(None));
}

/// Every pair of mutation and type that do not fit.
pub async fn a_mutation_of_the_wrong_type_changes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let add_field = |key: &Key| Mutation::AddField(key.clone(), "field".into(), 1);
    let put = |key: &Key| Mutation::OrderedPut(key.clone(), "member".into(), 2);
    let remove = |key: &Key| Mutation::OrderedRemove(key.clone(), "member".into());
    let mut mutations = vec![];
    for item in ITEMS {
        let key = scene.key(item);
        let hash = vec![set_field(&key, "field", "2"), delete_field(&key, "field")];
        mutations.extend(if item == "hash" { vec![] } else { hash });
        // The hash's only field is no number either.
        mutations.push(add_field(&key));
        mutations.extend(if item == "ordered" { vec![] } else { vec![put(&key), remove(&key)] });
        mutations.extend(if item == "number" { vec![] } else { vec![add(&key, 1)] });
    }
    for mutation in mutations {
        let outcome = scene.try_change(mutation.clone()).await;
        assert!(is_wrong_type(&outcome), "{mutation:?}: {outcome:?}");
    }
    assert_eq!(scene.ask(Query::Bytes(scene.key("text"))).await, bytes("one"));
    assert_eq!(scene.counter("number").await, Some(1));
    assert_eq!(scene.ask(Query::Fields(scene.key("hash"))).await, Value::Fields(pairs(&[("field", "one".into())])));
    let members = scene.ask(range(&scene.key("ordered"), 0, 9, 9)).await;
    assert_eq!(members, Value::Ordered(pairs(&[("member", 1)])));
}

/// Whatever kind of change came before the one that failed.
pub async fn a_transaction_that_fails_half_way_leaves_no_trace<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let [text, number, hash, ordered] = ITEMS.map(|item| scene.key(item));
    scene.change([Mutation::Expire(hash.clone(), 600_000)]).await;
    let changes = [
        set(&text, "two", Some(600_000)),
        set(&scene.key("new"), "new", Some(600_000)),
        add(&number, 5),
        set_field(&hash, "field", "two"),
        set_field(&hash, "other", "two"),
        delete_field(&hash, "field"),
        delete_field(&hash, "other"),
        Mutation::Persist(hash.clone()),
        Mutation::Expire(number.clone(), 600_000),
        Mutation::OrderedPut(ordered.clone(), "other".into(), 1),
        Mutation::OrderedPut(ordered.clone(), "member".into(), 2),
        Mutation::OrderedRemove(ordered.clone(), "member".into()),
        Mutation::AddField(scene.key("newer"), "field".into(), 1),
        Mutation::Delete(number.clone()),
        Mutation::Delete(ordered.clone()),
        add(&ordered, 1),
        set_field(&text, "field", "fails"),
    ];
    let transaction = changes.into_iter().fold(scene.transaction(), |transaction, each| transaction.mutate(each));
    assert!(is_wrong_type(&scene.commit(transaction).await));
    assert_eq!(scene.ask(Query::Bytes(text.clone())).await, bytes("one"));
    assert_eq!(scene.ask(Query::TimeToLive(text)).await, Value::TimeToLive(None));
    assert_eq!(scene.counter("number").await, Some(1));
    assert_eq!(scene.ask(Query::TimeToLive(number)).await, Value::TimeToLive(None));
    assert_eq!(scene.ask(Query::Fields(hash.clone())).await, Value::Fields(pairs(&[("field", "one".into())])));
    assert!(matches!(scene.ask(Query::TimeToLive(hash)).await, Value::TimeToLive(Some(_))));
    assert_eq!(scene.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(pairs(&[("member", 1)])));
    assert!(!scene.exists("new").await && !scene.exists("newer").await);
}

/// One that fails or is refused stops no other; outcomes come in the order given.
pub async fn transactions_of_one_call_stand_alone<H: Harness>(harness: &H) {
    let scenes: Vec<_> = (0..4).map(|_| Scene::new(harness)).collect();
    let key = |index: usize| scenes[index].key("any");
    scenes[1].change([set_field(&key(1), "field", "one")]).await;
    let transaction = |index: usize| scenes[index].transaction().mutate(add(&key(index), 1));
    let outcomes = harness
        .store()
        .commit(vec![
            transaction(0).mutate(add(&key(0), 10)),
            transaction(1),
            transaction(2).check(Check::Present(key(2))),
            scenes[3].transaction(),
        ])
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Committed(vec![1, 11]));
    assert!(is_wrong_type(&outcomes[1]), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2], Outcome::Refused(0));
    assert_eq!(outcomes[3], Outcome::Committed(vec![]), "a transaction may be empty");
    assert_eq!(outcomes.len(), 4);
    assert_eq!(scenes[0].counter("any").await, Some(11));
    assert_eq!(harness.store().commit(vec![]).await, Ok(vec![]));
}
