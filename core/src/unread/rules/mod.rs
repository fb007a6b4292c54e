//! The rules of counting: which checks, mutations and publications a transaction needs. They decide from plain values
//! and do no IO.

mod announcement;
mod counter_state;
mod encoded_change;
mod fill;
mod reconciliation;
#[cfg(test)]
mod tests;

pub(crate) use announcement::announce;
pub(crate) use counter_state::CounterState;
pub(crate) use encoded_change::{EncodedChange, EncodedChanges, notified_up_to};
pub(crate) use fill::fill;
pub(crate) use reconciliation::{Reconciliation, reconcile, unchanged};

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
