//! A [`World`] that is composed of a store, records, a clock and telemetry.

use std::sync::Arc;

use super::{FakeRecords, FakeStore, FakeTelemetry, ManualClock};
use crate::feed::Position;
use crate::ids::{ConversationId, UserId};
use crate::port::*;
use crate::time::Timestamp;

/// A [`World`] of any store, records, clock and telemetry. Clones share the parts. A simulation of several hosts gives
/// each host a clone with a clock of its own.
#[derive(Debug)]
pub struct TestWorld<S, R, C = ManualClock, T = FakeTelemetry> {
    /// The live state.
    pub store: Arc<S>,
    /// The system of record.
    pub records: Arc<R>,
    /// The clock that use cases read.
    pub clock: C,
    /// The counts of the use cases.
    pub telemetry: T,
}

/// The world of unit tests: every part is a fake, and all parts share one clock.
pub type FakeWorld = TestWorld<FakeStore, FakeRecords>;

impl FakeWorld {
    /// An empty world at [`ManualClock::START`].
    pub fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            store: Arc::new(FakeStore::new(clock.clone())),
            records: Arc::new(FakeRecords::new(1)),
            clock,
            telemetry: FakeTelemetry::new(),
        }
    }
}

impl<S, R, C: Clone, T: Clone> TestWorld<S, R, C, T> {
    /// The same world with another store.
    pub fn with_store<U>(&self, store: U) -> TestWorld<U, R, C, T> {
        TestWorld {
            store: Arc::new(store),
            records: Arc::clone(&self.records),
            clock: self.clock.clone(),
            telemetry: self.telemetry.clone(),
        }
    }

    /// The same world with other records.
    pub fn with_records<U>(&self, records: U) -> TestWorld<S, U, C, T> {
        TestWorld {
            store: Arc::clone(&self.store),
            records: Arc::new(records),
            clock: self.clock.clone(),
            telemetry: self.telemetry.clone(),
        }
    }

    /// The same world with other telemetry.
    pub fn with_telemetry<U>(&self, telemetry: U) -> TestWorld<S, R, C, U> {
        TestWorld {
            store: Arc::clone(&self.store),
            records: Arc::clone(&self.records),
            clock: self.clock.clone(),
            telemetry,
        }
    }
}

impl Default for FakeWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, R, C: Clone, T: Clone> Clone for TestWorld<S, R, C, T> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            records: Arc::clone(&self.records),
            clock: self.clock.clone(),
            telemetry: self.telemetry.clone(),
        }
    }
}

impl<S: KeyValue, R: Send + Sync, C: Send + Sync, T: Send + Sync> KeyValue for TestWorld<S, R, C, T> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.store.commit(transactions).await
    }
}

impl<S: PubSub, R: Send + Sync, C: Send + Sync, T: Send + Sync> PubSub for TestWorld<S, R, C, T> {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.store.publish(publications).await
    }
}

impl<S: Bus, R: Send + Sync, C: Send + Sync, T: Send + Sync> Bus for TestWorld<S, R, C, T> {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.store.join(user, subscriber).await
    }

    async fn leave(&self, user: UserId) {
        self.store.leave(user).await;
    }
}

impl<S: Feeds, R: Send + Sync, C: Send + Sync, T: Send + Sync> Feeds for TestWorld<S, R, C, T> {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        self.store.follow(users).await
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        self.store.positions(users).await
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        self.store.replay(user, since).await
    }
}

impl<S: Send + Sync, R: Send + Sync, C: Clock, T: Send + Sync> Clock for TestWorld<S, R, C, T> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn wait(&self, milliseconds: u32) {
        self.clock.wait(milliseconds).await;
    }
}

impl<S: Send + Sync, R: Send + Sync, C: Send + Sync, T: Telemetry> Telemetry for TestWorld<S, R, C, T> {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        self.telemetry.count(name, labels, amount);
    }

    fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        self.telemetry.warn(message, fields);
    }
}

/// Implements [`Records`] by handing every operation on to [`TestWorld::records`].
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl<S: Send + Sync, R: Records, C: Send + Sync, T: Send + Sync> Records for TestWorld<S, R, C, T> {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.records.$method($($argument),*).await
            })*
        }
    };
}

crate::records_operations!(delegate);

impl<S: Send + Sync, R: Directory, C: Send + Sync> Directory for TestWorld<S, R, C> {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        self.records.users(after, limit).await
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        self.records.conversation_ids(after, limit).await
    }
}
