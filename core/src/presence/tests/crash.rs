//! Hosts that fail: at every port call of a long story, before it, after it and in the middle of it.

use super::rig::{FAULTS, Fault, Rig};
use super::*;
use crate::error::Error;
use crate::limits::{PRESENCE_GRACE_MS, PRESENCE_TTL_MS, SWEEP_INTERVAL_MS};

/// One step of the story; each runs on a host of its own.
#[derive(Clone, Copy, Debug)]
enum Step {
    Heartbeat(&'static str),
    Disconnect(&'static str),
    Sweep,
    Pass(u64),
}

use Step::{Disconnect, Heartbeat, Pass, Sweep};

/// Ann comes, reloads, leaves, comes back without a goodbye, twice.
const STORY: [Step; 20] = [
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

async fn take(step: Step, scene: &Scene, host: &Rig) -> Result<(), Error> {
    match step {
        Heartbeat(name) => heartbeat(host, &[(ANN, connection(name))]).await,
        Disconnect(name) => disconnect(host, ANN, &connection(name)).await,
        Sweep => sweep(host, shard(ANN)).await.map(|_| ()),
        Pass(span_ms) => {
            scene.pass(span_ms);
            Ok(())
        }
    }
}

/// Tells the story with one fault at the call of this number. Answers every generation that was stored, and
/// whether the story was long enough to meet the fault.
fn tell(scene: &Scene, at: u64, fault: Fault, dies: bool) -> (Vec<u64>, bool) {
    let mut stored = Vec::new();
    let mut calls = 0;
    for step in STORY {
        let at = at.checked_sub(calls).unwrap_or(u64::MAX);
        let host = if dies { Rig::dying(&scene.world, at, fault) } else { Rig::failing(&scene.world, at, fault) };
        let result = block_on(take(step, scene, &host));
        let met = at < host.calls();
        assert!(met || result.is_ok(), "{step:?} without a fault: {result:?}");
        assert!(!matches!(result, Err(Error::Contended)), "{step:?} goes round in circles");
        scene.check_swept();
        stored.extend(scene.generation());
        calls += host.calls();
    }
    (stored, calls > at)
}

/// Every stored transition was told under its generation, and nothing else under the same one.
#[track_caller]
fn check_told(heard: &[Heard], stored: &[u64]) {
    let mut told = BTreeMap::new();
    for (name, generation) in heard {
        let first = told.entry(*generation).or_insert(name);
        assert_eq!(*first, name, "two transitions under the generation {generation}");
    }
    if let (Some(first), Some(last)) = (stored.iter().min(), stored.iter().max()) {
        for generation in *first..=*last {
            assert!(told.contains_key(&generation), "nobody heard of the generation {generation}: {heard:?}");
        }
    }
}

/// Tells the story with every fault at every call, and looks at what `end` makes of it.
fn at_every_call(end: impl Fn(&Scene)) {
    for dies in [false, true] {
        for fault in FAULTS {
            let mut at = 0;
            loop {
                let scene = Scene::new();
                let (mut stored, met) = tell(&scene, at, fault, dies);
                end(&scene);
                scene.check_swept();
                stored.extend(scene.generation());
                check_told(&scene.heard(), &stored);
                if !met {
                    break;
                }
                at += 1;
            }
            assert!(at > 40, "the story has only {at} calls");
        }
    }
}

#[test]
fn a_crash_anywhere_leaves_a_user_who_goes_offline_in_time() {
    at_every_call(|scene| {
        scene.pass(PRESENCE_TTL_MS);
        assert!(!scene.is_online());
        scene.sweep();
        let state = scene.fields();
        if !state.is_empty() {
            assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"offline".into(), &"offline".into()));
        }
        assert_eq!(scene.due(), None);
    });
}

#[test]
fn a_crash_anywhere_leaves_a_user_whom_the_next_beat_brings_online() {
    at_every_call(|scene| {
        scene.pass(u64::from(SWEEP_INTERVAL_MS));
        scene.heartbeat("z");
        let state = scene.fields();
        assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"online".into(), &"online".into()));
        assert!(scene.is_online());
    });
}

#[test]
fn records_that_do_not_answer_take_nobody_offline() {
    let scene = Scene::new();
    // A first heartbeat asks the records in its fourth call: write, read, transition, audience.
    let audience = 3;
    for _ in 0..10 {
        let host = Rig::dying(&scene.world, audience, Fault::Before);
        let told = block_on(heartbeat(&host, &[(ANN, connection("a"))]));
        assert!(matches!(told, Err(Error::Records(_))), "{told:?}");
        assert!(scene.is_online());
        scene.pass(25_000);
    }
    assert_eq!(scene.heard(), []);
    scene.heartbeat("a");
    assert_eq!(scene.heard_names(), ["user.online"]);
}

#[test]
fn an_unreachable_shard_brings_nobody_online_whom_no_sweep_would_find() {
    let scene = Scene::new();
    let host = Rig::failing(&scene.world, 0, Fault::Shards);
    assert!(block_on(heartbeat(&host, &[(ANN, connection("a"))])).is_err());
    assert_eq!(scene.due(), None);
    assert_eq!(scene.fields(), BTreeMap::new());
}
