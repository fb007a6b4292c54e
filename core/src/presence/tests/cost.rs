//! The number of round trips of the use cases of presence.

use super::*;
use crate::limits::{LIST_MAX, PRESENCE_TTL_MS, SWEEP_PAGE};
use crate::presence::{Viewer, query};
use crate::testing::Calls;

fn users_500() -> Vec<UserId> {
    (1..=LIST_MAX as u128).map(UserId::from_u128).collect()
}

fn heartbeats(users: &[UserId]) -> Vec<(UserId, ConnectionId)> {
    users.iter().map(|user| (*user, connection("a"))).collect()
}

#[test]
fn heartbeats_of_500_users_take_one_round_trip() {
    let fixture = Fixture::new();
    let heartbeats = heartbeats(&users_500());
    block_on(heartbeat(&fixture.world, &heartbeats)).unwrap();
    fixture.pass(25_000);
    fixture.world.store.take_calls();
    block_on(heartbeat(&fixture.world, &heartbeats)).unwrap();
    assert_eq!(fixture.world.store.take_calls(), Calls { commits: 1, ..Calls::default() });
}

#[test]
fn bringing_500_users_online_takes_four_round_trips_and_one_publish() {
    let fixture = Fixture::new();
    let users = users_500();
    fixture.make_contacts(users[0], BOB);
    fixture.make_contacts(users[1], BOB);
    block_on(heartbeat(&fixture.world, &heartbeats(&users))).unwrap();
    assert_eq!(fixture.world.store.take_calls(), Calls { reads: 1, commits: 3, publishes: 1 });
    assert_eq!(fixture.world.store.take_published().len(), 2);
}

#[test]
fn presence_of_500_users_takes_one_round_trip() {
    let fixture = Fixture::new();
    let users = users_500();
    block_on(heartbeat(&fixture.world, &heartbeats(&users))).unwrap();
    for contact in &users {
        fixture.make_contacts(ANN, *contact);
    }
    for viewer in [Viewer::Service, Viewer::User(ANN)] {
        fixture.world.store.take_calls();
        let views = block_on(query(&fixture.world, viewer, &users)).unwrap();
        assert!(views.iter().all(|view| view.online));
        assert_eq!(fixture.world.store.take_calls(), Calls { reads: 1, ..Calls::default() });
    }
}

#[test]
fn taking_a_page_of_users_offline_takes_five_round_trips() {
    let fixture = Fixture::new();
    let users: Vec<UserId> =
        (1..).map(UserId::from_u128).filter(|user| shard(*user) == 3).take(SWEEP_PAGE as usize - 1).collect();
    block_on(heartbeat(&fixture.world, &heartbeats(&users))).unwrap();
    fixture.pass(PRESENCE_TTL_MS);
    fixture.world.store.take_calls();
    let swept = block_on(sweep(&fixture.world, 3)).unwrap();
    assert_eq!(swept.offline, users.len());
    assert_eq!(fixture.world.store.take_calls(), Calls { reads: 2, commits: 3, publishes: 0 });
}

#[test]
fn a_sweep_continues_with_further_pages() {
    let fixture = Fixture::new();
    for first in [0, 500] {
        let users: Vec<UserId> = (first + 1..=first + 500).map(UserId::from_u128).collect();
        block_on(heartbeat(&fixture.world, &heartbeats(&users))).unwrap();
    }
    let more: Vec<UserId> = (1_001..).map(UserId::from_u128).filter(|user| shard(*user) == 3).take(250).collect();
    block_on(heartbeat(&fixture.world, &heartbeats(&more))).unwrap();
    fixture.pass(PRESENCE_TTL_MS);
    let offline = |shard| block_on(sweep(&fixture.world, shard)).unwrap().offline;
    assert_eq!((0..PRESENCE_SHARDS).map(offline).sum::<usize>(), 1_250);
    assert_eq!(fixture.world.telemetry.series("presence_swept{result=offline}"), 1_250);
}
