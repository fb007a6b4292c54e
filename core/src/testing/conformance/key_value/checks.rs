//! When checks hold, and what a refusal means.

use super::Harness;
use super::kit::{Scene, add, bytes, is_wrong_type, set, set_field};
use crate::port::{Check, Mutation, Outcome, Query};

/// The type does not matter.
pub async fn absent_and_present_look_at_every_type<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    for item in ["text", "number", "hash", "ordered"] {
        assert!(scene.holds(Check::Present(scene.key(item))).await, "{item}");
        assert!(!scene.holds(Check::Absent(scene.key(item))).await, "{item}");
    }
    assert!(scene.holds(Check::Absent(scene.key("missing"))).await);
    assert!(!scene.holds(Check::Present(scene.key("missing"))).await);
}

/// A counter compares as its decimal text; a missing key equals nothing.
pub async fn equals_compares_bytes<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    scene.change([set(&scene.key("empty"), "", None)]).await;
    let equals = |item: &str, value: &str| Check::Equals(scene.key(item), value.as_bytes().to_vec());
    assert!(scene.holds(equals("text", "one")).await);
    assert!(!scene.holds(equals("text", "One")).await);
    assert!(!scene.holds(equals("text", "one ")).await);
    assert!(scene.holds(equals("number", "1")).await);
    assert!(!scene.holds(equals("number", "01")).await);
    assert!(!scene.holds(equals("number", "+1")).await);
    assert!(scene.holds(equals("empty", "")).await);
    assert!(!scene.holds(equals("missing", "")).await);
}

/// `None` is only equal to a field, or a key, that is not there.
pub async fn field_equals_tells_missing_from_empty<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.change([set_field(&scene.key("hash"), "field", "one"), set_field(&scene.key("hash"), "empty", "")]).await;
    let equals = |item: &str, field: &'static str, value: Option<&'static str>| {
        Check::FieldEquals(scene.key(item), field.into(), value.map(Into::into))
    };
    assert!(scene.holds(equals("hash", "field", Some("one"))).await);
    assert!(!scene.holds(equals("hash", "field", Some("two"))).await);
    assert!(!scene.holds(equals("hash", "field", None)).await);
    assert!(scene.holds(equals("hash", "empty", Some(""))).await);
    assert!(!scene.holds(equals("hash", "empty", None)).await);
    assert!(scene.holds(equals("hash", "missing", None)).await);
    assert!(!scene.holds(equals("hash", "missing", Some(""))).await);
    assert!(scene.holds(equals("missing", "field", None)).await);
    assert!(!scene.holds(equals("missing", "field", Some(""))).await);
}

/// As numbers, not as text; what is missing is below everything.
pub async fn field_below_compares_numbers<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.change([set_field(&scene.key("hash"), "field", "9"), set_field(&scene.key("hash"), "word", "nine")]).await;
    let below = |item: &str, field: &'static str, limit| Check::FieldBelow(scene.key(item), field.into(), limit);
    assert!(scene.holds(below("hash", "field", 10)).await);
    assert!(!scene.holds(below("hash", "field", 9)).await);
    assert!(!scene.holds(below("hash", "field", -10)).await);
    assert!(scene.holds(below("hash", "missing", i64::MIN)).await);
    assert!(scene.holds(below("missing", "field", i64::MIN)).await);
    assert!(is_wrong_type(&scene.check(below("hash", "word", 10)).await));
    for (edge, text) in [(i64::MAX, "9223372036854775806"), (i64::MIN + 1, "-9223372036854775808")] {
        scene.change([set_field(&scene.key("hash"), "field", text)]).await;
        assert!(scene.holds(below("hash", "field", edge)).await, "exact to the last digit");
        assert!(!scene.holds(below("hash", "field", edge - 1)).await, "exact to the last digit");
    }
}

/// `None` is only equal to a member that is not there.
pub async fn score_equals_tells_missing_from_zero<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("ordered");
    scene.change([Mutation::OrderedPut(key.clone(), "zero".into(), 0)]).await;
    scene.change([Mutation::OrderedPut(key, "late".into(), 1_790_000_000_123)]).await;
    let equals = |item: &str, member: &'static str, score| {
        scene.holds(Check::ScoreEquals(scene.key(item), member.into(), score))
    };
    assert!(equals("ordered", "zero", Some(0)).await);
    assert!(!equals("ordered", "zero", None).await);
    assert!(equals("ordered", "late", Some(1_790_000_000_123)).await);
    assert!(!equals("ordered", "late", Some(1_790_000_000_124)).await);
    assert!(equals("ordered", "missing", None).await);
    assert!(!equals("ordered", "missing", Some(0)).await);
    assert!(equals("missing", "zero", None).await);
}

/// Checks are looked at in order.
pub async fn a_refusal_names_the_first_check_and_changes_nothing<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let text = scene.key("text");
    let transaction = scene
        .transaction()
        .check(Check::Present(text.clone()))
        .check(Check::Equals(text.clone(), b"one".to_vec()))
        .check(Check::Absent(text.clone()))
        .check(Check::Absent(text.clone()))
        // Nobody gets to see that this one is of the wrong type.
        .check(Check::FieldBelow(text.clone(), "field".into(), 1))
        .mutate(set(&text, "two", None))
        .mutate(add(&scene.key("number"), 1));
    assert_eq!(scene.commit(transaction).await, Outcome::Refused(2));
    assert_eq!(scene.ask(Query::Bytes(text)).await, bytes("one"));
    assert_eq!(scene.counter("number").await, Some(1));
}

/// A transaction never stands in its own way.
pub async fn checks_see_the_state_before_the_mutations<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    let key = scene.key("number");
    let claim = || scene.transaction().check(Check::Absent(key.clone())).mutate(add(&key, 1));
    assert_eq!(scene.commit(claim()).await, Outcome::Committed(vec![1]));
    assert_eq!(scene.commit(claim()).await, Outcome::Refused(0));
}

/// And nothing of it happens.
pub async fn a_check_of_the_wrong_type_fails_its_transaction<H: Harness>(harness: &H) {
    let scene = Scene::new(harness);
    scene.one_of_each_type().await;
    let [text, number, hash, ordered] = ["text", "number", "hash", "ordered"].map(|item| scene.key(item));
    let mut checks: Vec<_> = [&hash, &ordered].map(|key| Check::Equals(key.clone(), b"one".to_vec())).into();
    for key in [&text, &number, &ordered] {
        checks.push(Check::FieldEquals(key.clone(), "field".into(), None));
        checks.push(Check::FieldBelow(key.clone(), "field".into(), 1));
    }
    checks.extend([&text, &number, &hash].map(|key| Check::ScoreEquals(key.clone(), "member".into(), None)));
    for check in checks {
        let outcome = scene.commit(scene.transaction().check(check.clone()).mutate(add(&number, 1))).await;
        assert!(is_wrong_type(&outcome), "{check:?}: {outcome:?}");
    }
    assert_eq!(scene.counter("number").await, Some(1));
}
