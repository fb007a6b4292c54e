//! What mutations change.

use super::Harness;
use super::fixture::{Fixture, add, bytes, delete_field, fields, is_wrong_type, pairs, range, set, set_field};
use crate::key::Key;
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, Value};

const ITEMS: [&str; 4] = ["text", "number", "hash", "ordered"];
const NO_RESULTS: [i64; 0] = [];

/// `set` ignores the previous type.
pub async fn set_replaces_every_type<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    for item in ITEMS {
        assert_eq!(fixture.change([set(&fixture.key(item), "new", None)]).await, NO_RESULTS);
        assert_eq!(fixture.ask(Query::Bytes(fixture.key(item))).await, bytes("new"), "{item}");
    }
}

/// `delete` accepts every type, and a missing key.
pub async fn delete_removes_every_type<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    for item in ITEMS {
        assert_eq!(fixture.change([Mutation::Delete(fixture.key(item))]).await, NO_RESULTS);
        assert!(!fixture.exists(item).await, "{item}");
        assert_eq!(fixture.change([Mutation::Delete(fixture.key(item))]).await, NO_RESULTS, "{item} again");
    }
}

/// The floor raises the result and never lowers it.
pub async fn add_counts_from_zero_and_never_below_the_floor<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("number");
    let floored = |delta, floor| Mutation::Add { key: key.clone(), delta, floor: Some(floor) };
    assert_eq!(fixture.change([add(&key, 5)]).await, [5]);
    assert_eq!(fixture.change([add(&key, -7)]).await, [-2]);
    assert_eq!(fixture.change([floored(-1, 0)]).await, [0]);
    assert_eq!(fixture.change([floored(3, 0)]).await, [3]);
    assert_eq!(fixture.change([floored(-1, -100)]).await, [2]);
    assert_eq!(fixture.change([floored(0, 10)]).await, [10]);
    assert_eq!(fixture.change([Mutation::Delete(key.clone()), floored(-4, 0)]).await, [0]);
    assert_eq!(fixture.counter("number").await, Some(0), "zero is not missing");
}

/// Neither a counter nor a field overflows.
pub async fn a_sum_beyond_64_bits_changes_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let (counter, hash) = (fixture.key("number"), fixture.key("hash"));
    let add_field = |delta| Mutation::AddField(hash.clone(), "field".into(), delta);
    assert_eq!(fixture.change([add(&counter, i64::MAX), add_field(i64::MIN)]).await, [i64::MAX, i64::MIN]);
    assert!(is_wrong_type(&fixture.try_change(add(&counter, 1)).await));
    assert!(is_wrong_type(&fixture.try_change(add_field(-1)).await));
    assert_eq!(fixture.counter("number").await, Some(i64::MAX));
    assert_eq!(fixture.change([add(&counter, i64::MIN), add_field(i64::MAX)]).await, [-1, -1]);
}

/// Fields that are not named stay unchanged.
pub async fn fields_are_set_and_deleted_one_by_one<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("hash");
    fixture.change([Mutation::SetFields(key.clone(), fields(&[("a", "1"), ("b", "2"), ("c", "3")]))]).await;
    fixture.change([Mutation::SetFields(key.clone(), fields(&[("b", "zwei"), ("d", ""), ("d", "4")]))]).await;
    let deleted = vec!["a".into(), "missing".into(), "a".into()];
    assert_eq!(fixture.change([Mutation::DeleteFields(key.clone(), deleted)]).await, NO_RESULTS);
    let left = pairs(&[("b", "zwei"), ("c", "3"), ("d", "4")].map(|(name, value)| (name, value.to_owned())));
    assert_eq!(fixture.ask(Query::Fields(key.clone())).await, Value::Fields(left.clone()));
    fixture.change([Mutation::DeleteFields(key.clone(), vec![])]).await;
    assert_eq!(fixture.ask(Query::Fields(key)).await, Value::Fields(left));
}

/// The field contains the number as text.
pub async fn add_field_counts_from_zero<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("hash");
    let add_field = |field: &'static str, delta| Mutation::AddField(key.clone(), field.into(), delta);
    assert_eq!(fixture.change([add_field("a", 5), add_field("a", -8), add_field("b", 0)]).await, [5, -3, 0]);
    let fields = [("a", "-3".to_owned()), ("b", "0".to_owned())];
    assert_eq!(fixture.ask(Query::Fields(key.clone())).await, Value::Fields(pairs(&fields)));
    fixture.change([set_field(&key, "a", "10")]).await;
    assert_eq!(fixture.change([add_field("a", 1)]).await, [11]);
}

/// Putting a member again changes its score.
pub async fn a_member_has_one_score<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("ordered");
    let put = |member: &'static str, score| Mutation::OrderedPut(key.clone(), member.into(), score);
    assert_eq!(fixture.change([put("a", 1), put("b", 2), put("a", 3), put("b", 2)]).await, NO_RESULTS);
    let all = range(&key, i64::MIN, i64::MAX, 10);
    assert_eq!(fixture.ask(all.clone()).await, Value::Ordered(pairs(&[("b", 2), ("a", 3)])));
    let remove = |member: &'static str| Mutation::OrderedRemove(key.clone(), member.into());
    assert_eq!(fixture.change([remove("missing"), remove("b")]).await, NO_RESULTS);
    assert_eq!(fixture.ask(all).await, Value::Ordered(pairs(&[("a", 3)])));
}

/// Removing from a missing key does not create the key.
pub async fn an_empty_hash_or_ordered_set_is_gone<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let (hash, ordered) = (fixture.key("hash"), fixture.key("ordered"));
    let remove = || Mutation::OrderedRemove(ordered.clone(), "member".into());
    fixture.change([delete_field(&hash, "field"), remove()]).await;
    assert!(!fixture.exists("hash").await && !fixture.exists("ordered").await, "the keys never existed");
    fixture.one_of_each_type().await;
    fixture.change([Mutation::Expire(hash.clone(), 600_000), Mutation::Expire(ordered.clone(), 600_000)]).await;
    fixture.change([delete_field(&hash, "field"), remove()]).await;
    assert!(!fixture.exists("hash").await && !fixture.exists("ordered").await, "the last element was removed");
    assert_eq!(fixture.ask(Query::Fields(hash.clone())).await, Value::Missing);
    fixture.one_of_each_type().await;
    for key in [hash.clone(), ordered.clone()] {
        assert_eq!(fixture.ask(Query::TimeToLive(key)).await, Value::TimeToLive(None), "a new key has no expiry");
    }
    assert_eq!(fixture.change([delete_field(&hash, "field"), remove(), add(&hash, 1), add(&ordered, 2)]).await, [1, 2]);
}

/// The mutations of a transaction are applied in order.
pub async fn a_later_mutation_sees_an_earlier_one<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("any");
    let results = fixture
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
    assert_eq!(fixture.ask(Query::TimeToLive(key)).await, Value::TimeToLive(None));
}

/// This holds for every mutation with every wrong type.
pub async fn a_mutation_of_the_wrong_type_changes_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let add_field = |key: &Key| Mutation::AddField(key.clone(), "field".into(), 1);
    let put = |key: &Key| Mutation::OrderedPut(key.clone(), "member".into(), 2);
    let remove = |key: &Key| Mutation::OrderedRemove(key.clone(), "member".into());
    let mut mutations = vec![];
    for item in ITEMS {
        let key = fixture.key(item);
        let hash = vec![set_field(&key, "field", "2"), delete_field(&key, "field")];
        mutations.extend(if item == "hash" { vec![] } else { hash });
        // The only field of the hash is not a number.
        mutations.push(add_field(&key));
        mutations.extend(if item == "ordered" { vec![] } else { vec![put(&key), remove(&key)] });
        mutations.extend(if item == "number" { vec![] } else { vec![add(&key, 1)] });
    }
    for mutation in mutations {
        let outcome = fixture.try_change(mutation.clone()).await;
        assert!(is_wrong_type(&outcome), "{mutation:?}: {outcome:?}");
    }
    assert_eq!(fixture.ask(Query::Bytes(fixture.key("text"))).await, bytes("one"));
    assert_eq!(fixture.counter("number").await, Some(1));
    assert_eq!(fixture.ask(Query::Fields(fixture.key("hash"))).await, Value::Fields(pairs(&[("field", "one".into())])));
    let members = fixture.ask(range(&fixture.key("ordered"), 0, 9, 9)).await;
    assert_eq!(members, Value::Ordered(pairs(&[("member", 1)])));
}

/// This holds for every kind of mutation before the one that fails.
pub async fn a_transaction_that_fails_half_way_leaves_no_trace<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let [text, number, hash, ordered] = ITEMS.map(|item| fixture.key(item));
    fixture.change([Mutation::Expire(hash.clone(), 600_000)]).await;
    let changes = [
        set(&text, "two", Some(600_000)),
        set(&fixture.key("new"), "new", Some(600_000)),
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
        Mutation::AddField(fixture.key("newer"), "field".into(), 1),
        Mutation::Delete(number.clone()),
        Mutation::Delete(ordered.clone()),
        add(&ordered, 1),
        set_field(&text, "field", "fails"),
    ];
    let transaction = changes.into_iter().fold(fixture.transaction(), |transaction, each| transaction.mutate(each));
    assert!(is_wrong_type(&fixture.commit(transaction).await));
    assert_eq!(fixture.ask(Query::Bytes(text.clone())).await, bytes("one"));
    assert_eq!(fixture.ask(Query::TimeToLive(text)).await, Value::TimeToLive(None));
    assert_eq!(fixture.counter("number").await, Some(1));
    assert_eq!(fixture.ask(Query::TimeToLive(number)).await, Value::TimeToLive(None));
    assert_eq!(fixture.ask(Query::Fields(hash.clone())).await, Value::Fields(pairs(&[("field", "one".into())])));
    assert!(matches!(fixture.ask(Query::TimeToLive(hash)).await, Value::TimeToLive(Some(_))));
    assert_eq!(fixture.ask(range(&ordered, 0, 9, 9)).await, Value::Ordered(pairs(&[("member", 1)])));
    assert!(!fixture.exists("new").await && !fixture.exists("newer").await);
}

/// A failed or refused transaction does not stop the others. The outcomes are in the order of the transactions.
pub async fn transactions_of_one_call_are_independent<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..4).map(|_| Fixture::new(harness)).collect();
    let key = |index: usize| fixtures[index].key("any");
    fixtures[1].change([set_field(&key(1), "field", "one")]).await;
    let transaction = |index: usize| fixtures[index].transaction().mutate(add(&key(index), 1));
    let outcomes = harness
        .store()
        .commit(vec![
            transaction(0).mutate(add(&key(0), 10)),
            transaction(1),
            transaction(2).check(Check::Present(key(2))),
            fixtures[3].transaction(),
        ])
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Committed(vec![1, 11]));
    assert!(is_wrong_type(&outcomes[1]), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2], Outcome::Refused(0));
    assert_eq!(outcomes[3], Outcome::Committed(vec![]), "a transaction may be empty");
    assert_eq!(outcomes.len(), 4);
    assert_eq!(fixtures[0].counter("any").await, Some(11));
    assert_eq!(harness.store().commit(vec![]).await, Ok(vec![]));
}
