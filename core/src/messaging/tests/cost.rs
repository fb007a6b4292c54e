//! The number of round trips to the store, counted at the port.

use super::*;
use crate::key::Owner;
use crate::limits::{CALL_ITEMS_MAX, MEMBERS_MAX, PAGE_MAX};
use crate::port::{ConversationQuery, Mutation, Transaction};
use crate::testing::Calls;

const READ: Calls = Calls { reads: 1, commits: 0, publishes: 0 };
const COMMIT: Calls = Calls { reads: 0, commits: 1, publishes: 0 };
const READ_AND_COMMIT: Calls = Calls { reads: 1, commits: 1, publishes: 0 };

/// A conversation of the first `count` users, one of whom is Ada. All of them are cached.
pub(super) fn cached_group(count: u128) -> (FakeWorld, Vec<UserId>) {
    let world = FakeWorld::new();
    let members: Vec<UserId> = (1..=count).map(UserId::from_u128).collect();
    block_on(create(&world, NewConversation { members: members.clone(), ..group(&[]) })).unwrap();
    for member in &members {
        block_on(unread::totals(&world, *member)).unwrap();
    }
    world.store.take_calls();
    (world, members)
}

fn cost_of<T>(world: &FakeWorld, use_case: impl Future<Output = Result<T, Error>>) -> Calls {
    world.store.take_calls();
    block_on(use_case).unwrap_or_else(|error| panic!("{error}"));
    world.store.take_calls()
}

#[test]
fn a_send_to_cached_members_takes_one_round_trip_for_any_number_of_members() {
    // A transaction for each member and one for the last message fit one call.
    const { assert!(MEMBERS_MAX < CALL_ITEMS_MAX) };
    for count in [12, MEMBERS_MAX as u128] {
        let (world, _) = cached_group(count);
        for number in 1..=2 {
            let long = Draft { content: "x".repeat(6_000), ..draft(number) };
            assert_eq!(cost_of(&world, send(&world, long)), COMMIT, "message {number} to {count}");
        }
    }
}

#[test]
fn a_long_message_takes_one_round_trip_for_each_8_mib() {
    let (world, _) = cached_group(MEMBERS_MAX as u128);
    let longest = Draft { content: "x".repeat(CONTENT_BYTES_MAX), ..draft(1) };
    assert_eq!(cost_of(&world, send(&world, longest)), Calls { commits: 3, ..Calls::default() });
}

#[test]
fn marking_as_read_takes_as_many_round_trips_for_any_number_of_members() {
    for count in [12, MEMBERS_MAX as u128] {
        let (world, members) = cached_group(count);
        block_on(send(&world, draft(1))).unwrap();
        let reader = members[0];
        // The author of the message is told in a third one, because the conversation is large.
        let all = Calls { publishes: 1, ..READ_AND_COMMIT };
        assert_eq!(cost_of(&world, mark_read(&world, reader, CONVERSATION, None)), all, "{count} members");
        assert_eq!(cost_of(&world, mark_read(&world, reader, CONVERSATION, None)), READ, "nothing moved");
    }
}

#[test]
fn queries_about_cached_users_take_one_round_trip() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    assert_eq!(cost_of(&world, unread::totals(&world, BEN)), READ);
    assert_eq!(cost_of(&world, unread::of_conversation(&world, BEN, CONVERSATION)), READ);
    assert_eq!(cost_of(&world, last_message::get(&world, BEN, CONVERSATION)), READ);
}

#[test]
fn a_full_page_of_the_inbox_takes_one_round_trip() {
    let world = FakeWorld::new();
    for user in [ADA, BEN] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    for number in 1..=u128::from(PAGE_MAX) {
        let id = ConversationId::from_u128(number);
        block_on(create(&world, NewConversation { id: Some(id), ..group(&[ADA, BEN]) })).unwrap();
        block_on(send(&world, Draft { conversation: id, ..draft(number) })).unwrap();
    }
    let page = || ConversationQuery::Page { cursor: None, limit: PAGE_MAX };
    assert_eq!(cost_of(&world, inbox(&world, BEN, page())), READ);
    assert_eq!(cost_of(&world, inbox(&world, ADA, page())), READ);
}

#[test]
fn counters_that_are_missing_in_an_inbox_are_filled_together() {
    let world = FakeWorld::new();
    let ids: Vec<_> = (1..=20).map(ConversationId::from_u128).collect();
    block_on(unread::totals(&world, BEN)).unwrap();
    for id in &ids {
        // Not through the use case: as if the store had been unavailable when the conversation was created.
        block_on(world.create_conversation(NewConversation { id: Some(*id), ..group(&[ADA, BEN]) })).unwrap();
    }
    let page = || ConversationQuery::Named(ids.clone());
    let first = cost_of(&world, inbox(&world, BEN, page()));
    assert!(first.reads + first.commits <= 7, "{first:?}");
    assert_eq!(cost_of(&world, inbox(&world, BEN, page())).reads, 1);
}

#[test]
fn a_lookup_counts_as_a_hit_only_if_the_first_read_found_the_answer() {
    let world = world();
    let lookups = |outcome: &str| world.telemetry.series(&format!("cache{{cache=unread,outcome={outcome}}}"));
    block_on(unread::totals(&world, BEN)).unwrap();
    assert_eq!((lookups("hit"), lookups("miss")), (0, 1));
    block_on(unread::totals(&world, BEN)).unwrap();
    block_on(inbox(&world, BEN, ConversationQuery::Named(vec![CONVERSATION]))).unwrap();
    assert_eq!((lookups("hit"), lookups("miss")), (2, 1));
    world.store.wipe();
    let lease = Mutation::Set(Key::of_user(Space::UnreadLease, BEN), b"another's".to_vec(), Some(100));
    block_on(world.commit(vec![Transaction::new(Owner::User(BEN)).mutate(lease)])).unwrap();
    block_on(unread::totals(&world, BEN)).unwrap();
    assert_eq!((lookups("hit"), lookups("miss")), (2, 2), "a caller that waits for another one counts as a miss");
    world.store.wipe();
    block_on(inbox(&world, BEN, ConversationQuery::Named(vec![CONVERSATION]))).unwrap();
    assert_eq!((lookups("hit"), lookups("miss")), (2, 3));
}
