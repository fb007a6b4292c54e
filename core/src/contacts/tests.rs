//! Contacts and blocks on the fake world: what they change, and what both users are told.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Error;
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Space};
use crate::limits::PENDING_AFTER_MS;
use crate::port::{Confirmation, Feeds, Operation, PendingQuery, Records};
use crate::testing::{FakeWorld, block_on};
use crate::time::Timestamp;
use crate::{messaging, presence};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const EVE: UserId = UserId::from_u128(3);

fn visible(world: &FakeWorld, user: UserId) -> Vec<UserId> {
    block_on(world.audience(vec![user])).unwrap().remove(0).visible
}

fn connect(world: &FakeWorld, user: UserId) {
    let connection: ConnectionId = "c1".parse().unwrap();
    block_on(world.follow(&[user])).unwrap();
    block_on(presence::heartbeat(world, &[(user, connection)])).unwrap();
}

/// Ann and Bob are contacts of each other, and online.
fn mutual() -> FakeWorld {
    let world = FakeWorld::new();
    for user in [ANN, BOB] {
        connect(&world, user);
    }
    block_on(add(&world, ANN, BOB)).unwrap();
    block_on(add(&world, BOB, ANN)).unwrap();
    world
}

/// The events of a user since this was last called for anybody.
fn received(world: &FakeWorld) -> Vec<(UserId, String, Json)> {
    let published = world.store.take_published().into_iter();
    let parsed = |payload: &str| serde_json::from_str(payload).unwrap();
    published.map(|(user, event)| (user, event.name.to_string(), parsed(&event.payload))).collect()
}

fn names(events: &[(UserId, String, Json)], user: UserId) -> Vec<&str> {
    events.iter().filter(|(to, ..)| *to == user).map(|(_, name, _)| name.as_str()).collect()
}

#[test]
fn contacts_are_listed_once_in_ascending_order() {
    let world = FakeWorld::new();
    for contact in [EVE, BOB, EVE] {
        block_on(add(&world, ANN, contact)).unwrap();
    }
    assert_eq!(block_on(list(&world, ANN)), Ok(vec![BOB, EVE]));
    block_on(remove(&world, ANN, EVE)).unwrap();
    block_on(remove(&world, ANN, EVE)).unwrap();
    assert_eq!(block_on(list(&world, ANN)), Ok(vec![BOB]));
    assert_eq!(block_on(list(&world, BOB)), Ok(vec![]), "contacts are directed");
}

#[test]
fn nobody_adds_or_blocks_themselves() {
    let world = FakeWorld::new();
    assert!(matches!(block_on(add(&world, ANN, ANN)), Err(Error::Invalid(_))));
    assert!(matches!(block_on(block(&world, ANN, ANN)), Err(Error::Invalid(_))));
    assert_eq!(block_on(list(&world, ANN)), Ok(vec![]));
}

#[test]
fn blocked_users_are_listed_to_whoever_blocked_them_until_the_block_ends() {
    let world = FakeWorld::new();
    block_on(add(&world, ANN, EVE)).unwrap();
    for other in [EVE, BOB, EVE] {
        block_on(block(&world, ANN, other)).unwrap();
    }
    assert_eq!(block_on(blocked(&world, ANN)), Ok(vec![BOB, EVE]));
    assert_eq!(block_on(blocked(&world, EVE)), Ok(vec![]), "nobody learns who has blocked them");
    block_on(unblock(&world, ANN, BOB)).unwrap();
    assert_eq!(block_on(blocked(&world, ANN)), Ok(vec![EVE]));
}

#[test]
fn a_block_hides_both_until_it_ends() {
    let world = mutual();
    block_on(block(&world, ANN, BOB)).unwrap();
    assert_eq!((visible(&world, ANN), visible(&world, BOB)), (vec![], vec![]));
    block_on(unblock(&world, ANN, BOB)).unwrap();
    assert_eq!((visible(&world, ANN), visible(&world, BOB)), (vec![BOB], vec![ANN]));
}

#[test]
fn the_users_own_devices_are_notified_of_each_change_once() {
    let world = FakeWorld::new();
    connect(&world, ANN);
    received(&world);
    let expect = |contact, blocked| {
        let events = received(&world);
        assert_eq!(
            events,
            [(ANN, "contact.update".to_owned(), json!({ "user": BOB, "contact": contact, "blocked": blocked }))]
        );
    };
    block_on(add(&world, ANN, BOB)).unwrap();
    expect(true, false);
    block_on(block(&world, ANN, BOB)).unwrap();
    expect(true, true);
    block_on(remove(&world, ANN, BOB)).unwrap();
    expect(false, true);
    block_on(unblock(&world, ANN, BOB)).unwrap();
    expect(false, false);
    block_on(unblock(&world, ANN, BOB)).unwrap();
    assert_eq!(received(&world), [], "a repetition");
    assert_eq!(block_on(world.pending(PendingQuery::untried(Timestamp(u64::MAX)))).unwrap().items, []);
}

#[test]
fn whoever_may_see_each_other_now_is_shown_the_present_state() {
    let world = FakeWorld::new();
    for user in [ANN, BOB] {
        connect(&world, user);
    }
    block_on(add(&world, ANN, BOB)).unwrap();
    assert_eq!(names(&received(&world), BOB), [""; 0], "Bob learns nothing of a contact that is not mutual");
    block_on(add(&world, BOB, ANN)).unwrap();
    let events = received(&world);
    assert_eq!(
        (names(&events, ANN), names(&events, BOB)),
        (vec!["user.online"], vec!["contact.update", "user.online"])
    );
    let seen = |to: UserId| &events.iter().find(|(user, name, _)| *user == to && name == "user.online").unwrap().2;
    assert_eq!((&seen(ANN)["user"], &seen(BOB)["user"]), (&json!(BOB), &json!(ANN)));
    assert!(seen(ANN)["last_seen"].is_string());
}

#[test]
fn whoever_may_not_see_each_other_any_more_sees_nothing_but_that() {
    for end in ["block", "remove"] {
        let world = mutual();
        let known = |events: &[(UserId, String, Json)], to: UserId| {
            let of = |(user, name, _): &&(UserId, String, Json)| *user == to && name.starts_with("user.");
            let newest = events.iter().rfind(of);
            newest.map(|(_, name, payload)| (name.clone(), payload["generation"].as_u64().unwrap()))
        };
        let events = received(&world);
        let before = [ANN, BOB].map(|user| known(&events, user).unwrap().1);
        if end == "block" {
            block_on(block(&world, ANN, BOB)).unwrap();
        } else {
            block_on(remove(&world, ANN, BOB)).unwrap();
        }
        let events = received(&world);
        for (user, before) in [ANN, BOB].into_iter().zip(before) {
            let (name, generation) = known(&events, user).unwrap();
            assert!(name == "user.offline" && generation > before, "{end}: {events:?}");
        }
        let hidden = events.iter().filter(|(_, name, _)| name == "user.offline");
        assert!(hidden.clone().count() == 2 && hidden.clone().all(|(.., payload)| payload["last_seen"].is_null()));
        // Both are still online, and nobody but the two received anything.
        assert!(block_on(presence::query(&world, presence::Viewer::Service, &[ANN])).unwrap()[0].online);
    }
}

/// Bob adds Ann on another host right after this one has read what the two had said, and they are shown to each other.
#[test]
fn a_block_hides_whoever_became_visible_while_it_was_made() {
    let world = FakeWorld::new();
    for user in [ANN, BOB] {
        connect(&world, user);
    }
    block_on(add(&world, ANN, BOB)).unwrap();
    received(&world);
    let elsewhere = world.clone();
    let host = world.changed_after((Operation::Relation, 1), move |_| {
        block_on(add(&elsewhere, BOB, ANN)).unwrap();
    });
    block_on(block(&host, ANN, BOB)).unwrap();
    let events = received(&world);
    for user in [ANN, BOB] {
        let presence = events.iter().filter(|(to, name, _)| *to == user && name.starts_with("user."));
        let (names, generations): (Vec<&str>, Vec<u64>) =
            presence.map(|(_, name, payload)| (name.as_str(), payload["generation"].as_u64().unwrap())).unzip();
        assert_eq!(names, ["user.online", "user.offline"], "{events:?}");
        assert!(generations.is_sorted_by(|one, next| one < next), "{events:?}");
    }
}

#[test]
fn a_user_who_was_never_seen_gets_no_record() {
    let world = FakeWorld::new();
    connect(&world, ANN);
    for (user, other) in [(ANN, EVE), (EVE, ANN)] {
        block_on(add(&world, user, other)).unwrap();
    }
    block_on(block(&world, ANN, EVE)).unwrap();
    assert!(world.store.dump().into_keys().all(|key| !key.contains(&EVE.to_string())));
}

/// The records have stored the changes, and every call that should have announced them is gone.
#[test]
fn what_a_crash_left_unannounced_is_announced_by_recovery_once() {
    let world = mutual();
    received(&world);
    block_on(world.block(ANN, BOB)).unwrap();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(messaging::recover(&world)), Ok(1));
    let events = received(&world);
    assert_eq!(
        (names(&events, ANN), names(&events, BOB)),
        (vec!["contact.update", "user.offline"], vec!["user.offline"])
    );
    assert_eq!((block_on(messaging::recover(&world)), received(&world)), (Ok(0), vec![]));
}

/// Whoever else announces the same block confirms it in the middle of the work of recovery, which then cannot read what
/// holds now.
#[test]
fn what_recovery_published_before_it_lost_an_answer_is_corrected_although_nothing_is_pending() {
    let world = mutual();
    received(&world);
    block_on(world.block(ANN, BOB)).unwrap();
    world.clock.advance(PENDING_AFTER_MS + 1);
    let host = world.lost_after(("contact.update", Operation::Relation), |records| {
        block_on(records.unblock(ANN, BOB)).unwrap();
        block_on(records.announced(vec![Confirmation::Contact(ANN, BOB, 2)])).unwrap();
    });
    assert_eq!(block_on(messaging::recover(&host)), Ok(1));
    assert_eq!(block_on(world.pending(PendingQuery::tried(Timestamp(u64::MAX)))).unwrap().items, []);
    let events = received(&world);
    let updates = events.iter().filter(|(_, name, _)| name == "contact.update");
    assert_eq!(updates.map(|(.., payload)| &payload["blocked"]).collect::<Vec<_>>(), [&json!(true), &json!(false)]);
}

/// The presence record of Bob is a value of another type.
#[test]
fn a_record_of_the_other_user_that_cannot_be_read_is_no_error_of_the_call() {
    let world = FakeWorld::new();
    connect(&world, ANN);
    block_on(add(&world, BOB, ANN)).unwrap();
    world.store.overwrite(Key::of_user(Space::Presence, BOB));
    received(&world);
    assert_eq!(block_on(add(&world, ANN, BOB)), Ok(()));
    assert_eq!(block_on(list(&world, ANN)), Ok(vec![BOB]));
    assert_eq!(names(&received(&world), ANN), ["contact.update"]);
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 1);
    let pending = block_on(world.pending(PendingQuery::untried(Timestamp(u64::MAX)))).unwrap();
    assert_eq!(pending.items.len(), 1, "recovery tries it again");
}

#[test]
fn an_announcement_with_an_older_generation_does_not_show_a_hidden_user() {
    let world = mutual();
    let late = received(&world).into_iter().rfind(|(user, name, _)| *user == BOB && name == "user.online").unwrap();
    block_on(block(&world, ANN, BOB)).unwrap();
    let hidden = received(&world).into_iter().find(|(user, name, _)| *user == BOB && name == "user.offline").unwrap();
    assert!(hidden.2["generation"].as_u64() > late.2["generation"].as_u64());
}
