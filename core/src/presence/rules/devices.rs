//! The rule of devices whose ids clients choose: a heartbeat tells whether its device is new, and how many there may
//! be.

use super::heartbeat::{Heartbeat, deadlines, refresh};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Space};
use crate::limits::DEVICES_MAX;
use crate::port::{Mutation, Transaction};
use crate::time::Timestamp;

/// What a heartbeat of a client-chosen device has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The device was there before.
    Known,
    /// The device was added.
    New,
    /// The user is not online; only the deadline of the user was written.
    Offline,
}

/// Renews the heartbeat of a user who is online, and asks for the deadline that the device had. The user's own
/// transaction is the first one.
pub(crate) fn renew(user: UserId, connection: &ConnectionId, now: Timestamp) -> Vec<Transaction> {
    let heartbeat = Heartbeat { user, connections: vec![connection] };
    let mut own = refresh(&heartbeat, now);
    // Adding zero returns the deadline from before the heartbeat, or zero if the device is new.
    let ask = Mutation::AddField(Key::of_user(Space::Devices, user), connection.as_str().to_owned().into(), 0);
    own.mutations.insert(0, ask);
    let mut transactions = vec![own];
    transactions.extend(deadlines(&[heartbeat], now));
    transactions
}

/// What the results of the user's own transaction say.
pub(crate) fn renewal(results: &[i64]) -> Renewal {
    match results {
        [deadline, ..] if *deadline > 0 => Renewal::Known,
        _ => Renewal::New,
    }
}

/// Whether a user may not have so many devices.
pub(crate) const fn are_too_many(devices: usize) -> bool {
    devices > DEVICES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_before_tells_whether_a_device_is_new() {
        assert_eq!(renewal(&[1_790_000_000_000]), Renewal::Known);
        assert_eq!(renewal(&[0]), Renewal::New);
        assert_eq!(renewal(&[]), Renewal::New);
    }

    #[test]
    fn the_bound_itself_is_allowed() {
        assert!(!are_too_many(DEVICES_MAX) && are_too_many(DEVICES_MAX + 1));
    }

    #[test]
    fn the_deadline_is_asked_for_before_it_is_written() {
        let connection: ConnectionId = "a".parse().unwrap();
        let user = UserId::from_u128(7);
        let transactions = renew(user, &connection, Timestamp(1_790_000_000_000));
        let key = Key::of_user(Space::Devices, user);
        assert_eq!(transactions[0].mutations[0], Mutation::AddField(key, "a".into(), 0));
        assert_eq!(transactions.len(), 2, "the deadline of the user is in another partition");
    }
}
