//! Typing on the fake world.

use super::*;
use crate::error::Error;
use crate::ids::{ConversationId, UserId};
use crate::port::{Clock, NewConversation, Records, RecordsError};
use crate::testing::{Calls, FakeWorld, block_on};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const EVE: UserId = UserId::from_u128(3);

fn conversation(world: &FakeWorld, others: &[UserId]) -> ConversationId {
    let new = NewConversation { id: None, creator: ANN, members: others.to_vec(), at: world.now() };
    block_on(world.create_conversation(new)).unwrap().conversation.id
}

#[test]
fn the_other_members_hear_it_in_one_publish() {
    let world = FakeWorld::new();
    let group = conversation(&world, &[BOB, EVE]);
    block_on(typing(&world, BOB, group)).unwrap();
    let published = world.store.take_published();
    assert_eq!(published.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [ANN, EVE]);
    assert!(published.iter().all(|(_, delivery)| &*delivery.name == "typing" && delivery.position.is_none()));
    assert_eq!(world.store.take_calls(), Calls { publishes: 1, ..Calls::default() });
}

#[test]
fn who_is_no_member_is_refused() {
    let world = FakeWorld::new();
    let pair = conversation(&world, &[BOB]);
    assert_eq!(block_on(typing(&world, EVE, pair)), Err(RecordsError::NotAMember.into()));
    assert!(world.store.published().is_empty());
}

#[test]
fn a_block_silences_two_users_but_no_group() {
    let world = FakeWorld::new();
    let pair = conversation(&world, &[BOB]);
    let group = conversation(&world, &[BOB, EVE]);
    block_on(world.block(ANN, BOB)).unwrap();
    for user in [ANN, BOB] {
        assert_eq!(block_on(typing(&world, user, pair)), Err(Error::Records(RecordsError::Blocked)));
        assert_eq!(block_on(typing(&world, user, group)), Ok(()));
    }
}

#[test]
fn nobody_hears_who_is_alone() {
    let world = FakeWorld::new();
    let alone = conversation(&world, &[]);
    assert_eq!(block_on(typing(&world, ANN, alone)), Ok(()));
    assert_eq!(world.store.take_calls(), Calls::default());
}
