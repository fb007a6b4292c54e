//! Removes what the store holds of users who have been idle for long, if the operator wishes so.
//!
//! Nothing scans the store for them: every user who is active is noted in an ordered set, by the time of the last
//! activity. All that is removed can be rebuilt, except the time at which the user was last seen.

mod rules;
mod use_cases;

pub use rules::active_users;
pub use use_cases::{IdleSummary, note, sweep};

#[cfg(test)]
mod tests;
