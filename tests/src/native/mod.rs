//! The core without functions: the same use cases on the host's own store and records, compiled into the test's
//! process.
//!
//! Benchmarks compare the host with this. It does the work of a function (parse, run, answer) and none of the host's
//! work.

mod answer;

use std::time::Duration;

use roost::records::RecordStore;
use roost::store::Store;
use roost_core::port::{Clock, Telemetry};
use roost_core::testing::TestWorld;
use roost_core::time::Timestamp;

pub use answer::answer;

/// The core's ports on the host's store and records.
pub type NativeWorld = TestWorld<Store, RecordStore, StoreClock, Uncounted>;

/// The core's ports on this store and these records.
pub fn world(store: Store, records: RecordStore) -> NativeWorld {
    let clock = StoreClock(store.clone());
    TestWorld { store: store.into(), records: records.into(), clock, telemetry: Uncounted }
}

/// The clock of the store, which functions also use.
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

/// Telemetry that records nothing, which is the cheapest telemetry.
#[derive(Clone, Copy, Debug)]
pub struct Uncounted;

impl Telemetry for Uncounted {
    fn count(&self, _name: &'static str, _labels: &[(&'static str, &str)], _amount: u64) {}
}
