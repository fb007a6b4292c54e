//! The transitions of one user without failures: devices, grace period and time to live.

use super::*;
use crate::error::Error;
use crate::limits::{LIST_MAX, PRESENCE_GRACE_MS, PRESENCE_TTL_MS};
use crate::port::Operation;
use crate::presence::connected;

#[test]
fn only_the_first_heartbeat_is_published_to_contacts() {
    let fixture = Fixture::new();
    let since = fixture.world.now().0;
    fixture.heartbeat("a");
    assert_eq!(fixture.received(), [("user.online".into(), since)]);
    fixture.pass(25_000);
    fixture.heartbeat("a");
    fixture.heartbeat("b");
    assert_eq!(fixture.received(), []);
}

#[test]
fn only_mutual_contacts_without_a_block_receive_events() {
    let fixture = Fixture::new();
    let [stranger, blocked] = [UserId::from_u128(1), UserId::from_u128(2)];
    block_on(fixture.world.add_contact(stranger, ANN)).unwrap();
    fixture.make_contacts(ANN, blocked);
    block_on(fixture.world.block(ANN, blocked)).unwrap();
    fixture.heartbeat("a");
    let receivers: Vec<UserId> = fixture.world.store.published().into_iter().map(|(user, _)| user).collect();
    assert_eq!(receivers, [BOB]);
}

#[test]
fn a_user_without_heartbeats_is_offline_after_the_time_to_live() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.received();
    fixture.pass(PRESENCE_TTL_MS - 1);
    assert_eq!(fixture.sweep(), SweepSummary::default());
    assert!(fixture.is_online());
    fixture.pass(1);
    assert!(!fixture.is_online());
    assert_eq!(fixture.sweep(), SweepSummary { offline: 1, ..SweepSummary::default() });
    assert_eq!(fixture.received_names(), ["user.offline"]);
    assert_eq!(fixture.due(), None);
    assert_eq!(fixture.sweep(), SweepSummary::default());
}

#[test]
fn the_offline_event_contains_the_last_heartbeat() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.pass(30_000);
    fixture.heartbeat("a");
    let last_seen = fixture.world.now().to_string();
    fixture.pass(PRESENCE_TTL_MS);
    fixture.world.store.take_published();
    fixture.sweep();
    let (_, delivery) = fixture.world.store.take_published().remove(0);
    let payload: Json = serde_json::from_str(&delivery.payload).unwrap();
    assert_eq!(payload["last_seen"], last_seen);
}

#[test]
fn every_transition_has_the_next_generation() {
    let fixture = Fixture::new();
    let first = fixture.world.now().0;
    for _ in 0..2 {
        fixture.heartbeat("a");
        fixture.pass(PRESENCE_TTL_MS);
        fixture.sweep();
    }
    let states = ["user.online", "user.offline", "user.online", "user.offline"].map(str::to_owned);
    assert_eq!(fixture.received(), states.into_iter().zip(first..).collect::<Vec<_>>());
}

#[test]
fn generations_never_go_back_when_the_store_loses_its_data() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    let before = fixture.generation();
    fixture.pass(25_000);
    fixture.world.store.wipe();
    fixture.heartbeat("a");
    assert!(fixture.generation() > before);
}

#[test]
fn disconnecting_the_last_device_takes_effect_after_the_grace_period() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.disconnect("a");
    fixture.received();
    fixture.pass(PRESENCE_GRACE_MS - 1);
    assert_eq!(fixture.sweep(), SweepSummary::default());
    assert!(fixture.is_online());
    fixture.pass(1);
    assert!(!fixture.is_online());
    assert_eq!(fixture.sweep().offline, 1);
    assert_eq!(fixture.received_names(), ["user.offline"]);
}

#[test]
fn reloading_a_page_publishes_nothing() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.received();
    fixture.disconnect("a");
    fixture.pass(PRESENCE_GRACE_MS - 1);
    fixture.heartbeat("b");
    fixture.pass(PRESENCE_TTL_MS - 1);
    assert_eq!(fixture.sweep(), SweepSummary::default());
    assert_eq!(fixture.received(), []);
    assert!(fixture.is_online());
}

#[test]
fn another_device_keeps_its_user_online() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    fixture.heartbeat("b");
    fixture.received();
    fixture.disconnect("a");
    fixture.pass(PRESENCE_TTL_MS - 1);
    fixture.sweep();
    assert!(fixture.is_online());
    assert_eq!(fixture.received(), []);
}

#[test]
fn a_disconnect_that_comes_twice_or_too_early_changes_nothing() {
    let fixture = Fixture::new();
    fixture.disconnect("a");
    assert!(fixture.world.store.entries().is_empty());
    fixture.heartbeat("a");
    fixture.heartbeat("b");
    fixture.disconnect("a");
    fixture.disconnect("a");
    fixture.pass(PRESENCE_GRACE_MS);
    fixture.sweep();
    assert!(fixture.is_online());

    fixture.disconnect("b");
    fixture.pass(PRESENCE_GRACE_MS - 1);
    fixture.disconnect("b");
    fixture.pass(1);
    assert_eq!(fixture.sweep().offline, 1, "a second disconnect does not prolong the grace period");
}

#[test]
fn devices_of_a_crashed_host_do_not_prolong_the_grace_period() {
    let fixture = Fixture::new();
    fixture.heartbeat("crashed");
    fixture.pass(PRESENCE_TTL_MS - 5_000);
    fixture.heartbeat("a");
    fixture.pass(5_000);
    fixture.disconnect("a");
    fixture.pass(PRESENCE_GRACE_MS);
    assert_eq!(fixture.sweep().offline, 1);
}

#[test]
fn devices_of_a_crashed_host_are_removed_when_another_device_connects() {
    let fixture = Fixture::new();
    fixture.heartbeat("crashed");
    fixture.pass(PRESENCE_TTL_MS - 5_000);
    fixture.heartbeat("a");
    fixture.pass(5_000);
    block_on(connected(&fixture.world, ANN, &connection("b"))).unwrap();
    let devices = fixture.ask(Query::Fields(Key::of_user(Space::Devices, ANN)));
    let Value::Fields(devices) = devices else { panic!("{devices:?}") };
    assert_eq!(devices.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_deadline_that_is_too_early_is_postponed_to_the_expiry() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    let early = Mutation::OrderedPut(Key::presence_due(ANN), ANN.to_string().into(), 0);
    let transaction = Transaction::new(Owner::presence_shard(ANN)).mutate(early);
    block_on(fixture.world.commit(vec![transaction])).unwrap();
    assert_eq!(fixture.sweep(), SweepSummary { kept: 1, ..SweepSummary::default() });
    assert_eq!(fixture.due(), Some(fixture.world.now().plus(PRESENCE_TTL_MS).score()));
}

#[test]
fn a_sweep_without_due_users_counts_nothing() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    let before = fixture.world.telemetry.all();
    assert_eq!(fixture.sweep(), SweepSummary::default());
    assert_eq!(fixture.world.telemetry.all(), before);
}

#[test]
fn a_member_that_is_no_user_is_removed_from_the_deadlines() {
    let fixture = Fixture::new();
    let key = Key::new(Space::PresenceDue, Owner::Shard(0));
    let invalid = Mutation::OrderedPut(key.clone(), "nobody".into(), 0);
    block_on(fixture.world.commit(vec![Transaction::new(Owner::Shard(0)).mutate(invalid)])).unwrap();
    assert_eq!(block_on(sweep(&fixture.world, 0)), Ok(SweepSummary::default()));
    assert_eq!(fixture.ask(Query::Presence(key)), Value::Presence(false));
}

#[test]
fn a_request_beyond_a_limit_is_refused() {
    let fixture = Fixture::new();
    let heartbeats = vec![(ANN, connection("a")); LIST_MAX + 1];
    assert!(matches!(block_on(heartbeat(&fixture.world, &heartbeats)), Err(Error::Invalid(_))));
    assert!(matches!(block_on(sweep(&fixture.world, PRESENCE_SHARDS)), Err(Error::Invalid(_))));
}

#[test]
fn what_was_published_of_a_record_that_is_gone_is_taken_back() {
    let fixture = Fixture::new();
    let store = std::sync::Arc::clone(&fixture.world.store);
    let host = fixture.world.changed_after((Operation::Audience, 1), move |_| store.wipe());
    let since = fixture.world.now().0;
    block_on(heartbeat(&host, &[(ANN, connection("a"))])).unwrap();
    assert_eq!(fixture.received(), [("user.online".into(), since), ("user.offline".into(), since + 1)]);
    assert_eq!(fixture.fields(), BTreeMap::new(), "nothing is written about her");
    fixture.pass(2);
    fixture.heartbeat("a");
    assert_eq!(fixture.received(), [("user.online".into(), since + 2)]);
}

#[test]
fn a_newer_transition_is_not_taken_back() {
    let fixture = Fixture::new();
    let store = std::sync::Arc::clone(&fixture.world.store);
    let host = fixture.world.changed_after((Operation::Audience, 1), move |_| {
        let newer = vec![(GENERATION.into(), u64::MAX.to_string().into())];
        let presence = Key::of_user(Space::Presence, ANN);
        let transaction = Transaction::new(presence.owner).mutate(Mutation::SetFields(presence, newer));
        block_on(store.commit(vec![transaction])).unwrap();
    });
    block_on(heartbeat(&host, &[(ANN, connection("a"))])).unwrap();
    assert_eq!(fixture.received_names(), ["user.online"]);
}
