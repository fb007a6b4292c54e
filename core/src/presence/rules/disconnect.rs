//! The rule of a clean goodbye: whether the user has a device left, and how long the grace lasts.
//!
//! A device whose deadline passed belongs to a host that died; it is swept out here and keeps nobody online.

use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::PRESENCE_GRACE_MS;
use crate::port::{Check, Mutation, Transaction};
use crate::time::Timestamp;

/// What is left of a user after a device was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Connection and deadline in ms, as the hash spells them.
    pub(crate) devices: Vec<(String, String)>,
    /// The life left of the user's `online` key; `None`: there is none.
    pub(crate) online_ms: Option<u64>,
}

/// What a goodbye does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disconnection {
    /// Nothing: another device lives, or the user is gone already.
    Done,
    /// Removes what dead hosts left behind, then looks again.
    Prune(Vec<(String, String)>),
    /// The user has no device: offline in so many milliseconds, unless one comes back.
    Grace(u64),
}

/// Decides from what is left.
pub(crate) fn decide(remains: &Remains, now: Timestamp) -> Disconnection {
    let stale = stale(&remains.devices, now);
    if !stale.is_empty() {
        return Disconnection::Prune(stale);
    }
    match remains.online_ms {
        // Saying goodbye again does not prolong the grace that is running.
        Some(life_ms) if remains.devices.is_empty() => Disconnection::Grace(life_ms.clamp(1, PRESENCE_GRACE_MS)),
        _ => Disconnection::Done,
    }
}

/// The devices whose deadline has passed, or is none.
pub(crate) fn stale(devices: &[(String, String)], now: Timestamp) -> Vec<(String, String)> {
    let lives = |deadline: &str| deadline.parse::<u64>().is_ok_and(|deadline| deadline > now.0);
    devices.iter().filter(|(_, deadline)| !lives(deadline)).cloned().collect()
}

/// Removes the device that says goodbye.
pub(crate) fn remove(user: UserId, connection: &ConnectionId) -> Transaction {
    Transaction::new(Owner::User(user))
        .mutate(Mutation::DeleteFields(Key::of_user(Space::Devices, user), vec![connection.as_str().to_owned().into()]))
}

/// Removes stale devices, unless one of them heartbeat meanwhile.
pub(crate) fn prune(user: UserId, stale: &[(String, String)]) -> Transaction {
    let devices = || Key::of_user(Space::Devices, user);
    let mut transaction = Transaction::new(Owner::User(user));
    for (connection, deadline) in stale {
        let unmoved = Check::FieldEquals(devices(), connection.clone().into(), Some(deadline.clone().into()));
        transaction.checks.push(unmoved);
    }
    let names = stale.iter().map(|(connection, _)| connection.clone().into()).collect();
    transaction.mutate(Mutation::DeleteFields(devices(), names))
}

/// Shortens the life of a user without devices. A device that heartbeats first refuses the former transaction; the
/// latter then only makes a sweep look earlier.
pub(crate) fn grace(user: UserId, grace_ms: u64, now: Timestamp) -> Vec<Transaction> {
    let due = Key::presence_due(user);
    let deadline = now.plus(grace_ms).score();
    vec![
        Transaction::new(Owner::User(user))
            .check(Check::Absent(Key::of_user(Space::Devices, user)))
            .mutate(Mutation::Expire(Key::of_user(Space::Online, user), grace_ms)),
        Transaction::new(due.owner).mutate(Mutation::OrderedPut(due, user.into(), deadline)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn check(devices: &[(&str, &str)], online_ms: Option<u64>, expected: &Disconnection) {
        let devices = owned(devices);
        assert_eq!(&decide(&Remains { devices, online_ms }, NOW), expected);
    }

    fn owned(devices: &[(&str, &str)]) -> Vec<(String, String)> {
        devices.iter().map(|(name, at)| ((*name).into(), (*at).into())).collect()
    }

    #[test]
    fn the_last_device_leaves_a_grace() {
        check(&[], Some(40_000), &Disconnection::Grace(PRESENCE_GRACE_MS));
    }

    #[test]
    fn a_second_goodbye_does_not_prolong_the_grace() {
        check(&[], Some(3_000), &Disconnection::Grace(3_000));
        check(&[], None, &Disconnection::Done);
    }

    #[test]
    fn a_live_device_keeps_its_user() {
        check(&[("b", "1000001")], Some(40_000), &Disconnection::Done);
    }

    #[test]
    fn what_a_dead_host_left_is_removed_first() {
        let stale = owned(&[("b", "1000000"), ("c", "soon")]);
        check(&[("a", "1000001"), ("b", "1000000"), ("c", "soon")], Some(40_000), &Disconnection::Prune(stale.clone()));
        let transaction = prune(UserId::from_u128(7), &stale);
        assert_eq!(transaction.checks.len(), 2, "a device that heartbeat meanwhile stays");
    }
}
