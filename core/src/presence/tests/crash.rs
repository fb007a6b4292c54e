//! Hosts that crash: at every port call of a long scenario, before the call, after it and in the middle of it.

use super::faulty_host::{FAULTS, Fault, FaultyHost};
use super::*;
use crate::error::Error;
use crate::limits::{PRESENCE_GRACE_MS, PRESENCE_TTL_MS, SWEEP_INTERVAL_MS};

/// One action of the scenario; each runs on a host of its own.
#[derive(Clone, Copy, Debug)]
enum Action {
    Heartbeat(&'static str),
    Disconnect(&'static str),
    Sweep,
    Pass(u64),
}

use Action::{Disconnect, Heartbeat, Pass, Sweep};

/// Ann connects, reloads the page and disconnects; then she connects and falls silent without a disconnect, twice.
const SCENARIO: [Action; 20] = [
    Heartbeat("a"),
    Pass(25_000),
    Heartbeat("a"),
    Heartbeat("b"),
    Disconnect("a"),
    Disconnect("b"),
    Pass(1_000),
    Heartbeat("c"),
    Disconnect("c"),
    Pass(PRESENCE_GRACE_MS),
    Sweep,
    Heartbeat("d"),
    Pass(PRESENCE_TTL_MS),
    Sweep,
    Sweep,
    Heartbeat("e"),
    Heartbeat("f"),
    Disconnect("e"),
    Pass(PRESENCE_TTL_MS),
    Sweep,
];

async fn act(action: Action, fixture: &Fixture, host: &FaultyHost) -> Result<(), Error> {
    match action {
        Heartbeat(name) => heartbeat(host, &[(ANN, connection(name))]).await,
        Disconnect(name) => disconnect(host, ANN, &connection(name)).await,
        Sweep => sweep(host, shard(ANN)).await.map(|_| ()),
        Pass(span_ms) => {
            fixture.pass(span_ms);
            Ok(())
        }
    }
}

/// Runs the scenario with one fault at the call of this number. Returns every generation that was stored, and whether
/// the scenario was long enough to reach the fault.
fn run(fixture: &Fixture, at: u64, fault: Fault, dies: bool) -> (Vec<u64>, bool) {
    let mut stored = Vec::new();
    let mut calls = 0;
    for action in SCENARIO {
        let at = at.checked_sub(calls).unwrap_or(u64::MAX);
        let host = if dies {
            FaultyHost::dying(&fixture.world, at, fault)
        } else {
            FaultyHost::failing(&fixture.world, at, fault)
        };
        let result = block_on(act(action, fixture, &host));
        let reached = at < host.calls();
        assert!(reached || result.is_ok(), "{action:?} failed without a fault: {result:?}");
        assert!(!matches!(result, Err(Error::Contended)), "{action:?} gave up after too many attempts");
        fixture.check_swept();
        stored.extend(fixture.generation());
        calls += host.calls();
    }
    (stored, calls > at)
}

/// Checks that every stored transition was published with its generation, and no other one with the same generation.
#[track_caller]
fn check_received(received: &[ReceivedEvent], stored: &[u64]) {
    let mut by_generation = BTreeMap::new();
    for (name, generation) in received {
        let first = by_generation.entry(*generation).or_insert(name);
        assert_eq!(*first, name, "two transitions have the generation {generation}");
    }
    if let (Some(first), Some(last)) = (stored.iter().min(), stored.iter().max()) {
        for generation in *first..=*last {
            assert!(
                by_generation.contains_key(&generation),
                "the generation {generation} was not published: {received:?}"
            );
        }
    }
}

/// Runs the scenario with every fault at every call, then `end`, and checks the events.
fn at_every_call(end: impl Fn(&Fixture)) {
    for dies in [false, true] {
        for fault in FAULTS {
            let mut at = 0;
            loop {
                let fixture = Fixture::new();
                let (mut stored, reached) = run(&fixture, at, fault, dies);
                end(&fixture);
                fixture.check_swept();
                stored.extend(fixture.generation());
                check_received(&fixture.received(), &stored);
                if !reached {
                    break;
                }
                at += 1;
            }
            assert!(at > 40, "the scenario has only {at} calls");
        }
    }
}

#[test]
fn after_a_crash_anywhere_the_user_goes_offline_in_time() {
    at_every_call(|fixture| {
        fixture.pass(PRESENCE_TTL_MS);
        assert!(!fixture.is_online());
        fixture.sweep();
        let state = fixture.fields();
        if !state.is_empty() {
            assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"offline".into(), &"offline".into()));
        }
        assert_eq!(fixture.due(), None);
    });
}

#[test]
fn after_a_crash_anywhere_the_next_heartbeat_brings_the_user_online() {
    at_every_call(|fixture| {
        fixture.pass(u64::from(SWEEP_INTERVAL_MS));
        fixture.heartbeat("z");
        let state = fixture.fields();
        assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"online".into(), &"online".into()));
        assert!(fixture.is_online());
    });
}

#[test]
fn unavailable_records_take_no_user_offline() {
    let fixture = Fixture::new();
    // The fourth call of a first heartbeat reads the audience from the records, after a write, a read and the
    // transition.
    let audience = 3;
    for _ in 0..10 {
        let host = FaultyHost::dying(&fixture.world, audience, Fault::Before);
        let result = block_on(heartbeat(&host, &[(ANN, connection("a"))]));
        assert!(matches!(result, Err(Error::Records(_))), "{result:?}");
        assert!(fixture.is_online());
        fixture.pass(25_000);
    }
    assert_eq!(fixture.received(), []);
    fixture.heartbeat("a");
    assert_eq!(fixture.received_names(), ["user.online"]);
}

#[test]
fn no_user_comes_online_without_a_deadline_if_the_shard_is_unreachable() {
    let fixture = Fixture::new();
    let host = FaultyHost::failing(&fixture.world, 0, Fault::Shards);
    assert!(block_on(heartbeat(&host, &[(ANN, connection("a"))])).is_err());
    assert_eq!(fixture.due(), None);
    assert_eq!(fixture.fields(), BTreeMap::new());
}

#[test]
fn a_sweep_counts_the_announcements_that_it_repeats() {
    let fixture = Fixture::new();
    // The heartbeat commits, reads, commits the transition, publishes and confirms; the fourth call is not carried out.
    let host = FaultyHost::dying(&fixture.world, 3, Fault::Before);
    assert!(block_on(heartbeat(&host, &[(ANN, connection("a"))])).is_err());
    assert_eq!(fixture.received_names(), [""; 0]);
    fixture.pass(PRESENCE_TTL_MS);
    assert_eq!(fixture.sweep(), SweepSummary { repeated: 1, offline: 1, ..SweepSummary::default() });
    assert_eq!(fixture.received_names(), ["user.online", "user.offline"]);
    assert_eq!(fixture.world.telemetry.series("presence_swept{result=repeated}"), 1);
}
