//! The cache of each conversation's newest message. An entry expires after an hour and is never replaced by an older
//! state.
//!
//! The cached hash contains the conversation's sequence number at which it was read, its `version`. Only a state with a
//! higher version replaces it, so an edit or a deletion of the newest message wins over a reader that read before it.

mod rules;
#[cfg(test)]
mod tests;
mod use_cases;

pub(crate) use rules::{parse, put, query};
pub use use_cases::get;
pub(crate) use use_cases::{complete, count_lookups, refresh, renew};
