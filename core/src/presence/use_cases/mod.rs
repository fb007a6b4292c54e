//! The use cases of presence: they read, ask the rules, commit, publish, and try again after a lost race.

mod announce;
mod client_device;
mod cut_off;
mod disconnect;
mod heartbeat;
mod query;
mod sweep;
mod visibility;

pub use client_device::client_heartbeat;
pub use disconnect::disconnect;
pub use heartbeat::{connected, heartbeat};
pub use query::{Viewer, of_contacts, query};
pub use sweep::{SweepSummary, sweep};
pub use visibility::show_change;

use crate::error::Error;
use crate::limits::LIST_MAX;

/// Refuses a list that is longer than one request may contain. `what` names its items in the error.
fn validate_length(what: &str, found: usize) -> Result<(), Error> {
    if found > LIST_MAX {
        return Err(Error::Invalid(format!("at most {LIST_MAX} {what} at a time, not {found}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_at_most_500_items() {
        assert_eq!(validate_length("users", LIST_MAX), Ok(()));
        let error = validate_length("users", LIST_MAX + 1).unwrap_err();
        assert_eq!(error.to_string(), "at most 500 users at a time, not 501");
    }
}
