//! The rules of counting: which checks, mutations and publications a transaction needs. They decide from plain values
//! and do no IO.

mod announcement;
mod counter_state;
mod fill;
mod forget;
mod later_change;
mod missed_events;
mod page;
mod reconciliation;
#[cfg(test)]
mod tests;
mod unread_update;

pub(crate) use announcement::{OWED_CHECK, announce};
pub(crate) use counter_state::CounterState;
pub(crate) use fill::{Fill, Positions, StoredPosition, lease_wait_ms, release, renew, take_lease};
pub(crate) use forget::forget;
pub(crate) use later_change::announce_later_change;
pub(crate) use missed_events::{AddedConversation, MissedEvents, encode_newest, is_added, missed, notified_up_to};
pub use page::{UnreadPage, page};
pub(crate) use reconciliation::{Reconciliation, reconcile, repeat, tell_counter};
pub(crate) use unread_update::new_total;

fn decimal(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
