//! How many bytes the items of a function in the space `app` take, and when a transaction would take too many. Every
//! adapter counts the same bytes, with the commit.
//!
//! An item takes [`ITEM_BYTES`] and its content: the bytes of a value (a counter is its decimal text), the names and
//! values of all fields, or the members of an ordered set with [`SCORE_BYTES`] each.

use super::{Mutation, StoreError, Transaction};
use crate::key::Space;

/// What an item takes beside its content: its name, and what a store keeps about it.
pub const ITEM_BYTES: u64 = 512;
/// What a score takes beside its member.
pub const SCORE_BYTES: u64 = 8;

/// The most bytes that the items of one function may take, over all owners and hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppBound(pub u64);

impl AppBound {
    /// Checks what the items of a function would take after a transaction that changes this by `growth`. A function
    /// that has more than it may have, because the bound was lowered, can still shrink.
    pub fn check(self, function: &str, after: u64, growth: i64) -> Result<(), StoreError> {
        if growth > 0 && after > self.0 { Err(self.exceeded(function, after)) } else { Ok(()) }
    }

    /// What the function is told.
    pub fn exceeded(self, function: &str, after: u64) -> StoreError {
        StoreError::QuotaExceeded(format!(
            "the items of the space app would take {after} bytes, but app_bytes_max allows {}; delete items, give them a time \
             to live, or let the operator raise function.{function}.app_bytes_max",
            self.0
        ))
    }
}

/// The function whose items the mutations of a transaction change; `None` if they change no item of the space `app`.
/// Validation has made sure that there is only one.
pub fn app_function(transaction: &Transaction) -> Option<&str> {
    let mut keys = transaction.mutations.iter().map(Mutation::key).filter(|key| key.space == Space::App);
    keys.next().map(|key| key.function_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_transaction_that_grows_beyond_the_bound_is_refused() {
        let bound = AppBound(1_000);
        assert_eq!(bound.check("polls", 1_000, 1), Ok(()));
        assert_eq!(bound.check("polls", 5_000, 0), Ok(()));
        assert_eq!(bound.check("polls", 5_000, -1), Ok(()));
        let StoreError::QuotaExceeded(text) = bound.check("polls", 1_001, 1).unwrap_err() else { panic!("a quota") };
        assert!(text.contains("would take 1001 bytes, but app_bytes_max allows 1000"), "{text}");
        assert!(text.contains("function.polls.app_bytes_max"), "{text}");
    }
}
