//! Fakes of every port, and the conformance suites that hold adapters and fakes to the same contracts.
//!
//! Built only with the feature `testing`; nothing that serves anybody uses it. Everything here is
//! deterministic: no threads, no randomness, and time only as far as a test moves it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a surprise here is a failed test"
)]

mod clock;
pub mod conformance;
mod outage;
mod records;
mod store;
mod task;
mod telemetry;
mod world;

pub use clock::ManualClock;
pub use outage::OutageStore;
pub use records::FakeRecords;
pub use store::{Calls, FakeStore, Stored};
pub use task::{BoxFuture, block_on, join_all, yield_now};
pub use telemetry::FakeTelemetry;
pub use world::{FakeWorld, TestWorld};
