//! Who a user wants to see, and who is kept out.
//!
//! Contacts are directed; presence shows where they are mutual and neither side has blocked the other. Nobody is
//! told of a change here: clients ask for the present state.

mod rules;
mod use_cases;

pub use use_cases::{add, block, list, remove, unblock};

#[cfg(test)]
mod tests;
