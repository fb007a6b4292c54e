//! What the cases share: a fixture with an owner that no other case uses, short functions to read and to write, and a
//! subscriber that records its events.

use std::sync::{Arc, Mutex};

use super::Harness;
use crate::feed::Position;
use crate::ids::UserId;
use crate::key::{Key, Owner};
use crate::port::{
    Bus, Check, Delivery, Event, Feeds, KeyValue, Mutation, Outcome, PubSub, Publication, Query, Replay, StoreError,
    Subscriber, Text, Transaction, Value,
};

/// The partition of one user in the store under test.
pub(super) struct Fixture<'h, H> {
    pub(super) harness: &'h H,
    pub(super) user: UserId,
}

impl<'h, H: Harness> Fixture<'h, H> {
    pub(super) fn new(harness: &'h H) -> Self {
        Self { harness, user: UserId::from_u128(harness.fresh()) }
    }

    /// Follows the user, so that events are kept.
    pub(super) async fn followed(self) -> Self {
        self.follow().await;
        self
    }

    pub(super) async fn follow(&self) -> Position {
        let mut positions = self.store().follow(&[self.user]).await.expect("the store follows a user");
        assert_eq!(positions.len(), 1, "one position for one user");
        positions.remove(0)
    }

    pub(super) fn owner(&self) -> Owner {
        Owner::User(self.user)
    }

    pub(super) fn store(&self) -> &'h H::Store {
        self.harness.store()
    }

    /// A key of any type.
    pub(super) fn key(&self, item: &str) -> Key {
        Key::app(self.owner(), item)
    }

    pub(super) fn transaction(&self) -> Transaction {
        Transaction::new(self.owner())
    }

    pub(super) async fn ask(&self, query: Query) -> Value {
        let mut values = self.store().read(vec![query]).await.expect("the query is valid");
        assert_eq!(values.len(), 1, "one answer for one query");
        values.remove(0)
    }

    pub(super) async fn read_error(&self, query: Query) -> StoreError {
        self.store().read(vec![query]).await.expect_err("the query is invalid")
    }

    pub(super) async fn counter(&self, item: &str) -> Option<i64> {
        match self.ask(Query::Counter(self.key(item))).await {
            Value::Counter(number) => Some(number),
            Value::Missing => None,
            other => panic!("this is not an answer to a counter query: {other:?}"),
        }
    }

    pub(super) async fn exists(&self, item: &str) -> bool {
        self.ask(Query::Presence(self.key(item))).await == Value::Presence(true)
    }

    pub(super) async fn commit(&self, transaction: Transaction) -> Outcome {
        let mut outcomes = self.store().commit(vec![transaction]).await.expect("the transaction is valid");
        assert_eq!(outcomes.len(), 1, "one outcome for one transaction");
        outcomes.remove(0)
    }

    /// The error of a transaction: that it is too large is its own outcome, everything else fails the call.
    pub(super) async fn commit_error(&self, transaction: Transaction) -> StoreError {
        match self.store().commit(vec![transaction]).await {
            Ok(outcomes) => match outcomes.as_slice() {
                [Outcome::Failed(error @ StoreError::TooLarge(_))] => error.clone(),
                other => panic!("the transaction is invalid: {other:?}"),
            },
            Err(error) => {
                assert!(!matches!(error, StoreError::TooLarge(_)), "a call is never too large: {error}");
                error
            }
        }
    }

    /// Commits mutations that must succeed. Returns their results.
    pub(super) async fn change<const N: usize>(&self, mutations: [Mutation; N]) -> Vec<i64> {
        let mut transaction = self.transaction();
        transaction.mutations = mutations.into();
        match self.commit(transaction).await {
            Outcome::Committed(results) => results,
            other => panic!("the transaction was not committed: {other:?}"),
        }
    }

    pub(super) async fn try_change(&self, mutation: Mutation) -> Outcome {
        self.commit(self.transaction().mutate(mutation)).await
    }

    pub(super) async fn check(&self, check: Check) -> Outcome {
        self.commit(self.transaction().check(check)).await
    }

    pub(super) async fn holds(&self, check: Check) -> bool {
        match self.check(check).await {
            Outcome::Committed(_) => true,
            Outcome::Refused(0) => false,
            other => panic!("expected success or a refusal by the first check: {other:?}"),
        }
    }

    /// Writes one key of each type: `text`, `number`, `hash` and `ordered`.
    pub(super) async fn one_of_each_type(&self) {
        self.change([
            set(&self.key("text"), "one", None),
            add(&self.key("number"), 1),
            set_field(&self.key("hash"), "field", "one"),
            Mutation::OrderedPut(self.key("ordered"), "member".into(), 1),
        ])
        .await;
    }

    pub(super) async fn publish(&self, events: &[Event]) {
        let publication = |event: &Event| Publication { user: self.user, event: event.clone() };
        let publications = events.iter().map(publication).collect();
        self.store().publish(publications).await.expect("the publication is valid");
    }

    pub(super) async fn position(&self) -> Position {
        let mut positions = self.store().positions(&[self.user]).await.expect("the store answers positions");
        assert_eq!(positions.len(), 1, "one position for one user");
        positions.remove(0)
    }

    pub(super) async fn replay(&self, since: &Position) -> Replay {
        self.store().replay(self.user, since).await.expect("the store answers a replay")
    }

    /// The offsets of all events after `since`; `None` if the store answers a gap.
    pub(super) async fn offsets_after(&self, since: &Position) -> Option<Vec<u64>> {
        match self.replay(since).await {
            Replay::Gap => None,
            Replay::Events(events) => {
                Some(events.iter().map(|event| event.position.as_ref().expect("a durable event").offset).collect())
            }
        }
    }

    pub(super) async fn join(&self) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        let subscriber: Arc<dyn Subscriber> = listener.clone();
        self.store().join(self.user, subscriber).await.expect("the bus accepts the subscriber");
        listener
    }
}

/// Records everything that a subscriber receives.
#[derive(Default)]
pub(super) struct Listener {
    received: Mutex<Vec<(UserId, Delivery)>>,
}

impl Listener {
    pub(super) fn received(&self) -> Vec<(UserId, Delivery)> {
        self.received.lock().unwrap().clone()
    }

    /// The payloads in the order of delivery.
    pub(super) fn payloads(&self) -> Vec<String> {
        self.received().iter().map(|(_, delivery)| delivery.payload.to_string()).collect()
    }
}

impl Subscriber for Listener {
    fn deliver(&self, user: UserId, delivery: Delivery) {
        self.received.lock().unwrap().push((user, delivery));
    }

    fn interrupted(&self, _: &[UserId]) {}
}

pub(super) fn set(key: &Key, value: &str, ttl_ms: Option<u64>) -> Mutation {
    Mutation::Set(key.clone(), value.as_bytes().to_vec(), ttl_ms)
}

pub(super) fn add(key: &Key, delta: i64) -> Mutation {
    Mutation::Add { key: key.clone(), delta, floor: None }
}

pub(super) fn set_field(key: &Key, field: &str, value: &str) -> Mutation {
    Mutation::SetFields(key.clone(), vec![(field.to_owned().into(), value.to_owned().into())])
}

pub(super) fn delete_field(key: &Key, field: &str) -> Mutation {
    Mutation::DeleteFields(key.clone(), vec![field.to_owned().into()])
}

pub(super) fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

/// Fields for `set-fields`.
pub(super) fn fields(fields: &[(&'static str, &'static str)]) -> Vec<(Text, Text)> {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

pub(super) fn pairs<T: Clone>(pairs: &[(&str, T)]) -> Vec<(String, T)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(super) fn range(key: &Key, minimum: i64, maximum: i64, limit: u32) -> Query {
    Query::OrderedRange { key: key.clone(), minimum, maximum, limit }
}

pub(super) fn durable(payload: &str) -> Event {
    Event { name: "case.durable".into(), payload: payload.into(), durable: true }
}

pub(super) fn ephemeral(payload: &str) -> Event {
    Event { name: "case.ephemeral".into(), payload: payload.into(), durable: false }
}

pub(super) fn is_wrong_type(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(StoreError::WrongType(_)))
}
