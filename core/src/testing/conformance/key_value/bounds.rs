//! Which calls are refused before anything is changed, and which calls of the largest size are accepted.

use super::Harness;
use super::fixture::{Fixture, add, bytes, durable, range, set, set_field};
use crate::ids::ConversationId;
use crate::key::{Key, Owner, Space};
use crate::limits::{
    CALL_BYTES_MAX, CALL_ITEMS_MAX, EVENT_NAME_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RANGE_MAX,
    RESULT_NAME_BYTES_MAX, TRANSACTION_ITEMS_MAX, TTL_MS_MAX, VALUE_BYTES_MAX,
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

/// A transaction with this mutation only.
fn single(mutation: Mutation) -> Transaction {
    Transaction::new(mutation.key().owner).mutate(mutation)
}

/// Invalid keys, empty ranges and empty names.
pub async fn an_invalid_query_is_refused<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("any");
    for key in invalid_keys(&fixture) {
        assert!(is_invalid(&fixture.read_error(Query::Presence(key.clone())).await), "{key:?}");
    }
    for limit in [0, RANGE_MAX + 1] {
        assert!(is_invalid(&fixture.read_error(range(&key, 0, 1, limit)).await), "{limit}");
    }
    let without_name = Query::NamedFields(key.clone(), [String::new()].into());
    assert!(is_invalid(&fixture.read_error(without_name).await));
    let counters = Key::of_user(Space::UnreadSequence, fixture.user);
    for (index, space) in [(&key, Space::UnreadTotal), (&key, Space::UnreadConversation), (&counters, Space::App)] {
        let indexed = Query::IndexedCounters { index: index.clone(), space };
        assert!(is_invalid(&fixture.read_error(indexed).await), "{space}");
    }
}

fn invalid_keys<H: Harness>(fixture: &Fixture<'_, H>) -> Vec<Key> {
    let mut keys = vec![Key::new(Space::App, fixture.owner()), Key::new(Space::UnreadConversation, fixture.owner())];
    keys.push(Key { space: Space::Online, ..fixture.key("item") });
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    keys.extend(["", &long].map(|item| fixture.key(item)));
    let counter = |item: &str| Key { space: Space::UnreadConversation, ..fixture.key(item) };
    keys.extend(["", "A", "a b", "a:b", "{a}", "ü", &long].map(counter));
    keys
}

/// The same as for queries; also a time to live of zero, mutations without a field, and publications without a user.
pub async fn an_invalid_transaction_is_refused<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("any");
    for key in invalid_keys(&fixture) {
        assert!(is_invalid(&fixture.commit_error(single(add(&key, 1))).await), "{key:?}");
        let checked = fixture.transaction().check(Check::Absent(key.clone()));
        assert!(is_invalid(&fixture.commit_error(checked).await), "{key:?}");
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
        let error = fixture.commit_error(single(mutation.clone())).await;
        assert!(is_invalid(&error), "{mutation:?}: {error}");
    }
    for owner in [Owner::Conversation(ConversationId::from_u128(harness.fresh())), Owner::Shard(1)] {
        let publishing = Transaction::new(owner).publish(durable("1"));
        assert!(is_invalid(&fixture.commit_error(publishing).await), "{owner:?}");
    }
}

/// Invalid by its name, by its size, or by the size of all publications of the call.
pub async fn an_invalid_publication_is_refused<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let refusal = async |events: Vec<Event>| {
        let transaction = events.iter().cloned().fold(fixture.transaction(), Transaction::publish);
        let committed = fixture.commit_error(transaction).await;
        let publications = events.into_iter().map(|event| Publication { user: fixture.user, event }).collect();
        let published = fixture.store().publish(publications).await.expect_err("the publication is invalid");
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
    let many = (0..=CALL_ITEMS_MAX).map(|_| Publication { user: fixture.user, event: durable("1") });
    assert!(is_too_large(&fixture.store().publish(many.collect()).await.unwrap_err()));
    assert!(fixture.position().await.without_feed_since().is_some(), "nothing was published");
}

/// Invalid by its publication, its name, its place among the results, or the payload that it is added to.
pub async fn an_invalid_published_result_is_refused<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let counted = || fixture.transaction().mutate(add(&fixture.key("any"), 1));
    let carrying = |payload: &str, name: &str, result: u32| {
        counted().publish(durable(payload)).with_result(name.to_owned(), result)
    };
    let longest = "a".repeat(RESULT_NAME_BYTES_MAX);
    let long = format!("{longest}a");
    let mut invalid = vec![counted().with_result("sum", 0), carrying("{}", "sum", 1)];
    invalid.extend(["", "A", "a b", "a-b", "ü", &long].map(|name| carrying("{}", name, 0)));
    invalid.extend(["", "1", "[]", "\"{}\"", " {}"].map(|payload| carrying(payload, "sum", 0)));
    invalid.push(carrying("{}", "sum", 0));
    invalid.last_mut().into_iter().for_each(|last| last.published_results[0].publication = 1);
    for transaction in invalid {
        let error = fixture.commit_error(transaction.clone()).await;
        assert!(is_invalid(&error), "{transaction:?}: {error}");
    }
    let object = |bytes: usize| format!("{{\"text\":\"{}\"}}", "a".repeat(bytes - 11));
    let most = PAYLOAD_BYTES_MAX - RESULT_NAME_BYTES_MAX - 24;
    assert!(is_too_large(&fixture.commit_error(carrying(&object(most + 1), &longest, 0)).await));
    assert!(!fixture.exists("any").await, "nothing happened");
    assert_eq!(fixture.commit(carrying(&object(most), &longest, 0)).await, Outcome::Committed(vec![1]));
}

/// This holds for checks and for mutations.
pub async fn another_owners_key_is_refused<H: Harness>(harness: &H) {
    let (fixture, other) = (Fixture::new(harness), Fixture::new(harness));
    let same_bits = Owner::Conversation(ConversationId::from_u128(fixture.user.as_u128()));
    for owner in [other.owner(), Owner::Shard(0), same_bits] {
        let foreign = Key { owner, ..fixture.key("any") };
        let base = || fixture.transaction().mutate(add(&fixture.key("any"), 1));
        for transaction in [base().check(Check::Absent(foreign.clone())), base().mutate(add(&foreign, 1))] {
            let error = fixture.commit_error(transaction).await;
            assert!(matches!(error, StoreError::CrossPartition(_)), "{error}");
        }
    }
    assert!(!fixture.exists("any").await);
}

/// Too many items in a transaction, or too long a value or name: the outcome of that transaction alone.
pub async fn a_transaction_beyond_a_limit_fails_alone<H: Harness>(harness: &H) {
    let fixtures = [Fixture::new(harness), Fixture::new(harness), Fixture::new(harness), Fixture::new(harness)];
    let good =
        |fixture: &Fixture<'_, H>| fixture.transaction().mutate(add(&fixture.key("any"), 1)).publish(durable("1"));
    for fixture in &fixtures {
        fixture.follow().await;
    }
    let [first, second, third, fourth] = &fixtures;
    let long = "a".repeat(VALUE_BYTES_MAX + 1);
    let long = good(second).mutate(set(&second.key("long"), &long, None));
    let many = (0..TRANSACTION_ITEMS_MAX).fold(good(third), |all, _| all.mutate(add(&third.key("any"), 1)));
    let outcomes = harness.store().commit(vec![good(first), long, many, good(fourth)]).await.unwrap();
    let is_too_large = |outcome: &Outcome| matches!(outcome, Outcome::Failed(StoreError::TooLarge(_)));
    assert_eq!(outcomes.iter().map(is_too_large).collect::<Vec<_>>(), [false, true, true, false], "{outcomes:?}");
    assert_eq!((&outcomes[0], &outcomes[3]), (&Outcome::Committed(vec![1]), &Outcome::Committed(vec![1])));
    for (fixture, happened) in fixtures.iter().zip([true, false, false, true]) {
        assert_eq!(fixture.exists("any").await, happened);
        assert_eq!(fixture.position().await.without_feed_since().is_none(), happened, "the event");
    }
}

/// Too many queries in a call, or too long a name. Transactions beyond the limits of a call fail alone, and so does one
/// that does not fit into the call any more, while a smaller one behind it does.
pub async fn a_call_beyond_a_limit_is_refused<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("any");
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    let large = "a".repeat(VALUE_BYTES_MAX + 1);
    let mutations = [
        set(&key, &large, None),
        set(&key, "short", Some(TTL_MS_MAX + 1)),
        Mutation::Expire(key.clone(), u64::MAX),
        set_field(&key, "field", &large),
        set_field(&key, &long, "value"),
        Mutation::DeleteFields(key.clone(), vec![long.clone().into()]),
        Mutation::AddField(key.clone(), long.clone().into(), 1),
        Mutation::OrderedPut(key.clone(), long.clone().into(), 1),
        Mutation::OrderedRemove(key.clone(), long.clone().into()),
    ];
    for mutation in mutations {
        assert!(is_too_large(&fixture.commit_error(single(mutation)).await));
    }
    assert!(is_too_large(&fixture.read_error(Query::NamedFields(key.clone(), [long].into())).await));
    let items = (0..=TRANSACTION_ITEMS_MAX).fold(fixture.transaction(), |all, _| all.mutate(add(&key, 1)));
    assert!(is_too_large(&fixture.commit_error(items).await));
    let queries = vec![Query::Presence(key.clone()); CALL_ITEMS_MAX + 1];
    assert!(is_too_large(&fixture.store().read(queries).await.unwrap_err()));
    assert!(!fixture.exists("any").await, "nothing happened");
    let too_large = async |transactions: Vec<Transaction>| -> Vec<usize> {
        let outcomes = fixture.store().commit(transactions).await.unwrap();
        let failed = outcomes.iter().enumerate().filter(|(_, outcome)| match outcome {
            Outcome::Committed(_) => false,
            Outcome::Failed(error) => is_too_large(error),
            Outcome::Refused(_) => panic!("no check was made"),
        });
        failed.map(|(index, _)| index).collect()
    };
    assert_eq!(too_large(vec![single(add(&key, 1)); CALL_ITEMS_MAX + 1]).await, [CALL_ITEMS_MAX]);
    assert_eq!(fixture.counter("any").await, Some(CALL_ITEMS_MAX as i64));
    let value = "a".repeat(VALUE_BYTES_MAX);
    let full = CALL_BYTES_MAX / VALUE_BYTES_MAX;
    let mut transactions = vec![single(set(&key, &value, None)); full - 1];
    transactions.push(single(set(&key, &value[1..], None)));
    transactions.extend([single(set(&key, &value, None)), single(set(&key, "a", None))]);
    assert_eq!(too_large(transactions).await, [full]);
}

/// The valid transactions of the call are not carried out either.
pub async fn a_refused_call_changes_nothing<H: Harness>(harness: &H) {
    let fixtures = [Fixture::new(harness), Fixture::new(harness), Fixture::new(harness)];
    let good =
        |fixture: &Fixture<'_, H>| fixture.transaction().mutate(add(&fixture.key("any"), 1)).publish(durable("1"));
    let bad = good(&fixtures[1]).mutate(Mutation::Expire(fixtures[1].key("any"), 0));
    let error = harness.store().commit(vec![good(&fixtures[0]), bad, good(&fixtures[2])]).await.unwrap_err();
    assert!(is_invalid(&error), "{error}");
    for fixture in &fixtures {
        assert!(!fixture.exists("any").await);
        assert!(fixture.position().await.without_feed_since().is_some());
    }
}

/// Values, names, transactions and calls of exactly the largest size are accepted.
pub async fn the_limits_themselves_are_allowed<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let long = "a".repeat(NAME_BYTES_MAX);
    let large = "a".repeat(VALUE_BYTES_MAX);
    let key = fixture.key(&long);
    fixture.change([set(&key, &large, Some(TTL_MS_MAX))]).await;
    assert_eq!(fixture.ask(Query::Bytes(key.clone())).await, bytes(&large));
    fixture.change([Mutation::Delete(key.clone()), set_field(&key, &long, &large)]).await;
    assert!(fixture.holds(Check::FieldEquals(key, long.into(), Some(large.into()))).await);
    let number = fixture.key("number");
    let items = (0..TRANSACTION_ITEMS_MAX).fold(fixture.transaction(), |all, _| all.mutate(add(&number, 1)));
    let expected = (1..=TRANSACTION_ITEMS_MAX as i64).collect();
    assert_eq!(fixture.commit(items).await, Outcome::Committed(expected));
    let transactions = vec![single(add(&number, 1)); CALL_ITEMS_MAX];
    assert_eq!(harness.store().commit(transactions).await.unwrap().len(), CALL_ITEMS_MAX);
    let queries = vec![Query::Counter(number); CALL_ITEMS_MAX];
    assert_eq!(harness.store().read(queries).await.unwrap().len(), CALL_ITEMS_MAX);
    assert_eq!(fixture.counter("number").await, Some((TRANSACTION_ITEMS_MAX + CALL_ITEMS_MAX) as i64));
    let payload = Event { name: "a".repeat(EVENT_NAME_BYTES_MAX).into(), ..durable(&"1".repeat(PAYLOAD_BYTES_MAX)) };
    fixture.publish(&[payload]).await;
    let ordered = fixture.key("ordered");
    let put = |score: u32| Mutation::OrderedPut(ordered.clone(), score.to_string().into(), score.into());
    let members = (0..RANGE_MAX + 1).map(put);
    assert_eq!(
        fixture.commit(members.fold(fixture.transaction(), Transaction::mutate)).await,
        Outcome::Committed(vec![])
    );
    let crate::port::Value::Ordered(page) = fixture.ask(range(&ordered, 0, i64::MAX, RANGE_MAX)).await else {
        panic!("expected a range");
    };
    assert_eq!(page.len(), RANGE_MAX as usize);
}
