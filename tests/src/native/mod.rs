//! The core without functions: the same use cases on the host's own store and records, compiled into this process.
//!
//! Benchmarks hold the host against this. It does the work of a function (parse, run, answer) and none of the host's.

mod answer;

use std::time::Duration;

use roost::records::RecordStore;
use roost::store::Store;
use roost_core::port::{Clock, Telemetry};
use roost_core::testing::TestWorld;
use roost_core::time::Timestamp;

pub use answer::answer;

/// The ports of the core on the host's parts.
pub type NativeWorld = TestWorld<Store, RecordStore, StoreClock, Uncounted>;

/// The core on this store and these records.
pub fn world(store: Store, records: RecordStore) -> NativeWorld {
    let clock = StoreClock(store.clone());
    TestWorld { store: store.into(), records: records.into(), clock, telemetry: Uncounted }
}

/// The store's time, as functions see it.
#[derive(Clone)]
pub struct StoreClock(Store);

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn wait(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(u64::from(milliseconds))).await;
    }
}

/// Counts nothing, which is the cheapest way to count.
#[derive(Clone, Copy, Debug)]
pub struct Uncounted;

impl Telemetry for Uncounted {
    fn count(&self, _name: &'static str, _labels: &[(&'static str, &str)], _amount: u64) {}
}
