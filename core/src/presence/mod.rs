//! Who is online, since when, and who is told.
//!
//! The rules (`rules`) decide from plain values; the use cases (`use_cases`) read, commit, publish and try again.
//! What holds at every step, and what the rules lean on:
//!
//! - `online:<user>` and the devices' hash are written with the same life in one transaction, and only the end
//!   of a user without devices shortens the former. So who has no `online` key has no live device.
//! - Whoever is online, or in a state that contacts were not told, has an entry among the deadlines: it is
//!   written before the state and removed after the announcement. An entry that comes too early costs one look.

mod rules;
mod use_cases;

pub use use_cases::{Swept, Viewer, connected, disconnect, heartbeat, of_contacts, query, sweep};

#[cfg(test)]
mod tests;
