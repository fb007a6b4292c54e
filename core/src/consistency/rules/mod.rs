//! The rules of the consistency check: compare both sides, and judge the differences. They decide from plain values and
//! do no IO.

mod comparison;
mod judgement;
#[cfg(test)]
mod tests;

pub(super) use comparison::{Explanation, StoredCounters, Suspicion, compare_last_message, compare_user, unreadable};
pub(super) use judgement::{Judgement, judge};
