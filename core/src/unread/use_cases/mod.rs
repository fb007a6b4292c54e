//! The use cases of counting: they read, ask the rules, commit, and try again after a lost race.

mod answer;
mod counter_state;
mod encoded_changes;
mod fill;
mod forget;
mod reconcile;

pub(crate) use answer::{count_lookup, recorded, stored_totals};
pub use answer::{of_conversation, totals};
pub(crate) use counter_state::{read_one, read_states};
pub(crate) use encoded_changes::encoded_changes;
pub(crate) use fill::fill;
pub use forget::forget;
pub(crate) use reconcile::{Target, Uncached, reconcile};

#[cfg(test)]
mod big_user_tests;
#[cfg(test)]
mod tests;
