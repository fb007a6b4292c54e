//! Events for named users, committed with a change in another partition.

use super::Harness;
use super::fixture::{Fixture, add, durable, ephemeral, set};
use crate::feed::Position;
use crate::ids::{ConversationId, MessageId, UserId};
use crate::key::{Key, Owner};
use crate::limits::ADDRESSEES_MAX;
use crate::port::{Check, KeyValue, Outcome, Query, StoreError, Transaction, Value};

/// A key in the partition of a conversation.
fn votes<H: Harness>(harness: &H) -> Key {
    Key::app(Owner::Conversation(ConversationId::from_u128(harness.fresh())), "votes")
}

async fn commit<H: Harness>(harness: &H, transaction: Transaction) -> Outcome {
    harness.store().commit(vec![transaction]).await.expect("the transaction is valid").remove(0)
}

async fn count<H: Harness>(harness: &H, key: &Key) -> Value {
    harness.store().read(vec![Query::Counter(key.clone())]).await.expect("the query is valid").remove(0)
}

fn users<H: Harness>(fixtures: &[Fixture<'_, H>]) -> Vec<UserId> {
    fixtures.iter().map(|fixture| fixture.user).collect()
}

fn offset(position: &Position) -> u64 {
    position.offset
}

/// The owner can be a conversation or a shard, which have no feed of their own.
pub async fn a_change_of_any_partition_and_its_events_happen_together<H: Harness>(harness: &H) {
    let fixtures: Vec<_> = (0..3).map(|_| Fixture::new(harness)).collect();
    for fixture in &fixtures {
        fixture.follow().await;
    }
    let first = fixtures[0].join().await;
    let key = votes(harness);
    let transaction = Transaction::new(key.owner).mutate(add(&key, 2)).address(users(&fixtures), durable("1"));
    assert_eq!(commit(harness, transaction).await, Outcome::Committed(vec![2]));
    assert_eq!(count(harness, &key).await, Value::Counter(2));
    for fixture in &fixtures {
        assert_eq!(offset(&fixture.position().await), 1);
    }
    let without_change = Transaction::new(Owner::Shard(3)).address(users(&fixtures[..1]), durable("2"));
    assert_eq!(commit(harness, without_change).await, Outcome::Committed(vec![]));
    harness.wait_for_deliveries().await;
    assert_eq!(first.payloads(), ["1", "2"]);
}

/// An item of a message, and one of its conversation, change together with the events.
pub async fn an_owner_that_is_a_message_has_addressed_events<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let conversation = ConversationId::from_u128(harness.fresh());
    let owner = Owner::Message { conversation, message: MessageId::from_u128(harness.fresh()) };
    let (reactions, all) = (Key::app(owner, "\u{1f44d}"), Key::app(Owner::Conversation(conversation), "all"));
    let transaction = Transaction::new(owner)
        .mutate(add(&reactions, 1))
        .mutate(add(&all, 3))
        .address(vec![fixture.user], durable("1"));
    assert_eq!(commit(harness, transaction).await, Outcome::Committed(vec![1, 3]));
    assert_eq!(offset(&fixture.position().await), 1);
}

/// A transaction whose change has the wrong type tells nobody either.
pub async fn a_refused_transaction_tells_nobody_and_names_its_check<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let key = votes(harness);
    let base =
        || Transaction::new(key.owner).check(Check::Absent(key.clone())).address(vec![fixture.user], durable("1"));
    let refused = base().check(Check::Present(key.clone())).mutate(add(&key, 1));
    assert_eq!(commit(harness, refused).await, Outcome::Refused(1));
    let text = Transaction::new(key.owner).mutate(set(&key, "text", None));
    assert_eq!(commit(harness, text).await, Outcome::Committed(vec![]));
    assert_eq!(commit(harness, base()).await, Outcome::Refused(0));
    let wrong = Transaction::new(key.owner).mutate(add(&key, 1)).address(vec![fixture.user], durable("1"));
    let outcome = commit(harness, wrong).await;
    assert!(matches!(outcome, Outcome::Failed(StoreError::WrongType(_))), "{outcome:?}");
    assert!(fixture.position().await.without_feed_since().is_some(), "nothing was published");
}

/// A user who is named twice by one event receives it once.
pub async fn each_user_receives_the_events_in_order_and_once<H: Harness>(harness: &H) {
    let fixtures = [Fixture::new(harness).followed().await, Fixture::new(harness).followed().await];
    let listeners = [fixtures[0].join().await, fixtures[1].join().await];
    let [ann, bob] = [fixtures[0].user, fixtures[1].user];
    let owner = votes(harness).owner;
    let transaction = Transaction::new(owner)
        .address(vec![ann, bob], durable("1"))
        .address(vec![bob, bob], ephemeral("2"))
        .address(vec![bob, ann, bob], durable("3"));
    assert_eq!(commit(harness, transaction.clone()).await, Outcome::Committed(vec![]));
    assert_eq!(commit(harness, transaction).await, Outcome::Committed(vec![]), "the same again is another transaction");
    harness.wait_for_deliveries().await;
    assert_eq!(listeners[0].payloads(), ["1", "3", "1", "3"]);
    assert_eq!(listeners[1].payloads(), ["1", "2", "3", "1", "2", "3"]);
    assert_eq!(offset(&fixtures[1].position().await), 4);
}

/// Both kinds of events can be in one transaction.
pub async fn an_owner_who_is_a_user_has_events_of_their_own<H: Harness>(harness: &H) {
    let (owner, other) = (Fixture::new(harness).followed().await, Fixture::new(harness).followed().await);
    let transaction = owner
        .transaction()
        .mutate(add(&owner.key("count"), 1))
        .publish(durable("own"))
        .address(vec![other.user], durable("other"));
    assert_eq!(owner.commit(transaction).await, Outcome::Committed(vec![1]));
    assert_eq!((offset(&owner.position().await), offset(&other.position().await)), (1, 1));
}

/// The outcomes stay in the order of the transactions.
pub async fn transactions_with_and_without_addressed_events_are_independent<H: Harness>(harness: &H) {
    let fixture = Fixture::new(harness).followed().await;
    let (one, other) = (votes(harness), votes(harness));
    let address = |key: &Key| Transaction::new(key.owner).mutate(add(key, 1)).address(vec![fixture.user], durable("1"));
    let transactions = vec![
        address(&one),
        Transaction::new(other.owner).mutate(add(&other, 5)),
        address(&one).check(Check::Present(Key { item: Some("missing".to_owned()), ..one.clone() })),
        fixture.transaction().mutate(add(&fixture.key("count"), 7)),
    ];
    let outcomes = harness.store().commit(transactions).await.expect("all are valid");
    let expected = [1, 5, 0, 7].map(|sum| if sum == 0 { Outcome::Refused(0) } else { Outcome::Committed(vec![sum]) });
    assert_eq!(outcomes, expected);
    assert_eq!(offset(&fixture.position().await), 1);
}

/// A transaction whose events are too many fails alone. One whose event names no user fails the call.
pub async fn addressed_events_beyond_a_limit_are_refused<H: Harness>(harness: &H) {
    let key = votes(harness);
    let fixture = Fixture::new(harness).followed().await;
    let base = || Transaction::new(key.owner).mutate(add(&key, 1));
    let nobody = base().address(Vec::new(), durable("1"));
    let error = harness.store().commit(vec![base(), nobody]).await.expect_err("it is invalid");
    assert!(matches!(error, StoreError::Invalid(_)), "{error}");
    assert_eq!(count(harness, &key).await, Value::Missing);
    let many = base().address(vec![fixture.user; ADDRESSEES_MAX + 1], durable("1"));
    let few = base().address(vec![fixture.user], durable("2"));
    let outcomes = harness.store().commit(vec![many, few]).await.expect("both are valid");
    assert!(matches!(outcomes[0], Outcome::Failed(StoreError::TooLarge(_))), "{outcomes:?}");
    assert_eq!((&outcomes[1], offset(&fixture.position().await)), (&Outcome::Committed(vec![1]), 1));
}
