//! The use cases of counting: they read, ask the rules, commit, and try a lost race again.

mod answer;
mod counter_state;
mod encoded_changes;
mod fill;
mod forget;
mod reconcile;

pub(crate) use answer::{count_look, recorded, warm_totals};
pub use answer::{of_conversation, totals};
pub(crate) use counter_state::{read_one, read_states};
pub(crate) use encoded_changes::steps;
pub(crate) use fill::fill;
pub use forget::forget;
pub(crate) use reconcile::{Cold, Target, settle};
