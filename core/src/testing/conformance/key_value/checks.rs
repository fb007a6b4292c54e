//! When checks hold, and what a refusal changes.

use super::Harness;
use super::fixture::{Fixture, add, bytes, is_wrong_type, set, set_field};
use crate::key::{Key, Space};
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, StoreError};

/// Both checks accept every type.
pub async fn absent_and_present_hold_for_every_type<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    for item in ["text", "number", "hash", "ordered"] {
        assert!(fixture.holds(Check::Present(fixture.key(item))).await, "{item}");
        assert!(!fixture.holds(Check::Absent(fixture.key(item))).await, "{item}");
    }
    assert!(fixture.holds(Check::Absent(fixture.key("missing"))).await);
    assert!(!fixture.holds(Check::Present(fixture.key("missing"))).await);
}

/// Of whatever type the two keys are.
pub async fn present_either_holds_if_one_of_two_keys_exists<H: Harness>(harness: &H) {
    let either = |fixture: &Fixture<'_, H>| {
        Check::PresentEither(Key::of_user(Space::UnreadTotal, fixture.user), Space::Followed)
    };
    for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
        let fixture = Fixture::new(harness);
        if first {
            fixture.change([set_field(&Key::of_user(Space::UnreadTotal, fixture.user), "a", "hash")]).await;
        }
        if second {
            fixture.change([set(&Key::followed(fixture.user), "", Some(60_000))]).await;
        }
        assert_eq!(fixture.holds(either(&fixture)).await, first || second, "{first} {second}");
    }
    let fixture = Fixture::new(harness);
    let refused = fixture.transaction().check(either(&fixture)).mutate(add(&fixture.key("count"), 1));
    assert_eq!(fixture.commit(refused).await, Outcome::Refused(0));
    assert!(!fixture.exists("count").await);
}

/// As in a large group, whether nearly everybody is away or nobody: each transaction has its own outcome, in order.
pub async fn many_transactions_are_refused_one_by_one<H: Harness>(harness: &H) {
    const MANY: usize = 400;
    for kinds in [25, 2] {
        let fixtures: Vec<Fixture<'_, H>> = (0..MANY).map(|_| Fixture::new(harness)).collect();
        let total = |fixture: &Fixture<'_, H>| Key::of_user(Space::UnreadTotal, fixture.user);
        let (mut prepared, mut expected) = (Vec::new(), Vec::new());
        for (number, fixture) in fixtures.iter().enumerate() {
            let (mutation, outcome) = match number % kinds {
                0 => (Some(add(&total(fixture), 4)), "committed 5"),
                1 => (Some(set(&Key::followed(fixture.user), "", Some(60_000))), "committed 1"),
                2 => (Some(set_field(&total(fixture), "a", "hash")), "wrong type"),
                _ => (None, "refused"),
            };
            prepared.extend(mutation.map(|mutation| fixture.transaction().mutate(mutation)));
            expected.push(outcome);
        }
        harness.store().commit(prepared).await.expect("the transactions are valid");
        let transactions = fixtures.iter().map(|fixture| {
            let either = Check::PresentEither(total(fixture), Space::Followed);
            fixture.transaction().check(either).mutate(add(&total(fixture), 1))
        });
        let outcomes = harness.store().commit(transactions.collect()).await.expect("the transactions are valid");
        let text = |outcome: &Outcome| match outcome {
            Outcome::Committed(results) => format!("committed {}", results[0]),
            Outcome::Refused(0) => "refused".to_owned(),
            Outcome::Failed(StoreError::WrongType(_)) => "wrong type".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(outcomes.iter().map(text).collect::<Vec<_>>(), expected, "{kinds} kinds");
    }
}

/// A counter is compared as its decimal text; a missing key equals no value.
pub async fn equals_compares_bytes<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    fixture.change([set(&fixture.key("empty"), "", None)]).await;
    let equals = |item: &str, value: &str| Check::Equals(fixture.key(item), value.as_bytes().to_vec());
    assert!(fixture.holds(equals("text", "one")).await);
    assert!(!fixture.holds(equals("text", "One")).await);
    assert!(!fixture.holds(equals("text", "one ")).await);
    assert!(fixture.holds(equals("number", "1")).await);
    assert!(!fixture.holds(equals("number", "01")).await);
    assert!(!fixture.holds(equals("number", "+1")).await);
    assert!(fixture.holds(equals("empty", "")).await);
    assert!(!fixture.holds(equals("missing", "")).await);
}

/// `None` holds only if the field or the whole key is missing.
pub async fn field_equals_tells_missing_from_empty<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture
        .change([set_field(&fixture.key("hash"), "field", "one"), set_field(&fixture.key("hash"), "empty", "")])
        .await;
    let equals = |item: &str, field: &'static str, value: Option<&'static str>| {
        Check::FieldEquals(fixture.key(item), field.into(), value.map(Into::into))
    };
    assert!(fixture.holds(equals("hash", "field", Some("one"))).await);
    assert!(!fixture.holds(equals("hash", "field", Some("two"))).await);
    assert!(!fixture.holds(equals("hash", "field", None)).await);
    assert!(fixture.holds(equals("hash", "empty", Some(""))).await);
    assert!(!fixture.holds(equals("hash", "empty", None)).await);
    assert!(fixture.holds(equals("hash", "missing", None)).await);
    assert!(!fixture.holds(equals("hash", "missing", Some(""))).await);
    assert!(fixture.holds(equals("missing", "field", None)).await);
    assert!(!fixture.holds(equals("missing", "field", Some(""))).await);
}

/// Fields are compared as numbers, not as text; a missing field is below every limit.
pub async fn field_below_compares_numbers<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture
        .change([set_field(&fixture.key("hash"), "field", "9"), set_field(&fixture.key("hash"), "word", "nine")])
        .await;
    let below = |item: &str, field: &'static str, limit| Check::FieldBelow(fixture.key(item), field.into(), limit);
    assert!(fixture.holds(below("hash", "field", 10)).await);
    assert!(!fixture.holds(below("hash", "field", 9)).await);
    assert!(!fixture.holds(below("hash", "field", -10)).await);
    assert!(fixture.holds(below("hash", "missing", i64::MIN)).await);
    assert!(fixture.holds(below("missing", "field", i64::MIN)).await);
    assert!(is_wrong_type(&fixture.check(below("hash", "word", 10)).await));
    for (edge, text) in [(i64::MAX, "9223372036854775806"), (i64::MIN + 1, "-9223372036854775808")] {
        fixture.change([set_field(&fixture.key("hash"), "field", text)]).await;
        assert!(fixture.holds(below("hash", "field", edge)).await, "exact to the last digit");
        assert!(!fixture.holds(below("hash", "field", edge - 1)).await, "exact to the last digit");
    }
}

/// `None` holds only if the member is missing.
pub async fn score_equals_tells_missing_from_zero<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("ordered");
    fixture.change([Mutation::OrderedPut(key.clone(), "zero".into(), 0)]).await;
    fixture.change([Mutation::OrderedPut(key, "late".into(), 1_790_000_000_123)]).await;
    let equals = |item: &str, member: &'static str, score| {
        fixture.holds(Check::ScoreEquals(fixture.key(item), member.into(), score))
    };
    assert!(equals("ordered", "zero", Some(0)).await);
    assert!(!equals("ordered", "zero", None).await);
    assert!(equals("ordered", "late", Some(1_790_000_000_123)).await);
    assert!(!equals("ordered", "late", Some(1_790_000_000_124)).await);
    assert!(equals("ordered", "missing", None).await);
    assert!(!equals("ordered", "missing", Some(0)).await);
    assert!(equals("missing", "zero", None).await);
}

/// Checks are evaluated in their order.
pub async fn a_refusal_names_the_first_check_and_changes_nothing<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let text = fixture.key("text");
    let transaction = fixture
        .transaction()
        .check(Check::Present(text.clone()))
        .check(Check::Equals(text.clone(), b"one".to_vec()))
        .check(Check::Absent(text.clone()))
        .check(Check::Absent(text.clone()))
        // This check has the wrong type, but an earlier one has already refused the transaction.
        .check(Check::FieldBelow(text.clone(), "field".into(), 1))
        .mutate(set(&text, "two", None))
        .mutate(add(&fixture.key("number"), 1));
    assert_eq!(fixture.commit(transaction).await, Outcome::Refused(2));
    assert_eq!(fixture.ask(Query::Bytes(text)).await, bytes("one"));
    assert_eq!(fixture.counter("number").await, Some(1));
}

/// The mutations of a transaction do not influence its own checks.
pub async fn checks_see_the_state_before_the_mutations<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("number");
    let claim = || fixture.transaction().check(Check::Absent(key.clone())).mutate(add(&key, 1));
    assert_eq!(fixture.commit(claim()).await, Outcome::Committed(vec![1]));
    assert_eq!(fixture.commit(claim()).await, Outcome::Refused(0));
}

/// None of its mutations is carried out.
pub async fn a_check_of_the_wrong_type_fails_its_transaction<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    fixture.one_of_each_type().await;
    let [text, number, hash, ordered] = ["text", "number", "hash", "ordered"].map(|item| fixture.key(item));
    let mut checks: Vec<_> = [&hash, &ordered].map(|key| Check::Equals(key.clone(), b"one".to_vec())).into();
    for key in [&text, &number, &ordered] {
        checks.push(Check::FieldEquals(key.clone(), "field".into(), None));
        checks.push(Check::FieldBelow(key.clone(), "field".into(), 1));
    }
    checks.extend([&text, &number, &hash].map(|key| Check::ScoreEquals(key.clone(), "member".into(), None)));
    for check in checks {
        let outcome = fixture.commit(fixture.transaction().check(check.clone()).mutate(add(&number, 1))).await;
        assert!(is_wrong_type(&outcome), "{check:?}: {outcome:?}");
    }
    assert_eq!(fixture.counter("number").await, Some(1));
}
