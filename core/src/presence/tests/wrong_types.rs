//! A presence record that another program has replaced by a value of another type is the failure of its user alone.

use super::*;
use crate::event::PresenceView;
use crate::limits::{PRESENCE_TTL_MS, SWEEP_PAGE, SWEEP_PAGES_MAX};
use crate::presence::{Viewer, connected, of_contacts, query};

/// Makes the presence records of these users values of another type.
fn overwrite(world: &FakeWorld, users: &[UserId]) {
    users.iter().for_each(|user| world.store.overwrite(Key::of_user(Space::Presence, *user)));
}

/// So many users whose deadlines are in the same shard as Ann's.
fn beside_ann(count: usize) -> Vec<UserId> {
    (1..).map(UserId::from_u128).filter(|user| *user != ANN && shard(*user) == shard(ANN)).take(count).collect()
}

fn bring_online(fixture: &Fixture, users: &[UserId]) {
    for users in users.chunks(500) {
        let heartbeats: Vec<_> = users.iter().map(|user| (*user, connection("a"))).collect();
        block_on(heartbeat(&fixture.world, &heartbeats)).unwrap();
    }
}

/// The code of the error of a sweep of Ann's shard.
fn failing_sweep(fixture: &Fixture) -> &'static str {
    block_on(sweep(&fixture.world, shard(ANN))).unwrap_err().code()
}

fn swept(fixture: &Fixture, result: &str) -> u64 {
    fixture.world.telemetry.series(&format!("presence_swept{{result={result}}}"))
}

fn status(fixture: &Fixture, user: UserId) -> String {
    match fixture.ask(Query::Fields(Key::of_user(Space::Presence, user))) {
        Value::Fields(fields) => fields.into_iter().find(|(name, _)| name == STATUS).unwrap().1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sweep_takes_everybody_else_offline_and_tries_the_user_again_later() {
    let fixture = Fixture::new();
    let others = beside_ann(4);
    fixture.heartbeat("a");
    bring_online(&fixture, &others);
    overwrite(&fixture.world, &[ANN]);
    fixture.pass(PRESENCE_TTL_MS);
    assert_eq!(failing_sweep(&fixture), "internal");
    for other in &others {
        assert_eq!(status(&fixture, *other), "offline", "{other}");
    }
    assert_eq!((swept(&fixture, "offline"), swept(&fixture, "failed")), (4, 1));
    let until = fixture.world.now().plus(PRESENCE_TTL_MS);
    assert_eq!(fixture.due(), Some(until.score()));

    assert_eq!(fixture.sweep(), SweepSummary::default(), "nobody is due");
    fixture.pass(PRESENCE_TTL_MS);
    assert_eq!(failing_sweep(&fixture), "internal", "the reason is still there");
    fixture.world.store.evict(&Key::of_user(Space::Presence, ANN));
    fixture.pass(PRESENCE_TTL_MS);
    assert_eq!(fixture.sweep(), SweepSummary::default());
    assert_eq!(fixture.due(), None);
}

/// More of them are due first than one sweep looks at.
#[test]
fn users_who_fill_every_page_of_a_sweep_delay_the_others_by_one_sweep() {
    let fixture = Fixture::new();
    let broken = beside_ann(SWEEP_PAGE as usize * SWEEP_PAGES_MAX as usize);
    bring_online(&fixture, &broken);
    fixture.pass(1);
    fixture.heartbeat("a");
    overwrite(&fixture.world, &broken);
    fixture.pass(PRESENCE_TTL_MS);
    assert_eq!(failing_sweep(&fixture), "internal");
    assert_eq!(swept(&fixture, "failed"), broken.len() as u64);
    assert_eq!(fixture.sweep(), SweepSummary { offline: 1, ..SweepSummary::default() });
    assert_eq!(fixture.received_names(), ["user.online", "user.offline"]);
}

#[test]
fn heartbeats_of_everybody_else_are_written_and_announced() {
    let fixture = Fixture::new();
    let others = beside_ann(3);
    overwrite(&fixture.world, &others[..1]);
    let heartbeats: Vec<_> = others.iter().chain([&ANN]).map(|user| (*user, connection("a"))).collect();
    let failure = block_on(heartbeat(&fixture.world, &heartbeats)).unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("internal", false));
    assert_eq!(fixture.received_names(), ["user.online"]);
    for other in &others[1..] {
        assert_eq!(status(&fixture, *other), "online", "{other}");
    }
}

#[test]
fn the_user_is_answered_as_never_seen_and_the_others_as_they_are() {
    let fixture = Fixture::new();
    let broken = UserId::from_u128(1);
    fixture.make_contacts(BOB, broken);
    let now = fixture.world.now();
    fixture.heartbeat("a");
    overwrite(&fixture.world, &[broken]);
    let expected = [
        PresenceView { user: broken, online: false, last_seen: None, generation: 0 },
        PresenceView { user: ANN, online: true, last_seen: Some(now), generation: now.0 },
    ];
    assert_eq!(block_on(of_contacts(&fixture.world, BOB)).unwrap(), expected);
    assert_eq!(block_on(connected(&fixture.world, BOB, &connection("b"))).unwrap(), expected, "what `hello` contains");
    for viewer in [Viewer::Service, Viewer::User(BOB)] {
        assert_eq!(block_on(query(&fixture.world, viewer, &[broken, ANN])).unwrap(), expected, "{viewer:?}");
    }
    assert_eq!(fixture.world.telemetry.series("presence_unreadable"), 4, "each answer is counted");
}
