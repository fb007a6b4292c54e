//! A store that goes away and comes back when a test says so, and counts who asked in vain.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{FakeStore, ManualClock};
use crate::port::{KeyValue, Outcome, PubSub, Publication, Query, StoreError, Transaction, Value};

/// What an unavailable store asks for.
const RETRY_AFTER_MS: u32 = 100;

/// The fake store behind a door.
#[derive(Debug, Default)]
pub struct OutageStore {
    /// What is behind it; asked directly it always answers.
    pub store: FakeStore,
    reads_fail: AtomicBool,
    writes_fail: AtomicBool,
    refused: AtomicU64,
}

impl OutageStore {
    /// A store that is there.
    pub fn new(clock: ManualClock) -> Self {
        Self { store: FakeStore::new(clock), ..Self::default() }
    }

    /// Answers nobody.
    pub fn go_away(&self) {
        self.reads_fail.store(true, Ordering::SeqCst);
        self.refuse_writes();
    }

    /// Answers reads only.
    pub fn refuse_writes(&self) {
        self.writes_fail.store(true, Ordering::SeqCst);
    }

    /// Answers everybody.
    pub fn come_back(&self) {
        self.reads_fail.store(false, Ordering::SeqCst);
        self.writes_fail.store(false, Ordering::SeqCst);
    }

    /// Calls that were not answered since this was last asked.
    pub fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::SeqCst)
    }

    fn pass(&self, closed: &AtomicBool) -> Result<(), StoreError> {
        if !closed.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Unavailable { retry_after_ms: RETRY_AFTER_MS })
    }
}

impl KeyValue for OutageStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.pass(&self.reads_fail)?;
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.pass(&self.writes_fail)?;
        self.store.commit(transactions).await
    }
}

impl PubSub for OutageStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.pass(&self.writes_fail)?;
        self.store.publish(publications).await
    }
}
