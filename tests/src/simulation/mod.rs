//! The simulation: several hosts, users, devices and conversations in one seeded, single-threaded world with injected
//! faults between any two steps, and oracles that check the invariants of the design.
//!
//! A seed decides everything: the plan, the order of tasks, and the faults. Time is virtual. The rules are the real
//! ones; the store and the records are the fakes that the conformance suites compare with real adapters; sessions and
//! clients are models that follow `roost_core::feed` and `roost.v1`.
#![allow(
    clippy::indexing_slicing,
    reason = "test support: an index that is out of bounds is a failed test, and the seed replays it"
)]

mod actions;
mod bus;
mod client;
mod deletions;
mod executor;
mod ground_truth;
mod host;
mod next_version;
mod oracle;
mod plan;
mod planted_bug;
mod port;
mod rng;
mod run;
mod sessions;
mod trace;
mod view;
mod votes;
mod world;

pub use deletions::DeletionOutcomes;
pub use ground_truth::Violation;
pub use planted_bug::PlantedBug;
pub use run::{Passed, SimulationFailure, replay, simulate};
pub use world::Degraded;
