//! Round trips, which are what presence costs.

use super::*;
use crate::limits::{LIST_MAX, PRESENCE_SHARDS, PRESENCE_TTL_MS, SWEEP_PAGE};
use crate::presence::{Viewer, query};
use crate::testing::Calls;

fn crowd() -> Vec<UserId> {
    (1..=LIST_MAX as u128).map(UserId::from_u128).collect()
}

fn heartbeats(users: &[UserId]) -> Vec<(UserId, ConnectionId)> {
    users.iter().map(|user| (*user, connection("a"))).collect()
}

#[test]
fn beats_of_500_users_take_one_round_trip() {
    let scene = Scene::new();
    let heartbeats = heartbeats(&crowd());
    block_on(heartbeat(&scene.world, &heartbeats)).unwrap();
    scene.pass(25_000);
    scene.world.store.take_calls();
    block_on(heartbeat(&scene.world, &heartbeats)).unwrap();
    assert_eq!(scene.world.store.take_calls(), Calls { commits: 1, ..Calls::default() });
}

#[test]
fn arrivals_of_500_users_take_four_round_trips_and_one_publish() {
    let scene = Scene::new();
    let users = crowd();
    scene.befriend(users[0], BOB);
    scene.befriend(users[1], BOB);
    block_on(heartbeat(&scene.world, &heartbeats(&users))).unwrap();
    assert_eq!(scene.world.store.take_calls(), Calls { reads: 1, commits: 3, publishes: 1 });
    assert_eq!(scene.world.store.take_published().len(), 2);
}

#[test]
fn presence_of_500_users_takes_one_round_trip() {
    let scene = Scene::new();
    let users = crowd();
    block_on(heartbeat(&scene.world, &heartbeats(&users))).unwrap();
    for contact in &users {
        scene.befriend(ANN, *contact);
    }
    for viewer in [Viewer::Service, Viewer::User(ANN)] {
        scene.world.store.take_calls();
        let views = block_on(query(&scene.world, viewer, &users)).unwrap();
        assert!(views.iter().all(|view| view.online));
        assert_eq!(scene.world.store.take_calls(), Calls { reads: 1, ..Calls::default() });
    }
}

#[test]
fn a_page_of_departures_takes_five_round_trips() {
    let scene = Scene::new();
    let users: Vec<UserId> =
        (1..).map(UserId::from_u128).filter(|user| shard(*user) == 3).take(SWEEP_PAGE as usize - 1).collect();
    block_on(heartbeat(&scene.world, &heartbeats(&users))).unwrap();
    scene.pass(PRESENCE_TTL_MS);
    scene.world.store.take_calls();
    let swept = block_on(sweep(&scene.world, 3)).unwrap();
    assert_eq!(swept.offline, users.len());
    assert_eq!(scene.world.store.take_calls(), Calls { reads: 2, commits: 3, publishes: 0 });
}

#[test]
fn a_sweep_goes_on_to_further_pages() {
    let scene = Scene::new();
    for first in [0, 500] {
        let users: Vec<UserId> = (first + 1..=first + 500).map(UserId::from_u128).collect();
        block_on(heartbeat(&scene.world, &heartbeats(&users))).unwrap();
    }
    let crowded: Vec<UserId> = (1_001..).map(UserId::from_u128).filter(|user| shard(*user) == 3).take(250).collect();
    block_on(heartbeat(&scene.world, &heartbeats(&crowded))).unwrap();
    scene.pass(PRESENCE_TTL_MS);
    let offline = |shard| block_on(sweep(&scene.world, shard)).unwrap().offline;
    assert_eq!((0..PRESENCE_SHARDS).map(offline).sum::<usize>(), 1_250);
    assert_eq!(scene.world.telemetry.series("presence_swept{result=offline}"), 1_250);
}
