//! Presence: which users are online, when they were last seen, and which contacts are told about a change.
//!
//! The rules depend on three facts that hold after every single store call:
//!
//! - The key `online:<user>` and the hash of devices get the same time to live in one transaction, and only the
//!   disconnect of the last device shortens that of the former. So a user without an `online` key has no live device.
//! - A user who is online, or whose last transition was not announced, has an entry among the deadlines. It is written
//!   before the state and removed after the announcement. An entry that is due too early costs one read.
//! - A change of who sees whom counts one generation more, without a transition. So every event from before has a lower
//!   generation than the one that corrects it.

mod rules;
mod use_cases;

pub use use_cases::{
    SweepSummary, Viewer, client_heartbeat, connected, disconnect, heartbeat, of_contacts, query, show_change, sweep,
};

#[cfg(test)]
mod tests;
