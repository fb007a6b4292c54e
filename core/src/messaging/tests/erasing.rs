//! Erasing a user on the fake world: what the others are told, what is left in the store, and that it goes on after a crash.

use super::*;
use crate::ids::ConnectionId;
use crate::key::Owner;
use crate::port::{Mutation, Transaction};
use crate::presence;

/// The keys that the store holds of Ada.
fn held(world: &FakeWorld) -> Vec<Key> {
    world.store.entries().into_keys().filter(|key| key.owner == Owner::User(ADA)).collect()
}

/// Ada is online, has sent two messages, and Ben has counted them.
fn busy_world() -> FakeWorld {
    let world = world();
    let device: ConnectionId = "device".parse().unwrap();
    block_on(presence::heartbeat(&world, &[(ADA, device)])).unwrap();
    for number in [1, 2] {
        block_on(send(&world, draft(number))).unwrap();
    }
    for user in [ADA, BEN] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    assert!(!held(&world).is_empty());
    world.store.take_published();
    world
}

fn assert_erased(world: &FakeWorld) {
    assert_eq!(held(world), []);
    assert_eq!(world.records.members_of(CONVERSATION), [BEN, CLEO]);
    let messages = world.records.messages_of(CONVERSATION);
    assert!(messages.iter().all(|message| message.deleted && message.content.is_empty()), "{messages:?}");
    assert_eq!(block_on(unread::of_conversation(world, BEN, CONVERSATION)).unwrap().value, 0);
}

#[test]
fn the_others_are_notified_and_nothing_of_the_user_is_left_in_the_store() {
    let world = busy_world();
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    let names = event_names(&world, BEN);
    assert_eq!(names.iter().filter(|name| *name == "message.deleted").count(), 2, "{names:?}");
    assert!(names.contains(&"conversation.members".to_owned()), "{names:?}");
    assert_erased(&world);
}

#[test]
fn erasing_goes_on_after_a_crash_between_two_steps() {
    let world = busy_world();
    let mut steps = 0;
    loop {
        let done = block_on(world.erase_user(ADA, Timestamp(5_000))).unwrap().done;
        steps += 1;
        if done {
            break;
        }
    }
    assert!(steps > 2, "{steps} steps");
    // Nothing was announced, and the live state is as it was.
    assert!(!held(&world).is_empty());
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    world.clock.advance(60_000);
    block_on(recover(&world)).unwrap();
    let names = event_names(&world, BEN);
    assert!(names.contains(&"conversation.members".to_owned()), "{names:?}");
    assert_erased(&world);
}

/// A repetition publishes it again, because the first call may have ended before it.
#[test]
fn the_last_event_of_an_erased_user_tells_the_functions() {
    let world = busy_world();
    for _ in 0..2 {
        world.store.take_published();
        assert_eq!(block_on(erase(&world, ADA)), Ok(true));
        let names = event_names(&world, ADA);
        assert!(names.ends_with(&["user.erased".to_owned(), "resync".to_owned()]), "{names:?}");
        assert_erased(&world);
    }
}

#[test]
fn a_user_whose_positions_cannot_be_read_is_erased_all_the_same() {
    let world = busy_world();
    let positions = Key::of_user(Space::UnreadSequence, ADA);
    let text = Mutation::Set(positions.clone(), b"text".to_vec(), None);
    block_on(world.commit(vec![Transaction::new(Owner::User(ADA)).mutate(text)])).unwrap();
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    assert!(!held(&world).contains(&positions));
    assert!(event_names(&world, BEN).contains(&"conversation.members".to_owned()));
}

#[test]
fn erasing_again_is_done_at_once_and_notifies_nobody() {
    let world = busy_world();
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    world.store.take_published();
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    assert!(event_names(&world, BEN).is_empty() && event_names(&world, CLEO).is_empty());
    assert_erased(&world);
}
