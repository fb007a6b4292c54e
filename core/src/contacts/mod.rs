//! A user's contacts and blocks.
//!
//! Contacts are directed. A user's presence is visible to another user if both are contacts of each other and neither has
//! blocked the other. A change here publishes nothing: clients ask for the present state.

mod rules;
mod use_cases;

pub use use_cases::{add, block, list, remove, unblock};

#[cfg(test)]
mod tests;
