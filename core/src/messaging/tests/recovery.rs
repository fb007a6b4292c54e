//! What was stored while nobody could be told is told afterwards: all of it, in bounded rounds, whatever stands in the way.

use super::away::{events, now, outage_world};
use super::*;
use crate::key::Owner;
use crate::limits::{PENDING_AFTER_MS, PENDING_PAGE, RECOVERY_PAGES_MAX};
use crate::port::{Mutation, Transaction};

const TALKS: u128 = 40;

fn id(number: u128) -> ConversationId {
    ConversationId::from_u128(1_000 + number)
}

#[test]
fn thousands_of_changes_are_worked_off_in_one_round() {
    let world = outage_world();
    for number in 0..TALKS {
        block_on(create(&world, NewConversation { id: Some(id(number)), ..talk(&[ADA, BEN]) })).unwrap();
    }
    world.store.go_away();
    let count = u128::from(PENDING_PAGE) * u128::from(RECOVERY_PAGES_MAX) - 100;
    for number in 0..count {
        let draft = Draft { conversation: id(number % TALKS), ..now(&world, 100 + number) };
        assert!(block_on(send(&world, draft)).unwrap().delayed);
    }
    assert_eq!(block_on(recover(&world)), Ok(0), "what is new is still its sender's to announce");
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert!(block_on(recover(&world)).unwrap_err().retry(), "the store is still away");
    assert!(world.store.take_refused() <= count as u64 + 1, "a round ends at the first failed attempt");

    world.store.come_back();
    world.store.store.take_calls();
    assert_eq!(block_on(recover(&world)), Ok(count as usize));
    let calls = world.store.store.take_calls();
    assert!(calls.reads + calls.commits < 400, "{count} changes took {calls:?}");
    assert_eq!(events(&world, BEN, "message.new"), 3 + count as usize);
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_true_counters(&world, &world.records);
}

#[test]
fn a_backlog_beyond_one_round_is_finished_by_the_next() {
    let world = outage_world();
    let group = NewConversation { id: Some(id(0)), ..talk(&[ADA, BEN]) };
    block_on(create(&world, group)).unwrap();
    world.store.go_away();
    let count = PENDING_PAGE * RECOVERY_PAGES_MAX + 150;
    for number in 0..u128::from(count) {
        block_on(send(&world, Draft { conversation: id(0), ..now(&world, 100 + number) })).unwrap();
    }
    world.store.come_back();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok((PENDING_PAGE * RECOVERY_PAGES_MAX) as usize));
    assert_eq!(block_on(recover(&world)), Ok(150));
    assert_true_counters(&world, &world.records);
}

/// A feed keeps 256 events; telling the newest of more would hide that some are missing.
#[test]
fn who_fell_too_far_behind_is_told_to_ask_for_the_state() {
    let world = outage_world();
    world.store.go_away();
    for number in 0..300 {
        block_on(send(&world, now(&world, 100 + number))).unwrap();
    }
    world.store.come_back();
    world.clock.advance(PENDING_AFTER_MS + 1);
    block_on(recover(&world)).unwrap();
    assert_eq!((events(&world, BEN, "message.new"), events(&world, BEN, "resync")), (3, 1));
    block_on(send(&world, now(&world, 900))).unwrap();
    assert_eq!(events(&world, BEN, "message.new"), 4);
    assert_true_counters(&world, &world.records);
}

#[test]
fn one_that_cannot_be_announced_holds_up_nobody() {
    let world = outage_world();
    let broken = UserId::from_u128(0xBAD);
    block_on(create(&world, NewConversation { id: Some(id(0)), ..talk(&[ADA, broken]) })).unwrap();
    block_on(unread::totals(&world, broken)).unwrap();
    world.store.go_away();
    block_on(send(&world, Draft { conversation: id(0), ..now(&world, 10) })).unwrap();
    block_on(send(&world, now(&world, 11))).unwrap();
    block_on(mark_read(&world, CLEO, TALK, None)).unwrap();
    world.store.come_back();
    let positions = Key::of_user(Space::UnreadSequence, broken);
    let spoil = |mutations: Vec<Mutation>| {
        let transaction = Transaction { mutations, ..Transaction::new(Owner::User(broken)) };
        block_on(world.store.store.commit(vec![transaction])).unwrap();
    };
    spoil(vec![Mutation::Set(positions.clone(), b"no hash".to_vec(), None)]);
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)).unwrap_err().code(), "internal");
    assert_eq!((events(&world, BEN, "message.new"), events(&world, BEN, "message.read_update")), (4, 1));
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 1);

    spoil(vec![Mutation::Delete(positions)]);
    assert_eq!(block_on(recover(&world)), Ok(1));
    assert_eq!(events(&world, broken, "message.new"), 1);
    assert_true_counters(&world, &world.records);
}

#[test]
fn a_reader_who_moved_often_is_told_of_once() {
    let world = outage_world();
    world.store.go_away();
    for number in 0..20 {
        block_on(send(&world, now(&world, 100 + number))).unwrap();
        block_on(mark_read(&world, BEN, TALK, None)).unwrap();
    }
    world.store.come_back();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok(40));
    assert_eq!((events(&world, BEN, "unread.update"), events(&world, ADA, "message.read_update")), (1, 1));
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_true_counters(&world, &world.records);
}
