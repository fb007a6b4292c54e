//! The space `app`: items of functions, their names and their owners.

use super::Harness;
use super::fixture::{Fixture, add, bytes, durable, set, set_field};
use crate::ids::{ConversationId, MessageId};
use crate::key::{Key, Owner, Space};
use crate::limits::NAME_BYTES_MAX;
use crate::port::{Check, KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};

fn of_function(key: &Key, function: &str) -> Key {
    Key { function: Some(function.into()), ..key.clone() }
}

fn single(mutation: Mutation) -> Transaction {
    Transaction::new(mutation.key().owner).mutate(mutation)
}

/// Neither in a query nor in a check, neither a value nor a counter of an index, nor when they are deleted.
pub async fn functions_do_not_see_each_others_items<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let names = ["polls", "polls-2", "user", &"f".repeat(64)];
    let (item, index) = (fixture.key("item"), fixture.key("index"));
    for (number, function) in (1..).zip(names) {
        let own = of_function(&item, function);
        assert!(fixture.holds(Check::Absent(own.clone())).await, "{function}");
        assert_eq!(
            fixture.change([add(&own, number), set_field(&of_function(&index, function), "item", "1")]).await,
            [number]
        );
    }
    let stored = |function: &str| Query::Counter(of_function(&item, function));
    for (number, function) in (1..).zip(names) {
        assert_eq!(fixture.ask(stored(function)).await, Value::Counter(number), "{function}");
        let indexed = Query::IndexedCounters { index: of_function(&index, function), space: Space::App };
        assert_eq!(fixture.ask(indexed).await, Value::Counters(vec![("item".into(), number)]), "{function}");
    }
    fixture.change([Mutation::Delete(of_function(&item, names[0]))]).await;
    let left = harness.store().read(names.map(stored).into()).await.unwrap();
    assert_eq!(left, [Value::Missing, Value::Counter(2), Value::Counter(3), Value::Counter(4)]);
    assert!(!fixture.exists("item").await, "an item without a function is another one");
}

/// Emoji, separators of physical keys, control characters and what looks escaped.
pub async fn an_item_is_any_text<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let longest = "👍".repeat(NAME_BYTES_MAX / 4);
    let items = [
        "👍", "👍🏽", "Ä", "A", "a", " ", "a b", "a:b", "a", "{a}", "}{", "%61", "%", "a%3Ab", "a\nb", "\0", "*",
        "a/../b", &longest,
    ];
    let index = fixture.key("index of all");
    for (number, item) in (0..).zip(items) {
        let key = fixture.key(item);
        fixture.change([set(&key, &number.to_string(), None), set_field(&index, item, "1")]).await;
    }
    for (number, item) in (0..).zip(items) {
        // The same name again has replaced the first value.
        let newest = items.iter().rposition(|other| *other == item).unwrap_or_default();
        assert_eq!(fixture.ask(Query::Bytes(fixture.key(item))).await, bytes(&newest.to_string()), "{number} {item:?}");
    }
    let indexed = Query::IndexedCounters { index, space: Space::App };
    let Value::Counters(counters) = fixture.ask(indexed).await else { panic!("expected counters") };
    let found: Vec<String> = counters.iter().map(|(item, _)| item.to_string()).collect();
    let mut expected: Vec<&str> = items.to_vec();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(found, expected);
}

/// Owners of different kinds whose ids have the same bits have different items.
pub async fn owners_of_each_kind_have_their_own_items<H: Harness>(harness: &H) {
    let bits = harness.fresh();
    let (conversation, message) = (ConversationId::from_u128(bits), MessageId::from_u128(bits));
    let other_message = MessageId::from_u128(harness.fresh());
    let owners = [
        Owner::User(Fixture::new(harness).user),
        Owner::User(crate::ids::UserId::from_u128(bits)),
        Owner::Conversation(conversation),
        Owner::Message { conversation, message },
        Owner::Message { conversation, message: other_message },
        Owner::Shard(bits as u32),
    ];
    let keys = owners.map(|owner| Key::app(owner, "item of an owner"));
    let transactions = keys.iter().enumerate().map(|(number, key)| single(set(key, &number.to_string(), None)));
    let outcomes = harness.store().commit(transactions.collect()).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Committed(vec![]); keys.len()]);
    let values = harness.store().read(keys.iter().cloned().map(Query::Bytes).collect()).await.unwrap();
    let expected: Vec<Value> = (0..keys.len()).map(|number| bytes(&number.to_string())).collect();
    assert_eq!(values, expected);
    let deleted = harness.store().commit(keys.into_iter().map(|key| single(Mutation::Delete(key))).collect()).await;
    assert_eq!(deleted.unwrap().len(), owners.len());
}

/// One transaction checks and changes what is about both; what is about a message of another conversation is refused.
pub async fn a_message_is_in_the_partition_of_its_conversation<H: Harness>(harness: &H) {
    let [conversation, other] = [(); 2].map(|()| ConversationId::from_u128(harness.fresh()));
    let message = MessageId::from_u128(harness.fresh());
    let about_message = Owner::Message { conversation, message };
    let (votes, count) = (Key::app(about_message, "votes"), Key::app(Owner::Conversation(conversation), "count"));
    for owner in [Owner::Conversation(conversation), about_message] {
        let both = Transaction::new(owner).mutate(add(&votes, 1)).mutate(add(&count, 1));
        let outcomes = harness.store().commit(vec![both]).await.unwrap();
        assert!(matches!(&outcomes[..], [Outcome::Committed(sums)] if sums[0] == sums[1]), "{outcomes:?}");
    }
    let refused =
        Transaction::new(count.owner).check(Check::Equals(votes.clone(), b"1".to_vec())).mutate(add(&count, 1));
    assert_eq!(harness.store().commit(vec![refused]).await.unwrap(), [Outcome::Refused(0)]);
    let read = harness.store().read(vec![Query::Counter(votes.clone()), Query::Counter(count)]).await.unwrap();
    assert_eq!(read, [Value::Counter(2), Value::Counter(2)]);
    let elsewhere = Transaction::new(Owner::Conversation(other)).mutate(add(&votes, 1));
    let error = harness.store().commit(vec![elsewhere]).await.unwrap_err();
    assert!(matches!(error, StoreError::CrossPartition(_)), "{error}");
    let other_space = Key::new(Space::LastMessage, about_message);
    let error = harness.store().read(vec![Query::Presence(other_space)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
}

/// A user's item and the event about it happen together or not at all.
pub async fn an_item_changes_together_with_its_event<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness);
    let key = fixture.key("👍 count");
    let count = |expected: Option<&str>| {
        let absent = Check::Absent(key.clone());
        let check = expected.map_or(absent, |text| Check::Equals(key.clone(), text.as_bytes().to_vec()));
        fixture.transaction().check(check).mutate(add(&key, 1)).publish(durable("1"))
    };
    assert_eq!(fixture.commit(count(None)).await, Outcome::Committed(vec![1]));
    assert_eq!(fixture.commit(count(None)).await, Outcome::Refused(0));
    assert_eq!(fixture.commit(count(Some("1"))).await, Outcome::Committed(vec![2]));
}
