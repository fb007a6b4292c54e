//! Two hosts at the same time: every order in which the port calls of two use cases can be interleaved.

use super::faulty_host::{Fault, FaultyHost};
use super::*;
use crate::error::Error;
use crate::limits::{PRESENCE_GRACE_MS, PRESENCE_TTL_MS};
use crate::testing::{BoxFuture, Interleavings};

/// A use case that a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostAction {
    Heartbeat(&'static str),
    Disconnect(&'static str),
    Sweep,
}

/// Ann's state when the hosts begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartState {
    NeverSeen,
    /// Online with the device `a`.
    Online,
    /// Online with `a`, and this was not announced.
    OnlineUnannounced,
    /// The time to live of her last device has passed, and no sweep has run.
    Silent,
    /// The grace period of her last device has passed, and no sweep has run.
    Disconnected,
    /// Offline, and this was not announced.
    OfflineUnannounced,
    Offline,
}

const STARTS: [StartState; 7] = [
    StartState::NeverSeen,
    StartState::Online,
    StartState::OnlineUnannounced,
    StartState::Silent,
    StartState::Disconnected,
    StartState::OfflineUnannounced,
    StartState::Offline,
];

fn begin(start: StartState) -> Fixture {
    let fixture = Fixture::new();
    match start {
        StartState::NeverSeen => {}
        StartState::Online => fixture.heartbeat("a"),
        // The calls are: write, read, transition, and the audience from the records, which fails.
        StartState::OnlineUnannounced => fail_records(&fixture, 3, HostAction::Heartbeat("a")),
        StartState::Silent => {
            fixture.heartbeat("a");
            fixture.pass(PRESENCE_TTL_MS);
        }
        StartState::Disconnected => {
            fixture.heartbeat("a");
            fixture.disconnect("a");
            fixture.pass(PRESENCE_GRACE_MS);
        }
        StartState::OfflineUnannounced => {
            fixture.heartbeat("a");
            fixture.pass(PRESENCE_TTL_MS);
            // The calls are: deadlines, state, the note of hosts that are cut off, transition, and the audience from
            // the records, which fails.
            fail_records(&fixture, 4, HostAction::Sweep);
        }
        StartState::Offline => {
            fixture.heartbeat("a");
            fixture.pass(PRESENCE_TTL_MS);
            fixture.sweep();
        }
    }
    fixture
}

fn fail_records(fixture: &Fixture, at: u64, action: HostAction) {
    let host = FaultyHost::dying(&fixture.world, at, Fault::Before);
    assert!(matches!(block_on(act(&host, action)), Err(Error::Records(_))));
}

async fn act(host: &FaultyHost, action: HostAction) -> Result<(), Error> {
    match action {
        HostAction::Heartbeat(name) => heartbeat(host, &[(ANN, connection(name))]).await,
        HostAction::Disconnect(name) => disconnect(host, ANN, &connection(name)).await,
        HostAction::Sweep => sweep(host, shard(ANN)).await.map(|_| ()),
    }
}

fn run(fixture: &Fixture, actions: [HostAction; 2], orders: &mut Interleavings) {
    let hosts = actions.map(|_| FaultyHost::yielding(&fixture.world));
    let mut tasks: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
    for (host, action) in hosts.iter().zip(actions) {
        tasks.push(Box::pin(act(host, action)));
    }
    let results = orders.run(tasks, || {
        fixture.check_swept();
        // The clock advances, so that two first transitions cannot get the same generation by chance.
        fixture.pass(1);
    });
    results.into_iter().for_each(|result| result.unwrap());
}

/// Runs two actions in every order from every start. `is_live` says whether a device is still connected in the end.
fn in_every_order(actions: [HostAction; 2], is_live: impl Fn(StartState) -> bool) {
    for start in STARTS {
        let mut orders = Interleavings::default();
        loop {
            let fixture = begin(start);
            run(&fixture, actions, &mut orders);
            let case = || format!("{start:?}, {actions:?}, order {:?}", orders.choices());
            check_live(&fixture, is_live(start), &case());
            check_received(&fixture, &case());
            if !orders.advance() {
                break;
            }
        }
    }
}

#[track_caller]
fn check_live(fixture: &Fixture, is_live: bool, case: &str) {
    if is_live {
        let state = fixture.fields();
        assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"online".into(), &"online".into()), "{case}");
        fixture.pass(PRESENCE_GRACE_MS + 1);
        fixture.sweep();
        assert!(fixture.is_online(), "a live device got only the grace period: {case}");
        fixture.pass(PRESENCE_TTL_MS - PRESENCE_GRACE_MS - 1);
    } else {
        fixture.pass(PRESENCE_TTL_MS);
    }
    fixture.sweep();
    assert!(!fixture.is_online() && fixture.due().is_none(), "{case}");
}

/// Checks that the events alternate, that their generations have no gap, and that the last one is offline.
#[track_caller]
fn check_received(fixture: &Fixture, case: &str) {
    let received = fixture.received();
    let mut by_generation: BTreeMap<u64, &str> = BTreeMap::new();
    for (name, generation) in &received {
        let first = by_generation.entry(*generation).or_insert(name);
        assert_eq!(first, name, "two transitions have the same generation: {case}");
    }
    let generations: Vec<u64> = by_generation.keys().copied().collect();
    assert_eq!(generations.last().copied(), fixture.generation(), "{case}: {received:?}");
    assert!(generations.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{case}: {received:?}");
    let names: Vec<&str> = by_generation.into_values().collect();
    let expected: Vec<&str> = ["user.online", "user.offline"].into_iter().cycle().take(names.len()).collect();
    assert_eq!(names, expected, "{case}");
    assert!(names.len().is_multiple_of(2), "{case}: {received:?}");
}

#[test]
fn a_heartbeat_wins_over_a_sweep_or_makes_a_newer_transition() {
    in_every_order([HostAction::Heartbeat("b"), HostAction::Sweep], |_| true);
}

#[test]
fn two_heartbeats_bring_a_user_online_once() {
    in_every_order([HostAction::Heartbeat("b"), HostAction::Heartbeat("c")], |_| true);
}

#[test]
fn two_concurrent_sweeps_have_the_effect_of_one() {
    in_every_order([HostAction::Sweep, HostAction::Sweep], |start| start == StartState::Online);
}

#[test]
fn a_disconnect_never_shortens_the_time_to_live_of_another_device() {
    in_every_order([HostAction::Heartbeat("b"), HostAction::Disconnect("a")], |_| true);
}

#[test]
fn a_disconnect_during_a_sweep_takes_the_user_offline() {
    in_every_order([HostAction::Disconnect("a"), HostAction::Sweep], |_| false);
}

#[test]
fn two_last_devices_that_disconnect_together_start_one_grace_period() {
    let mut orders = Interleavings::default();
    loop {
        let fixture = Fixture::new();
        fixture.heartbeat("a");
        fixture.heartbeat("b");
        run(&fixture, [HostAction::Disconnect("a"), HostAction::Disconnect("b")], &mut orders);
        fixture.pass(PRESENCE_GRACE_MS);
        assert_eq!(fixture.sweep().offline, 1, "order {:?}", orders.choices());
        if !orders.advance() {
            break;
        }
    }
}
