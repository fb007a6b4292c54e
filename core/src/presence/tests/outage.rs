//! Outages of the store, for all hosts or for one: nobody departs because of one, and a host that died meanwhile is
//! noticed nevertheless.
//!
//! Time passes in steps of a sweep's interval, in which each host that is alive sends its heartbeats when they are due,
//! and sweeps. The heartbeats of a host that is cut off fail, and it does not sweep, because it cannot claim a shard.

mod cut_off;

use std::collections::BTreeSet;

use super::*;
use crate::error::Error;
use crate::limits::{
    CUT_OFF_HOLD_MS, DEPARTURE_HOLD_MS, HEARTBEAT_INTERVAL_MS, PRESENCE_TTL_MS, SWEEP_GAP_MS, SWEEP_INTERVAL_MS,
};
use crate::testing::{FakeRecords, OutageStore, TestWorld};

const CAT: UserId = UserId::from_u128(0xca7);
const SECOND_MS: u64 = 1_000;

/// What a host reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Everything,
    /// Only the records.
    Records,
    Nothing,
}

/// A host with one connected user.
struct SimpleHost {
    user: UserId,
    is_alive: bool,
    reach: Reach,
    next_heartbeat_at: u64,
}

impl SimpleHost {
    const fn new(user: UserId, next_heartbeat_at: u64) -> Self {
        Self { user, is_alive: true, reach: Reach::Everything, next_heartbeat_at }
    }
}

/// Two hosts on one store: Ann is connected to the first, Cat to the second, and Bob is the contact of both.
struct Outage {
    world: TestWorld<OutageStore, FakeRecords>,
    hosts: Vec<SimpleHost>,
    /// The time since the start.
    now_ms: u64,
}

impl Outage {
    fn new() -> Self {
        let world = OutageStore::world();
        for user in [ANN, CAT] {
            block_on(world.add_contact(user, BOB)).unwrap();
            block_on(world.add_contact(BOB, user)).unwrap();
        }
        // Their heartbeats are due at different times.
        let mut outage =
            Self { world, hosts: vec![SimpleHost::new(ANN, 0), SimpleHost::new(CAT, 11 * SECOND_MS)], now_ms: 0 };
        outage.pass(2 * HEARTBEAT_INTERVAL_MS);
        assert_eq!(outage.received(), [(ANN, "user.online"), (CAT, "user.online")].map(own));
        outage
    }

    /// Lets time pass on every host. A heartbeat that fails is tried again with the next step.
    fn pass(&mut self, span_ms: u64) {
        let step_ms = u64::from(SWEEP_INTERVAL_MS);
        for _ in 0..span_ms / step_ms {
            self.world.clock.advance(step_ms);
            self.now_ms += step_ms;
            for index in 0..self.hosts.len() {
                let SimpleHost { user, is_alive, reach, next_heartbeat_at } = self.hosts[index];
                let is_due = next_heartbeat_at <= self.now_ms;
                match reach {
                    Reach::Everything if is_alive => {
                        if is_due && self.heartbeat(user).is_ok() {
                            self.hosts[index].next_heartbeat_at = self.now_ms + HEARTBEAT_INTERVAL_MS;
                        }
                        self.sweep();
                    }
                    Reach::Records if is_alive && is_due => self.heartbeat_without_store(user),
                    _ => {}
                }
            }
        }
    }

    fn sweep(&self) {
        let shards: BTreeSet<u32> = self.hosts.iter().map(|host| shard(host.user)).collect();
        for shard in shards {
            block_on(sweep(&self.world, shard)).ok();
        }
    }

    /// The heartbeat of a host that is cut off from the store, which other hosts reach.
    fn heartbeat_without_store(&self, user: UserId) {
        self.world.store.set_unavailable();
        assert!(self.heartbeat(user).unwrap_err().is_store_unavailable(), "the heartbeat fails as before");
        self.world.store.set_available();
    }

    fn heartbeat(&self, user: UserId) -> Result<(), Error> {
        block_on(heartbeat(&self.world, &[(user, connection("a"))]))
    }

    /// The store is away for all hosts for this time.
    fn store_away(&mut self, span_ms: u64) {
        self.world.store.set_unavailable();
        self.pass(span_ms);
        self.world.store.set_available();
    }

    /// The events that Bob has received since this was last called.
    fn received(&self) -> Vec<(UserId, String)> {
        let published = self.world.store.store.take_published().into_iter().filter(|(to, _)| *to == BOB);
        published
            .map(|(_, delivery)| {
                let payload: Json = serde_json::from_str(&delivery.payload).unwrap();
                (payload["user"].as_str().unwrap().parse().unwrap(), delivery.name.to_string())
            })
            .collect()
    }
}

fn own((user, name): (UserId, &str)) -> (UserId, String) {
    (user, name.to_owned())
}

/// Outages of ten seconds to ten minutes, and one that lasts exactly as long as a device lives without heartbeats.
const OUTAGES_MS: [u64; 6] =
    [10 * SECOND_MS, 26 * SECOND_MS, 45 * SECOND_MS, PRESENCE_TTL_MS, 120 * SECOND_MS, 600 * SECOND_MS];

#[test]
fn an_outage_of_the_store_is_nobodys_departure() {
    for span_ms in OUTAGES_MS {
        // The outage begins at different times after the last heartbeats.
        for before_ms in (0..HEARTBEAT_INTERVAL_MS).step_by(4_000) {
            let mut outage = Outage::new();
            outage.pass(before_ms);
            outage.store_away(span_ms);
            outage.pass(2 * PRESENCE_TTL_MS);
            assert_eq!(outage.received(), [], "{span_ms} ms, {before_ms} ms after a heartbeat");
        }
    }
}

#[test]
fn users_of_a_host_that_dies_during_an_outage_go_offline() {
    for span_ms in OUTAGES_MS {
        let mut outage = Outage::new();
        outage.world.store.set_unavailable();
        outage.hosts[0].is_alive = false;
        outage.store_away(span_ms);
        outage.pass(PRESENCE_TTL_MS + 2 * u64::from(SWEEP_INTERVAL_MS));
        assert_eq!(outage.received(), [(ANN, "user.offline")].map(own), "{span_ms} ms");
    }
}

#[test]
fn a_disconnect_shortly_before_an_outage_takes_effect_after_it() {
    let mut outage = Outage::new();
    outage.hosts[0].is_alive = false;
    block_on(disconnect(&outage.world, ANN, &connection("a"))).unwrap();
    outage.store_away(120 * SECOND_MS);
    outage.pass(DEPARTURE_HOLD_MS - u64::from(SWEEP_INTERVAL_MS));
    assert_eq!(outage.received(), [], "a whole interval of heartbeats has not passed");
    // The other host has noted as well that it could not send heartbeats.
    outage.pass(CUT_OFF_HOLD_MS - DEPARTURE_HOLD_MS + 3 * u64::from(SWEEP_INTERVAL_MS));
    assert_eq!(outage.received(), [(ANN, "user.offline")].map(own));
    assert!(outage.world.telemetry.series("presence_swept{result=held}") > 0);
}

#[test]
fn outages_one_after_the_other_are_nobodys_departure() {
    let mut outage = Outage::new();
    for span_ms in [45, 20, 90, 16].map(|seconds| seconds * SECOND_MS) {
        outage.store_away(span_ms);
        // Heartbeats do not succeed in between, because every host tries again only when the store is away once more.
        for host in &mut outage.hosts {
            host.next_heartbeat_at = outage.now_ms + 2 * SWEEP_GAP_MS;
        }
        outage.pass(SWEEP_GAP_MS - SECOND_MS);
    }
    outage.pass(2 * PRESENCE_TTL_MS);
    assert_eq!(outage.received(), []);
}

#[test]
fn a_store_that_refuses_writes_takes_nobody_offline() {
    let mut outage = Outage::new();
    outage.world.store.refuse_writes();
    outage.pass(600 * SECOND_MS);
    outage.world.store.set_available();
    outage.pass(2 * PRESENCE_TTL_MS);
    assert_eq!(outage.received(), []);
}

#[test]
fn a_store_that_lost_its_data_announces_nobody_as_offline() {
    let mut outage = Outage::new();
    outage.world.store.set_unavailable();
    outage.world.store.store.wipe();
    outage.store_away(120 * SECOND_MS);
    outage.pass(2 * PRESENCE_TTL_MS);
    assert_eq!(outage.received(), [(ANN, "user.online"), (CAT, "user.online")].map(own));
}

#[test]
fn a_host_that_starts_after_an_outage_holds_departures_too() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.pass(25_000);
    fixture.received();
    // No host swept meanwhile; this one knows only what is in the store.
    fixture.world.clock.advance(120 * SECOND_MS);
    assert_eq!(fixture.sweep(), SweepSummary { held: 1, ..SweepSummary::default() });
    assert_eq!(fixture.received(), []);
    let until = fixture.world.now().plus(DEPARTURE_HOLD_MS);
    assert_eq!(fixture.due(), Some(until.score()), "she is looked at again when the hold ends");
    fixture.pass(DEPARTURE_HOLD_MS - 1);
    assert_eq!(fixture.sweep(), SweepSummary::default());
    fixture.pass(1);
    assert_eq!(fixture.sweep().offline, 1);
}
