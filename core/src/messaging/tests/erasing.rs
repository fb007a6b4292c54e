//! Erasing a user on the fake world: what the others are told, what is left in the store, and that it goes on after a
//! crash.

use super::*;
use crate::ids::ConnectionId;
use crate::key::Owner;
use crate::limits::{ERASED_CONVERSATIONS, ERASED_TOGETHER, TRIES_MAX};
use crate::port::Operation;
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
    world.store.overwrite(positions.clone());
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

/// The payloads of the published events with this name to a user, in order.
fn payloads(world: &FakeWorld, user: UserId, name: &str) -> Vec<serde_json::Value> {
    let published = world.store.published().into_iter().filter(|(to, event)| *to == user && &*event.name == name);
    published.map(|(_, event)| serde_json::from_str(&event.payload).unwrap()).collect()
}

/// Ada and Ben are in so many conversations; Ben has written in the first `unread` of them, and both have counters.
fn many_conversations(count: u128, unread: u128) -> FakeWorld {
    let world = FakeWorld::new();
    block_on(world.follow(&[ADA, BEN])).unwrap();
    for number in 1..=count {
        let id = ConversationId::from_u128(number);
        block_on(create(&world, NewConversation { id: Some(id), creator: BEN, ..group(&[ADA]) })).unwrap();
        if number <= unread {
            block_on(send(&world, Draft { conversation: id, sender: BEN, ..draft(number) })).unwrap();
        }
    }
    for user in [ADA, BEN] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    world.store.take_published();
    world.store.take_calls();
    world
}

#[test]
fn many_conversations_are_left_in_few_round_trips_and_everybody_is_notified_of_each() {
    let world = many_conversations(ERASED_CONVERSATIONS as u128, 0);
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    // For each group: the counters are read, the user's and the others' are written. Then the live state is removed.
    let calls = world.store.take_calls();
    let groups = (ERASED_CONVERSATIONS / ERASED_TOGETHER) as u64;
    assert!(calls.reads <= groups + 2 && calls.commits <= 2 * groups + 4, "{calls:?}");
    assert_eq!(payloads(&world, ADA, "conversation.removed").len(), ERASED_CONVERSATIONS);
    let moved = payloads(&world, BEN, "conversation.members");
    assert_eq!(moved.len(), ERASED_CONVERSATIONS);
    for payload in moved {
        assert_eq!((&payload["removed"][0], &payload["member_count"]), (&ADA.to_string().into(), &1.into()));
    }
    assert!(!events::is_anything_pending(&world));
}

/// Each removal checks the total, so that only one of them can be stored at a time.
#[test]
fn the_total_of_a_user_who_leaves_conversations_with_unread_messages_falls_with_each() {
    const { assert!(ERASED_TOGETHER < TRIES_MAX as usize) };
    let unread = ERASED_TOGETHER as u64;
    let world = many_conversations(unread.into(), unread.into());
    assert_eq!(block_on(unread::totals(&world, ADA)).unwrap().value.total, unread);
    assert_eq!(block_on(erase(&world, ADA)), Ok(true));
    let removed = payloads(&world, ADA, "conversation.removed");
    let totals: Vec<u64> = removed.iter().map(|payload| payload["total"].as_u64().unwrap()).collect();
    assert_eq!(totals, (0..unread).rev().collect::<Vec<_>>());
    assert!(!events::is_anything_pending(&world));
}

#[test]
fn a_member_who_leaves_while_others_are_notified_of_a_removal_is_not_counted_in_the_end() {
    let world = busy_world();
    let leaving = MemberChange { conversation: CONVERSATION, actor: None, user: CLEO, at: Timestamp(3_000) };
    let host = world.changed_after((Operation::Members, 1), move |records| {
        block_on(records.remove_member(leaving)).unwrap();
    });
    assert_eq!(block_on(erase(&host, ADA)), Ok(true));
    let counts: Vec<_> =
        payloads(&world, BEN, "conversation.members").iter().map(|payload| payload["member_count"].clone()).collect();
    assert_eq!(counts, [2, 1]);
}

/// Another host adds Ada again while this one announces the removal. The next step removes her again.
#[test]
fn a_user_who_is_added_while_the_removal_is_announced_is_announced_as_what_the_records_hold() {
    let world = busy_world();
    let added = MemberChange { conversation: CONVERSATION, actor: None, user: ADA, at: Timestamp(3_000) };
    let host = world.changed_after((Operation::Members, 1), move |records| {
        block_on(records.add_member(added)).unwrap();
    });
    assert_eq!(block_on(erase(&host, ADA)), Ok(true));
    let moves: Vec<bool> = payloads(&world, BEN, "conversation.members")
        .iter()
        .map(|payload| payload["added"].as_array().is_some_and(|added| !added.is_empty()))
        .collect();
    assert_eq!(moves, [false, true, false], "whether Ada was added");
    assert_erased(&world);
}
