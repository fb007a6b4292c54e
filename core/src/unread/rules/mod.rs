//! The rules of counting: which checks, mutations and publications a transaction needs. They decide from plain values
//! and do no IO.

mod announcement;
mod counter_state;
mod encoded_change;
mod fill;
mod forget;
mod later_change;
mod page;
mod reconciliation;
#[cfg(test)]
mod tests;

pub(crate) use announcement::{OWED_CHECK, announce};
pub(crate) use counter_state::CounterState;
pub(crate) use encoded_change::{EncodedChanges, encode_newest, missed, notified_up_to};
pub(crate) use fill::{Fill, Positions, lease_wait_ms, release, renew, take_lease};
pub(crate) use forget::forget;
pub(crate) use later_change::announce_later_change;
pub use page::{UnreadPage, page};
pub(crate) use reconciliation::{Reconciliation, reconcile, unchanged};

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
