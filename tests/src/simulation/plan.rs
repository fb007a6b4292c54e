//! The plan of one run: the shape of its world and the rates of its faults, all drawn from the seed.
//!
//! Every kind of fault is left out of some runs, so that a common fault does not always hide a rare one.

use super::rng::Rng;

/// Clocks differ from the store's clock by at most this much; the tolerances of the oracles follow from it.
pub(crate) const SKEW_MS_MAX: u64 = 2_000;

/// The shape and faults of one run. Rates are per mille of port calls, deliveries or seconds, as each field says.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Hosts over one store and one set of records.
    pub(crate) hosts: usize,
    /// The number of users.
    pub(crate) users: usize,
    /// The largest number of devices of each user.
    pub(crate) devices_max: usize,
    /// The number of groups, in addition to conversations of two.
    pub(crate) groups: usize,
    /// The number of actions of each device.
    pub(crate) actions: u64,
    /// The longest pause between two actions of a busy device.
    pub(crate) busy_ms: u64,
    /// Port calls that let other tasks run before, and as many after, they take effect.
    pub(crate) switch: u64,
    /// Port calls that take up to 50 ms on the way.
    pub(crate) slow: u64,
    /// Port calls that take seconds on the way.
    pub(crate) very_slow: u64,
    /// Port calls that answer `unavailable`, half of them after their effect.
    pub(crate) fail: u64,
    /// Calls that take effect in parts, in any order.
    pub(crate) torn: u64,
    /// Deliveries that never reach a host, without notice.
    pub(crate) lose: u64,
    /// Deliveries that reach a host twice.
    pub(crate) duplicate: u64,
    /// Confirmations to the records that are lost.
    pub(crate) unconfirmed: u64,
    /// Seconds after which a host crashes.
    pub(crate) crash: u64,
    /// Seconds after which the store restarts empty.
    pub(crate) wipe: u64,
    /// Seconds after which the store or the records become unavailable for a while.
    pub(crate) outage: u64,
    /// Seconds after which the clock of a host jumps.
    pub(crate) skew: u64,
    /// Seconds after which a deployment or a rollback reaches a host.
    pub(crate) deploy: u64,
    /// Outages of the store last longer than a device lives without heartbeats, and the store loses nothing.
    pub(crate) long_outages: bool,
    /// Outages cut one host off from the store for longer than a device lives without heartbeats, no other call fails
    /// or takes seconds, and the store loses nothing.
    pub(crate) cuts_one_host: bool,
    /// Users mostly write, read and delete, so that deletions meet reading in every order.
    pub(crate) deletes_often: bool,
}

impl Plan {
    /// Draws a plan from the seed's numbers.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut sometimes = |most: u64| if rng.chance(500) { rng.between(1, most) } else { 0 };
        let (slow, very_slow, fail, torn) = (sometimes(120), sometimes(15), sometimes(60), sometimes(400));
        let (lose, duplicate, unconfirmed) = (sometimes(80), sometimes(80), sometimes(300));
        let (crash, wipe, outage, skew) = (sometimes(25), sometimes(12), sometimes(20), sometimes(60));
        let deploy = sometimes(200);
        let long_outages = rng.chance(150);
        let (wipe, outage) = if long_outages { (0, 10) } else { (wipe, outage) };
        let cuts_one_host = !long_outages && rng.chance(180);
        let (wipe, outage) = if cuts_one_host { (0, 30) } else { (wipe, outage) };
        let (very_slow, fail) = if cuts_one_host { (0, 0) } else { (very_slow, fail) };
        Self {
            hosts: rng.between(2, 3) as usize,
            users: rng.between(3, 6) as usize,
            devices_max: rng.between(1, 2) as usize,
            groups: rng.between(1, 2) as usize,
            actions: rng.between(6, 16),
            busy_ms: [20, 200, 2_000][rng.below(3) as usize],
            switch: rng.between(200, 700),
            slow,
            very_slow,
            fail,
            torn,
            lose,
            duplicate,
            unconfirmed,
            crash,
            wipe,
            outage,
            skew,
            deploy,
            long_outages,
            cuts_one_host,
            deletes_often: rng.chance(300),
        }
    }
}
