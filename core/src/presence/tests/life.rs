//! One user's life, undisturbed: devices, grace, time to live.

use super::*;
use crate::error::Error;
use crate::key::Space;
use crate::limits::{LIST_MAX, PRESENCE_GRACE_MS, PRESENCE_SHARDS, PRESENCE_TTL_MS};
use crate::port::{Clock, Mutation, Transaction};
use crate::presence::connected;

#[test]
fn only_the_first_beat_tells_contacts() {
    let scene = Scene::new();
    let arrived = scene.world.now().0;
    scene.heartbeat("a");
    assert_eq!(scene.heard(), [("user.online".into(), arrived)]);
    scene.pass(25_000);
    scene.heartbeat("a");
    scene.heartbeat("b");
    assert_eq!(scene.heard(), []);
}

#[test]
fn only_mutual_contacts_without_a_block_are_told() {
    let scene = Scene::new();
    let [stranger, blocked] = [UserId::from_u128(1), UserId::from_u128(2)];
    block_on(scene.world.add_contact(stranger, ANN)).unwrap();
    scene.befriend(ANN, blocked);
    block_on(scene.world.block(ANN, blocked)).unwrap();
    scene.heartbeat("a");
    let told: Vec<UserId> = scene.world.store.published().into_iter().map(|(user, _)| user).collect();
    assert_eq!(told, [BOB]);
}

#[test]
fn a_user_who_falls_silent_is_offline_after_the_time_to_live() {
    let scene = Scene::new();
    scene.heartbeat("a");
    scene.heard();
    scene.pass(PRESENCE_TTL_MS - 1);
    assert_eq!(scene.sweep(), Swept::default());
    assert!(scene.is_online());
    scene.pass(1);
    assert!(!scene.is_online());
    assert_eq!(scene.sweep(), Swept { offline: 1, ..Swept::default() });
    assert_eq!(scene.heard_names(), ["user.offline"]);
    assert_eq!(scene.due(), None);
    assert_eq!(scene.sweep(), Swept::default());
}

#[test]
fn offline_tells_the_last_beat() {
    let scene = Scene::new();
    scene.heartbeat("a");
    scene.pass(30_000);
    scene.heartbeat("a");
    let last_seen = scene.world.now().to_string();
    scene.pass(PRESENCE_TTL_MS);
    scene.world.store.take_published();
    scene.sweep();
    let (_, delivery) = scene.world.store.take_published().remove(0);
    let payload: Json = serde_json::from_str(&delivery.payload).unwrap();
    assert_eq!(payload["last_seen"], last_seen);
}

#[test]
fn every_transition_has_the_next_generation() {
    let scene = Scene::new();
    let first = scene.world.now().0;
    for _ in 0..2 {
        scene.heartbeat("a");
        scene.pass(PRESENCE_TTL_MS);
        scene.sweep();
    }
    let states = ["user.online", "user.offline", "user.online", "user.offline"].map(str::to_owned);
    assert_eq!(scene.heard(), states.into_iter().zip(first..).collect::<Vec<_>>());
}

#[test]
fn a_loss_of_the_store_never_makes_generations_go_back() {
    let scene = Scene::new();
    scene.heartbeat("a");
    let before = scene.generation();
    scene.pass(25_000);
    scene.world.store.wipe();
    scene.heartbeat("a");
    assert!(scene.generation() > before);
}

#[test]
fn leaving_with_the_last_device_takes_effect_after_the_grace() {
    let scene = Scene::new();
    scene.heartbeat("a");
    scene.disconnect("a");
    scene.heard();
    scene.pass(PRESENCE_GRACE_MS - 1);
    assert_eq!(scene.sweep(), Swept::default());
    assert!(scene.is_online());
    scene.pass(1);
    assert!(!scene.is_online());
    assert_eq!(scene.sweep().offline, 1);
    assert_eq!(scene.heard_names(), ["user.offline"]);
}

#[test]
fn a_reload_makes_no_noise() {
    let scene = Scene::new();
    scene.heartbeat("a");
    scene.heard();
    scene.disconnect("a");
    scene.pass(PRESENCE_GRACE_MS - 1);
    scene.heartbeat("b");
    scene.pass(PRESENCE_TTL_MS - 1);
    assert_eq!(scene.sweep(), Swept::default());
    assert_eq!(scene.heard(), []);
    assert!(scene.is_online());
}

#[test]
fn another_device_keeps_its_user_online() {
    let scene = Scene::new();
    scene.heartbeat("a");
    scene.heartbeat("b");
    scene.heard();
    scene.disconnect("a");
    scene.pass(PRESENCE_TTL_MS - 1);
    scene.sweep();
    assert!(scene.is_online());
    assert_eq!(scene.heard(), []);
}

#[test]
fn a_goodbye_that_comes_twice_or_too_early_changes_nothing() {
    let scene = Scene::new();
    scene.disconnect("a");
    assert!(scene.world.store.entries().is_empty());
    scene.heartbeat("a");
    scene.heartbeat("b");
    scene.disconnect("a");
    scene.disconnect("a");
    scene.pass(PRESENCE_GRACE_MS);
    scene.sweep();
    assert!(scene.is_online());

    scene.disconnect("b");
    scene.pass(PRESENCE_GRACE_MS - 1);
    scene.disconnect("b");
    scene.pass(1);
    assert_eq!(scene.sweep().offline, 1, "a second goodbye does not prolong the grace");
}

#[test]
fn devices_of_a_dead_host_do_not_hold_up_the_grace() {
    let scene = Scene::new();
    scene.heartbeat("dead");
    scene.pass(PRESENCE_TTL_MS - 5_000);
    scene.heartbeat("a");
    scene.pass(5_000);
    scene.disconnect("a");
    scene.pass(PRESENCE_GRACE_MS);
    assert_eq!(scene.sweep().offline, 1);
}

#[test]
fn devices_of_a_dead_host_are_forgotten_when_another_connects() {
    let scene = Scene::new();
    scene.heartbeat("dead");
    scene.pass(PRESENCE_TTL_MS - 5_000);
    scene.heartbeat("a");
    scene.pass(5_000);
    block_on(connected(&scene.world, ANN, &connection("b"))).unwrap();
    let devices = scene.ask(Query::Fields(Key::of_user(Space::Devices, ANN)));
    let Value::Fields(devices) = devices else { panic!("{devices:?}") };
    assert_eq!(devices.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_deadline_that_comes_too_early_is_put_where_life_ends() {
    let scene = Scene::new();
    scene.heartbeat("a");
    let early = Mutation::OrderedPut(Key::presence_due(ANN), ANN.to_string().into(), 0);
    let transaction = Transaction::new(Owner::presence_shard(ANN)).mutate(early);
    block_on(scene.world.commit(vec![transaction])).unwrap();
    assert_eq!(scene.sweep(), Swept { kept: 1, ..Swept::default() });
    assert_eq!(scene.due(), Some(scene.world.now().plus(PRESENCE_TTL_MS).score()));
}

#[test]
fn what_is_no_user_leaves_the_deadlines() {
    let scene = Scene::new();
    let key = Key::new(Space::PresenceDue, Owner::Shard(0));
    let stranger = Mutation::OrderedPut(key.clone(), "nobody".into(), 0);
    block_on(scene.world.commit(vec![Transaction::new(Owner::Shard(0)).mutate(stranger)])).unwrap();
    assert_eq!(block_on(sweep(&scene.world, 0)), Ok(Swept::default()));
    assert_eq!(scene.ask(Query::Presence(key)), Value::Presence(false));
}

#[test]
fn what_is_beyond_a_bound_is_refused() {
    let scene = Scene::new();
    let heartbeats = vec![(ANN, connection("a")); LIST_MAX + 1];
    assert!(matches!(block_on(heartbeat(&scene.world, &heartbeats)), Err(Error::Invalid(_))));
    assert!(matches!(block_on(sweep(&scene.world, PRESENCE_SHARDS)), Err(Error::Invalid(_))));
}
