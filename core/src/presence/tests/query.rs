//! Which presence a viewer sees.

use super::*;
use crate::error::Error;
use crate::event::PresenceView;
use crate::limits::{LIST_MAX, PRESENCE_TTL_MS};
use crate::port::{Clock, Operation};
use crate::presence::{Viewer, connected, of_contacts, query};
use crate::time::Timestamp;

fn online(user: UserId, at: Timestamp) -> PresenceView {
    PresenceView { user, online: true, last_seen: Some(at), generation: at.0 }
}

fn unseen(user: UserId) -> PresenceView {
    PresenceView { user, online: false, last_seen: None, generation: 0 }
}

fn ask(fixture: &Fixture, viewer: Viewer, users: &[UserId]) -> Vec<PresenceView> {
    block_on(query(&fixture.world, viewer, users)).unwrap()
}

#[test]
fn answers_are_in_the_order_of_the_query_with_repetitions() {
    let fixture = Fixture::new();
    let now = fixture.world.now();
    fixture.heartbeat("a");
    let queried = [BOB, ANN, BOB, ANN];
    let expected = [unseen(BOB), online(ANN, now), unseen(BOB), online(ANN, now)];
    assert_eq!(ask(&fixture, Viewer::User(BOB), &queried), expected);
    assert_eq!(ask(&fixture, Viewer::Service, &queried), expected);
    assert_eq!(ask(&fixture, Viewer::Service, &[]), []);
}

#[test]
fn last_seen_outlives_the_time_to_live() {
    let fixture = Fixture::new();
    let now = fixture.world.now();
    fixture.heartbeat("a");
    fixture.pass(PRESENCE_TTL_MS);
    let seen = online(ANN, now);
    assert_eq!(ask(&fixture, Viewer::User(BOB), &[ANN]), [seen], "no answer is ahead of the announcement");
    fixture.sweep();
    assert_eq!(
        ask(&fixture, Viewer::User(BOB), &[ANN]),
        [PresenceView { online: false, generation: seen.generation + 1, ..seen }]
    );
}

#[test]
fn a_hidden_user_is_answered_like_one_who_was_never_seen() {
    let fixture = Fixture::new();
    let now = fixture.world.now();
    fixture.heartbeat("a");
    let stranger = UserId::from_u128(1);
    assert_eq!(ask(&fixture, Viewer::User(stranger), &[ANN]), [unseen(ANN)]);
    block_on(fixture.world.block(BOB, ANN)).unwrap();
    assert_eq!(ask(&fixture, Viewer::User(BOB), &[ANN]), [unseen(ANN)], "a block hides both ways");
    assert_eq!(ask(&fixture, Viewer::User(ANN), &[ANN]), [online(ANN, now)]);
    assert_eq!(ask(&fixture, Viewer::Service, &[ANN]), [online(ANN, now)]);
}

#[test]
fn a_new_connection_receives_the_presence_of_contacts() {
    let fixture = Fixture::new();
    let now = fixture.world.now();
    fixture.heartbeat("a");
    fixture.make_contacts(BOB, UserId::from_u128(1));
    let views = block_on(connected(&fixture.world, BOB, &connection("b"))).unwrap();
    assert_eq!(views, [unseen(UserId::from_u128(1)), online(ANN, now)]);
    assert_eq!(block_on(of_contacts(&fixture.world, ANN)), Ok(vec![online(BOB, now)]));
}

/// The block comes after the contacts were named, and before their presence is read.
#[test]
fn a_contact_who_blocks_the_user_meanwhile_is_not_shown() {
    let fixture = Fixture::new();
    fixture.heartbeat("a");
    let host = fixture.world.changed_after((Operation::Audience, 1), |records| {
        block_on(records.block(ANN, BOB)).unwrap();
    });
    assert_eq!(block_on(of_contacts(&host, BOB)), Ok(vec![]));
}

#[test]
fn too_long_a_list_is_refused() {
    let fixture = Fixture::new();
    let answer = block_on(query(&fixture.world, Viewer::Service, &[ANN; LIST_MAX + 1]));
    assert!(matches!(answer, Err(Error::Invalid(_))));
}
