//! The simulation: several hosts, users, devices and conversations in one seeded, single-threaded world in which
//! anything may go wrong between any two steps, and oracles that know what must hold all the same.
//!
//! A seed decides everything: the plan, who goes next, what fails. Time is virtual. The rules are the real ones; the
//! store and the records are the fakes that real adapters are compared with; hub and clients are models that follow
//! `roost_core::feed` and `roost.v1`.
#![allow(
    clippy::indexing_slicing,
    reason = "test support: an index that is out of bounds is a failed test, and the seed replays it"
)]

mod actions;
mod bus;
mod client;
mod executor;
mod host;
mod hub;
mod ledger;
mod mistake;
mod oracle;
mod plan;
mod port;
mod rng;
mod run;
mod trace;
mod view;
mod world;

pub use ledger::Violation;
pub use mistake::Mistake;
pub use run::{Failure, Passed, replay, simulate};
pub use world::Degraded;
