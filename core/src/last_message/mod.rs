//! The cache of each conversation's newest message: an hour long, and never replaced by something older.
//!
//! The cached hash carries the conversation's sequence at which it was true, its `version`; only a higher version
//! replaces it. So an edit or a deletion of the newest message wins over a reader that looked before it.

mod rules;
mod use_cases;

pub(crate) use rules::{parse, put, query};
pub use use_cases::get;
pub(crate) use use_cases::{complete, count_looks, refresh, renew};
