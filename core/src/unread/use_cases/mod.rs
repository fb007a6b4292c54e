//! The use cases of counting: they read, ask the rules, commit, and try again after a lost race.

mod amend;
mod answer;
mod counter_state;
mod fill;
mod forget;
mod missed_events;
mod overview;
mod reconcile;

pub(crate) use amend::amend;
pub(crate) use answer::{count_lookup, fill_or_wait, recorded, stored_totals};
pub use answer::{of_conversation, totals};
pub(crate) use counter_state::{read_one, read_states};
pub use forget::{forget, repair};
pub(crate) use missed_events::{MemberSnapshot, missed_events};
pub use overview::overview;
pub(crate) use reconcile::{Target, Uncached, reconcile};

#[cfg(test)]
mod big_user_tests;
#[cfg(test)]
mod tests;
