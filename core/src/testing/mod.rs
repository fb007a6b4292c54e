//! Fakes of every port, and the conformance suites that test adapters and fakes against the same contracts.
//!
//! Built only with the feature `testing`; no production code uses it. Everything here is deterministic: there are no
//! threads and no randomness, and time advances only when a test advances it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a panic here is a failed test"
)]

mod broken_feed;
#[cfg(test)]
mod changing;
mod clock;
pub mod conformance;
mod interleavings;
mod outage;
mod records;
mod store;
mod task;
mod telemetry;
mod world;

pub use broken_feed::BrokenFeed;
pub use clock::ManualClock;
pub use interleavings::Interleavings;
pub use outage::OutageStore;
pub use records::FakeRecords;
pub use store::{Calls, FakeStore, StoredValue};
pub use task::{BoxFuture, block_on, join_all, yield_now};
pub use telemetry::FakeTelemetry;
pub use world::{FakeWorld, TestWorld};
