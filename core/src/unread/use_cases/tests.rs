//! The use cases of counting on the fake world: lookups, other types than expected, and users who are not members.

use super::*;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::messaging;
use crate::port::{Clock, KeyValue, Mutation, NewConversation, RecordsError, Transaction};
use crate::testing::{FakeWorld, block_on};

const USER: UserId = UserId::from_u128(1);
const CONVERSATION: ConversationId = ConversationId::from_u128(9);

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    let new = NewConversation { id: Some(CONVERSATION), creator: USER, members: vec![], at: world.now() };
    block_on(messaging::create(&world, new)).unwrap();
    world
}

fn lookups(world: &FakeWorld) -> [u64; 3] {
    ["hit", "miss", "away"].map(|outcome| world.telemetry.series(&format!("cache{{cache=unread,outcome={outcome}}}")))
}

#[test]
fn the_first_lookup_of_an_uncached_user_is_a_miss_and_the_second_a_hit() {
    let world = world();
    block_on(of_conversation(&world, USER, CONVERSATION)).unwrap();
    assert_eq!(lookups(&world), [0, 1, 0]);
    block_on(of_conversation(&world, USER, CONVERSATION)).unwrap();
    block_on(totals(&world, USER)).unwrap();
    assert_eq!(lookups(&world), [2, 1, 0]);
}

#[test]
fn a_failed_lookup_is_no_outcome_of_the_cache() {
    let world = world();
    let text = Mutation::Set(Key::of_user(Space::UnreadSequence, USER), b"text".to_vec(), None);
    block_on(world.commit(vec![Transaction::new(Owner::User(USER)).mutate(text)])).unwrap();
    assert_eq!(block_on(of_conversation(&world, USER, CONVERSATION)).unwrap_err().code(), "internal");
    assert_eq!(lookups(&world), [0, 0, 0]);
}

#[test]
fn a_cached_user_who_is_no_member_has_no_counter() {
    let world = world();
    block_on(totals(&world, USER)).unwrap();
    let other = ConversationId::from_u128(10);
    assert_eq!(block_on(of_conversation(&world, USER, other)), Err(Error::from(RecordsError::NotAMember)));
    let missing = Mutation::Delete(Key::unread_conversation(USER, CONVERSATION));
    block_on(world.commit(vec![Transaction::new(Owner::User(USER)).mutate(missing)])).unwrap();
    assert_eq!(block_on(of_conversation(&world, USER, CONVERSATION)).unwrap().value, 0, "a lost counter is rebuilt");
}
