//! What somebody who asks is told.

use super::*;
use crate::error::Error;
use crate::event::PresenceView;
use crate::limits::{LIST_MAX, PRESENCE_TTL_MS};
use crate::port::Clock;
use crate::presence::{Viewer, connected, of_contacts, query};
use crate::time::Timestamp;

fn online(user: UserId, at: Timestamp) -> PresenceView {
    PresenceView { user, online: true, last_seen: Some(at), generation: at.0 }
}

fn unseen(user: UserId) -> PresenceView {
    PresenceView { user, online: false, last_seen: None, generation: 0 }
}

fn ask(scene: &Scene, viewer: Viewer, users: &[UserId]) -> Vec<PresenceView> {
    block_on(query(&scene.world, viewer, users)).unwrap()
}

#[test]
fn answers_come_in_the_order_asked_and_as_often() {
    let scene = Scene::new();
    let now = scene.world.now();
    scene.heartbeat("a");
    let asked = [BOB, ANN, BOB, ANN];
    let expected = [unseen(BOB), online(ANN, now), unseen(BOB), online(ANN, now)];
    assert_eq!(ask(&scene, Viewer::User(BOB), &asked), expected);
    assert_eq!(ask(&scene, Viewer::Service, &asked), expected);
    assert_eq!(ask(&scene, Viewer::Service, &[]), []);
}

#[test]
fn last_seen_outlives_the_time_to_live() {
    let scene = Scene::new();
    let now = scene.world.now();
    scene.heartbeat("a");
    scene.pass(PRESENCE_TTL_MS);
    let seen = online(ANN, now);
    assert_eq!(ask(&scene, Viewer::User(BOB), &[ANN]), [seen], "no answer runs ahead of the announcement");
    scene.sweep();
    assert_eq!(
        ask(&scene, Viewer::User(BOB), &[ANN]),
        [PresenceView { online: false, generation: seen.generation + 1, ..seen }]
    );
}

#[test]
fn who_may_not_see_a_user_is_answered_as_if_never_seen() {
    let scene = Scene::new();
    let now = scene.world.now();
    scene.heartbeat("a");
    let stranger = UserId::from_u128(1);
    assert_eq!(ask(&scene, Viewer::User(stranger), &[ANN]), [unseen(ANN)]);
    block_on(scene.world.block(BOB, ANN)).unwrap();
    assert_eq!(ask(&scene, Viewer::User(BOB), &[ANN]), [unseen(ANN)], "a block hides both ways");
    assert_eq!(ask(&scene, Viewer::User(ANN), &[ANN]), [online(ANN, now)]);
    assert_eq!(ask(&scene, Viewer::Service, &[ANN]), [online(ANN, now)]);
}

#[test]
fn a_connection_is_told_of_its_contacts() {
    let scene = Scene::new();
    let now = scene.world.now();
    scene.heartbeat("a");
    scene.befriend(BOB, UserId::from_u128(1));
    let told = block_on(connected(&scene.world, BOB, &connection("b"))).unwrap();
    assert_eq!(told, [unseen(UserId::from_u128(1)), online(ANN, now)]);
    assert_eq!(block_on(of_contacts(&scene.world, ANN)), Ok(vec![online(BOB, now)]));
}

#[test]
fn too_long_a_list_is_refused() {
    let scene = Scene::new();
    let answer = block_on(query(&scene.world, Viewer::Service, &[ANN; LIST_MAX + 1]));
    assert!(matches!(answer, Err(Error::Invalid(_))));
}
