//! A store that becomes unavailable and available again when a test says so, and counts the calls that it refused.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{FakeRecords, FakeStore, FakeWorld, ManualClock, TestWorld};
use crate::port::{KeyValue, Outcome, PubSub, Publication, Query, StoreError, Transaction, Value};

/// The retry time that an unavailable store names.
const RETRY_AFTER_MS: u32 = 100;

/// A fake store that can be made unavailable.
#[derive(Debug, Default)]
pub struct OutageStore {
    /// The store itself, which is always available when it is called directly.
    pub store: FakeStore,
    reads_fail: AtomicBool,
    writes_fail: AtomicBool,
    refused: AtomicU64,
}

impl OutageStore {
    /// An available store.
    pub fn new(clock: ManualClock) -> Self {
        Self { store: FakeStore::new(clock), ..Self::default() }
    }

    /// A world at [`ManualClock::START`] with an available store; all parts are empty.
    pub fn world() -> TestWorld<Self, FakeRecords> {
        let world = FakeWorld::new();
        world.with_store(Self::new(world.clock.clone()))
    }

    /// Refuses reads and writes.
    pub fn set_unavailable(&self) {
        self.reads_fail.store(true, Ordering::SeqCst);
        self.refuse_writes();
    }

    /// Refuses writes and still answers reads.
    pub fn refuse_writes(&self) {
        self.writes_fail.store(true, Ordering::SeqCst);
    }

    /// Answers reads and writes again.
    pub fn set_available(&self) {
        self.reads_fail.store(false, Ordering::SeqCst);
        self.writes_fail.store(false, Ordering::SeqCst);
    }

    /// The number of refused calls since this was last called.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::SeqCst)
    }

    fn answer_unless(&self, failing: &AtomicBool) -> Result<(), StoreError> {
        if !failing.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS })
    }
}

impl KeyValue for OutageStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.answer_unless(&self.reads_fail)?;
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.answer_unless(&self.writes_fail)?;
        self.store.commit(transactions).await
    }
}

impl PubSub for OutageStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.answer_unless(&self.writes_fail)?;
        self.store.publish(publications).await
    }
}
