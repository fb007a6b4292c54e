//! The harness: what the tests and benchmarks of the whole house share. Nothing depends on this package.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a surprise here is a failed test"
)]

mod artifacts;
pub mod backend;
pub mod client;
pub mod events;
pub mod fleet;
pub mod house;
pub mod ledger;
pub mod native;
pub mod patience;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod scene;
pub mod server;
pub mod simulation;
pub mod socket;
pub mod token;

pub use artifacts::{binary, components, guests};
