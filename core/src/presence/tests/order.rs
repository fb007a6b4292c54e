//! Two hosts at once: the orders in which the port calls of two use cases can fall.

use std::task::{Context, Poll, Waker};

use super::rig::{Fault, Rig};
use super::*;
use crate::error::Error;
use crate::limits::{PRESENCE_GRACE_MS, PRESENCE_TTL_MS};
use crate::testing::BoxFuture;

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Heartbeat(&'static str),
    Disconnect(&'static str),
    Sweep,
}

/// Where Ann stands when the hosts begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    NeverSeen,
    /// Online by the device `a`.
    Online,
    /// Online by `a`, and contacts were not told.
    OnlineUntold,
    /// Her last device fell silent, and no sweep has been there.
    Silent,
    /// The grace of her last device is over, and no sweep has been there.
    Left,
    /// Offline, and contacts were not told.
    OfflineUntold,
    Offline,
}

const STARTS: [Start; 7] = [
    Start::NeverSeen,
    Start::Online,
    Start::OnlineUntold,
    Start::Silent,
    Start::Left,
    Start::OfflineUntold,
    Start::Offline,
];

fn begin(start: Start) -> Scene {
    let scene = Scene::new();
    match start {
        Start::NeverSeen => {}
        Start::Online => scene.heartbeat("a"),
        // Write, read, transition; the audience is asked of records that do not answer.
        Start::OnlineUntold => lose(&scene, 3, Deed::Heartbeat("a")),
        Start::Silent => {
            scene.heartbeat("a");
            scene.pass(PRESENCE_TTL_MS);
        }
        Start::Left => {
            scene.heartbeat("a");
            scene.disconnect("a");
            scene.pass(PRESENCE_GRACE_MS);
        }
        Start::OfflineUntold => {
            scene.heartbeat("a");
            scene.pass(PRESENCE_TTL_MS);
            // Deadlines, state, transition; then the same.
            lose(&scene, 3, Deed::Sweep);
        }
        Start::Offline => {
            scene.heartbeat("a");
            scene.pass(PRESENCE_TTL_MS);
            scene.sweep();
        }
    }
    scene
}

fn lose(scene: &Scene, at: u64, deed: Deed) {
    let host = Rig::dying(&scene.world, at, Fault::Before);
    assert!(matches!(block_on(act(&host, deed)), Err(Error::Records(_))));
}

async fn act(host: &Rig, deed: Deed) -> Result<(), Error> {
    match deed {
        Deed::Heartbeat(name) => heartbeat(host, &[(ANN, connection(name))]).await,
        Deed::Disconnect(name) => disconnect(host, ANN, &connection(name)).await,
        Deed::Sweep => sweep(host, shard(ANN)).await.map(|_| ()),
    }
}

/// A task gives way to the other at most so often; orders without a bound are millions.
const SWITCHES_MAX: usize = 3;

/// Every order of two tasks' steps within [`SWITCHES_MAX`], each by its choices: to switch or to go on.
#[derive(Default)]
struct Orders {
    choices: Vec<bool>,
    next: usize,
}

impl Orders {
    /// Whether to switch now.
    fn choose(&mut self) -> bool {
        let made = &self.choices[..self.next];
        if made.iter().filter(|switched| **switched).count() == SWITCHES_MAX {
            return false;
        }
        if self.next == self.choices.len() {
            self.choices.push(false);
        }
        self.next += 1;
        self.choices[self.next - 1]
    }

    /// Goes to an order that was not seen yet, if there is one.
    fn advance(&mut self) -> bool {
        self.next = 0;
        while self.choices.last() == Some(&true) {
            self.choices.pop();
        }
        self.choices.last_mut().is_some_and(|last| {
            *last = true;
            true
        })
    }
}

fn run(scene: &Scene, deeds: [Deed; 2], orders: &mut Orders) {
    let hosts = deeds.map(|_| Rig::taking_turns(&scene.world));
    let mut context = Context::from_waker(Waker::noop());
    let mut tasks: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
    for (host, deed) in hosts.iter().zip(deeds) {
        tasks.push(Box::pin(act(host, deed)));
    }
    let mut turn = 0;
    while !tasks.is_empty() {
        if tasks.len() > 1 && orders.choose() {
            turn = 1 - turn;
        }
        if let Poll::Ready(result) = tasks[turn].as_mut().poll(&mut context) {
            result.unwrap();
            drop(tasks.remove(turn));
            turn = 0;
        }
        scene.check_swept();
        // Time goes on, so that two first transitions would not get the same generation by chance.
        scene.pass(1);
    }
}

/// Runs two deeds in every order from every start. `lives`: a device has beaten and not left in the end.
fn in_every_order(deeds: [Deed; 2], lives: impl Fn(Start) -> bool) {
    for start in STARTS {
        let mut orders = Orders::default();
        loop {
            let scene = begin(start);
            run(&scene, deeds, &mut orders);
            let case = || format!("{start:?}, {deeds:?}, order {:?}", orders.choices);
            check_live(&scene, lives(start), &case());
            check_heard(&scene, &case());
            if !orders.advance() {
                break;
            }
        }
    }
}

#[track_caller]
fn check_live(scene: &Scene, lives: bool, case: &str) {
    if lives {
        let state = scene.fields();
        assert_eq!((&state[STATUS], &state[ANNOUNCED]), (&"online".into(), &"online".into()), "{case}");
        scene.pass(PRESENCE_GRACE_MS + 1);
        scene.sweep();
        assert!(scene.is_online(), "a live device was given a grace only: {case}");
        scene.pass(PRESENCE_TTL_MS - PRESENCE_GRACE_MS - 1);
    } else {
        scene.pass(PRESENCE_TTL_MS);
    }
    scene.sweep();
    assert!(!scene.is_online() && scene.due().is_none(), "{case}");
}

/// What contacts heard alternates by generation, without a hole, and ends offline.
#[track_caller]
fn check_heard(scene: &Scene, case: &str) {
    let heard = scene.heard();
    let mut told: BTreeMap<u64, &str> = BTreeMap::new();
    for (name, generation) in &heard {
        let first = told.entry(*generation).or_insert(name);
        assert_eq!(first, name, "two transitions under one generation: {case}");
    }
    let generations: Vec<u64> = told.keys().copied().collect();
    assert_eq!(generations.last().copied(), scene.generation(), "{case}: {heard:?}");
    assert!(generations.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{case}: {heard:?}");
    let names: Vec<&str> = told.into_values().collect();
    let expected: Vec<&str> = ["user.online", "user.offline"].into_iter().cycle().take(names.len()).collect();
    assert_eq!(names, expected, "{case}");
    assert!(names.len().is_multiple_of(2), "{case}: {heard:?}");
}

#[test]
fn a_beat_wins_over_a_sweep_or_makes_a_newer_transition() {
    in_every_order([Deed::Heartbeat("b"), Deed::Sweep], |_| true);
}

#[test]
fn two_beats_bring_a_user_online_once() {
    in_every_order([Deed::Heartbeat("b"), Deed::Heartbeat("c")], |_| true);
}

#[test]
fn two_sweepers_are_harmless() {
    in_every_order([Deed::Sweep, Deed::Sweep], |start| start == Start::Online);
}

#[test]
fn a_goodbye_never_shortens_the_life_of_another_device() {
    in_every_order([Deed::Heartbeat("b"), Deed::Disconnect("a")], |_| true);
}

#[test]
fn a_goodbye_during_a_sweep_is_harmless() {
    in_every_order([Deed::Disconnect("a"), Deed::Sweep], |_| false);
}

#[test]
fn two_last_devices_that_leave_at_once_leave_one_grace() {
    let mut orders = Orders::default();
    loop {
        let scene = Scene::new();
        scene.heartbeat("a");
        scene.heartbeat("b");
        run(&scene, [Deed::Disconnect("a"), Deed::Disconnect("b")], &mut orders);
        scene.pass(PRESENCE_GRACE_MS);
        assert_eq!(scene.sweep().offline, 1, "order {:?}", orders.choices);
        if !orders.advance() {
            break;
        }
    }
}
