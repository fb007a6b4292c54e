//! The rule of a disconnect: whether the user has another device, and how long the grace period lasts.
//!
//! A device whose deadline has passed belongs to a host that crashed. It is removed here and does not keep its user
//! online.

use super::record::lose_device;
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::PRESENCE_GRACE_MS;
use crate::port::{Check, Mutation, Transaction};
use crate::time::Timestamp;

/// The devices and the `online` key of a user after the disconnected device was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemainingDevices {
    /// Connection ids with their deadlines in ms, as the hash holds them.
    pub(crate) devices: Vec<(String, String)>,
    /// The remaining time to live of the user's `online` key; `None` if the key is missing.
    pub(crate) online_ms: Option<u64>,
}

/// The next step after a device disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DisconnectDecision {
    /// Nothing: another device is connected, or the user is offline already.
    Done,
    /// Remove these devices of crashed hosts, then read again.
    Prune(Vec<(String, String)>),
    /// The user has no device: the user goes offline after so many milliseconds, unless a device connects.
    Grace(u64),
}

/// Decides from the remaining devices.
pub(crate) fn decide(remaining: &RemainingDevices, now: Timestamp) -> DisconnectDecision {
    let stale = stale(&remaining.devices, now);
    if !stale.is_empty() {
        return DisconnectDecision::Prune(stale);
    }
    match remaining.online_ms {
        // Another disconnect does not prolong a grace period that has begun.
        Some(life_ms) if remaining.devices.is_empty() => DisconnectDecision::Grace(life_ms.clamp(1, PRESENCE_GRACE_MS)),
        _ => DisconnectDecision::Done,
    }
}

/// The devices whose deadline has passed or cannot be parsed.
pub(crate) fn stale(devices: &[(String, String)], now: Timestamp) -> Vec<(String, String)> {
    let is_live = |deadline: &str| deadline.parse::<u64>().is_ok_and(|deadline| deadline > now.0);
    devices.iter().filter(|(_, deadline)| !is_live(deadline)).cloned().collect()
}

/// Removes the device that disconnects.
pub(crate) fn remove(user: UserId, connection: &ConnectionId) -> Transaction {
    Transaction::new(Owner::User(user))
        .mutate(Mutation::DeleteFields(Key::of_user(Space::Devices, user), vec![connection.as_str().to_owned().into()]))
}

/// Removes stale devices, and notes that there were some, unless one of them has sent a heartbeat in the meantime.
pub(crate) fn prune(user: UserId, stale: &[(String, String)], now: Timestamp) -> Transaction {
    let devices = || Key::of_user(Space::Devices, user);
    let mut transaction = Transaction::new(Owner::User(user));
    for (connection, deadline) in stale {
        let unchanged = Check::FieldEquals(devices(), connection.clone().into(), Some(deadline.clone().into()));
        transaction.checks.push(unchanged);
    }
    let names = stale.iter().map(|(connection, _)| connection.clone().into()).collect();
    transaction.mutate(Mutation::DeleteFields(devices(), names)).mutate(lose_device(user, now))
}

/// Shortens the time to live of a user without devices. If a device sends a heartbeat first, the first transaction is
/// refused, and the second one only makes a sweep read the user earlier.
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

    fn check(devices: &[(&str, &str)], online_ms: Option<u64>, expected: &DisconnectDecision) {
        let devices = owned(devices);
        assert_eq!(&decide(&RemainingDevices { devices, online_ms }, NOW), expected);
    }

    fn owned(devices: &[(&str, &str)]) -> Vec<(String, String)> {
        devices.iter().map(|(name, at)| ((*name).into(), (*at).into())).collect()
    }

    #[test]
    fn the_last_device_starts_a_grace_period() {
        check(&[], Some(40_000), &DisconnectDecision::Grace(PRESENCE_GRACE_MS));
    }

    #[test]
    fn a_second_disconnect_does_not_prolong_the_grace_period() {
        check(&[], Some(3_000), &DisconnectDecision::Grace(3_000));
        check(&[], None, &DisconnectDecision::Done);
    }

    #[test]
    fn another_live_device_keeps_its_user_online() {
        check(&[("b", "1000001")], Some(40_000), &DisconnectDecision::Done);
    }

    #[test]
    fn devices_of_a_crashed_host_are_removed_first() {
        let stale = owned(&[("b", "1000000"), ("c", "soon")]);
        check(
            &[("a", "1000001"), ("b", "1000000"), ("c", "soon")],
            Some(40_000),
            &DisconnectDecision::Prune(stale.clone()),
        );
        let user = UserId::from_u128(7);
        let transaction = prune(user, &stale, NOW);
        assert_eq!(transaction.checks.len(), 2, "a device with a newer heartbeat stays");
        assert_eq!(transaction.mutations.last(), Some(&lose_device(user, NOW)));
    }

    #[test]
    fn the_grace_period_shortens_the_online_key_and_makes_the_user_due() {
        let user = UserId::from_u128(7);
        let [own, due] = &grace(user, 3_000, NOW)[..] else { panic!("two transactions") };
        assert_eq!(own.checks, [Check::Absent(Key::of_user(Space::Devices, user))]);
        assert_eq!(own.mutations, [Mutation::Expire(Key::of_user(Space::Online, user), 3_000)]);
        let deadline = NOW.plus(3_000).score();
        assert_eq!(due.mutations, [Mutation::OrderedPut(Key::presence_due(user), user.into(), deadline)]);
    }
}
