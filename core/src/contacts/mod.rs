//! A user's contacts and blocks.
//!
//! Contacts are directed. A user's presence is visible to another user if both are contacts of each other and neither
//! has blocked the other. A change is told to the user's own devices, and to both users as far as they begin or cease
//! to see each other. What cannot be announced stays pending in the records until [`crate::messaging::recover`]
//! announces it.

mod rules;
mod use_cases;

pub use use_cases::{add, announce, block, blocked, list, remove, unblock};

#[cfg(test)]
mod tests;
