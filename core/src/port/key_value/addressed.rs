//! Events for named users, which a transaction of any partition can have, and their bounds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Event, StoreError, limit, validate_event};
use crate::ids::UserId;
use crate::limits::{ADDRESSED_BYTES_MAX, ADDRESSEES_MAX};

/// An event for several users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressedEvent {
    /// The users whose devices receive the event. A user who is named twice receives it once.
    pub users: Vec<UserId>,
    /// The event that each of them receives.
    pub event: Event,
}

impl AddressedEvent {
    /// Names each user once, in the order in which they were first named.
    pub(crate) fn deduplicate_users(&mut self) {
        let mut seen = BTreeSet::new();
        self.users.retain(|user| seen.insert(*user));
    }
}

/// Validates events for named users. Returns the bytes that all users together receive.
pub(super) fn validate(addressed: &[AddressedEvent]) -> Result<usize, StoreError> {
    let (mut users, mut stored, mut received) = (0_usize, 0, 0_usize);
    for AddressedEvent { users: named, event } in addressed {
        if named.is_empty() {
            return Err(StoreError::Invalid(format!("the addressed event {} names no user", event.name)));
        }
        let bytes = validate_event(event)?;
        users = users.saturating_add(named.len());
        stored += bytes;
        received = received.saturating_add(bytes.saturating_mul(named.len()));
    }
    limit("users of the addressed events in a transaction", users, ADDRESSEES_MAX)?;
    limit("bytes of the addressed events in a transaction", stored, ADDRESSED_BYTES_MAX)?;
    Ok(received)
}
