//! What one run is like: the shape of its world and how rough it gets, all drawn from the seed.
//!
//! Every kind of fault is left out of some runs, so that a rare fault is not always hidden behind a common one.

use super::rng::Rng;

/// Clocks differ by at most this much from the store's: the bound that the oracles' tolerances follow.
pub(crate) const SKEW_MS_MAX: u64 = 2_000;

/// One run's shape and faults. Rates are per mille of port calls, deliveries or ticks, as each says.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Hosts over one store and one set of records.
    pub(crate) hosts: usize,
    /// People.
    pub(crate) users: usize,
    /// Devices of each person, at most.
    pub(crate) devices_max: usize,
    /// Conversations of more than two, beside those of two.
    pub(crate) groups: usize,
    /// What one device does before it comes to rest.
    pub(crate) actions: u64,
    /// Longest pause between two actions of a device that is busy.
    pub(crate) busy_ms: u64,
    /// Port calls that give way to other tasks before, and as many after, they take effect.
    pub(crate) switch: u64,
    /// Port calls that take up to 50 ms on the way.
    pub(crate) slow: u64,
    /// Port calls that take seconds on the way.
    pub(crate) very_slow: u64,
    /// Port calls that answer `unavailable`, half of them after their effect.
    pub(crate) fail: u64,
    /// Calls whose parts take effect apart, in any order.
    pub(crate) torn: u64,
    /// Deliveries that never reach a host; nobody is told.
    pub(crate) lose: u64,
    /// Deliveries that reach a host twice.
    pub(crate) duplicate: u64,
    /// Confirmations to the records that are lost.
    pub(crate) unconfirmed: u64,
    /// Seconds at the end of which a host dies.
    pub(crate) crash: u64,
    /// Seconds at the end of which the store restarts empty.
    pub(crate) wipe: u64,
    /// Seconds at the end of which the store or the records go away for a while.
    pub(crate) outage: u64,
    /// Seconds at the end of which a host's clock jumps.
    pub(crate) skew: u64,
}

impl Plan {
    /// Draws a plan.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut sometimes = |most: u64| if rng.chance(500) { rng.between(1, most) } else { 0 };
        let (slow, very_slow, fail, torn) = (sometimes(120), sometimes(15), sometimes(60), sometimes(400));
        let (lose, duplicate, unconfirmed) = (sometimes(80), sometimes(80), sometimes(300));
        let (crash, wipe, outage, skew) = (sometimes(25), sometimes(12), sometimes(20), sometimes(60));
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
        }
    }
}
