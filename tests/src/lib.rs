//! The test harness: what the tests and benchmarks of the workspace share. No other package depends on this one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: an unexpected value fails the test"
)]

mod artifacts;
pub mod backend;
pub mod browser;
pub mod certificate;
pub mod client;
pub mod deployment;
pub mod events;
pub mod eventually;
pub mod fan_out;
pub mod fixture;
pub mod fleet;
pub mod fuzz;
mod guardian;
pub mod javascript;
pub mod json_schema;
pub mod key_server;
pub mod ledger;
pub mod markdown;
pub mod metrics;
pub mod native;
pub mod nginx;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod scenario;
pub mod server;
pub mod simulation;
pub mod socket;
pub mod sources;
pub mod token;
pub mod tools;
pub mod writing;

pub use artifacts::{binary, components, guests};
