//! Who is told that a member has read messages, how often, and what it costs those who are away.

use super::*;
use crate::contacts;
use crate::feed::Position;
use crate::limits::{DURABLE_RECEIPT_MEMBERS_MAX, RECEIPT_AUTHORS_MAX, RECEIPT_INTERVAL_MS};
use crate::port::{Clock, Delivery, Feeds, Operation, Replay};

/// A conversation of this many users beside Ada, all of them connected; messages are taken to be sent now.
fn connected_group(others: u128) -> (FakeWorld, Vec<UserId>) {
    let world = FakeWorld::new();
    let members: Vec<UserId> = (0x1000..).take(others as usize).map(UserId::from_u128).collect();
    block_on(create(&world, NewConversation { members: members.clone(), ..group(&[ADA]) })).unwrap();
    for member in members.iter().chain([&ADA]) {
        block_on(world.follow(&[*member])).unwrap();
        block_on(unread::totals(&world, *member)).unwrap();
    }
    (world, members)
}

fn send_as(world: &FakeWorld, sender: UserId, number: u128) {
    block_on(send(world, Draft { sender, at: world.now(), ..draft(number) })).unwrap();
}

/// The receipts since the last call, and whom they reached.
fn receipts(world: &FakeWorld) -> Vec<(UserId, Delivery)> {
    let published = world.store.take_published().into_iter();
    published.filter(|(_, delivery)| &*delivery.name == "message.read_update").collect()
}

#[test]
fn a_group_of_300_that_reads_one_message_leaves_it_in_the_feed_of_an_absent_member() {
    let (world, members) = connected_group(299);
    let absent = members[0];
    let start: Position = block_on(world.positions(&[absent])).unwrap().remove(0);
    send_as(&world, members[1], 1);
    for reader in &members[2..] {
        block_on(mark_read(&world, *reader, CONVERSATION, None)).unwrap();
    }
    let Replay::Events(missed) = block_on(world.replay(absent, &start)).unwrap() else { panic!("a gap") };
    let names: Vec<&str> = missed.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["message.new"]);
    let receipts = receipts(&world);
    assert!(receipts.iter().all(|(user, delivery)| *user == members[1] && delivery.position.is_none()));
    assert_eq!(receipts.len(), members.len() - 2, "the author was notified by every reader");
}

#[test]
fn receipts_are_durable_up_to_eight_members_and_ephemeral_beyond() {
    for (others, is_durable) in [(DURABLE_RECEIPT_MEMBERS_MAX - 1, true), (DURABLE_RECEIPT_MEMBERS_MAX, false)] {
        let (world, members) = connected_group(others as u128);
        send_as(&world, ADA, 1);
        receipts(&world);
        block_on(mark_read(&world, members[0], CONVERSATION, None)).unwrap();
        let receipts = receipts(&world);
        assert!(receipts.iter().all(|(_, delivery)| delivery.position.is_some() == is_durable), "{others} others");
        let notified: Vec<UserId> = receipts.into_iter().map(|(user, _)| user).collect();
        let expected = if is_durable { [&[ADA], &members[1..]].concat() } else { vec![ADA] };
        assert_eq!(notified, expected, "{others} others");
    }
}

#[test]
fn a_reader_in_a_large_conversation_tells_once_a_second_at_most() {
    let (world, members) = connected_group(20);
    let mut notified = Vec::new();
    for number in 1..=5 {
        send_as(&world, ADA, number);
        receipts(&world);
        block_on(mark_read(&world, members[0], CONVERSATION, None)).unwrap();
        notified.push(receipts(&world).len());
        world.clock.advance(RECEIPT_INTERVAL_MS / 2);
    }
    assert_eq!(notified, [1, 0, 1, 0, 1]);
    send_as(&world, ADA, 6);
    receipts(&world);
    block_on(mark_read(&world, members[1], CONVERSATION, None)).unwrap();
    assert_eq!(receipts(&world).len(), 1, "another reader has another second");
}

#[test]
fn at_most_a_hundred_authors_are_notified_those_of_the_newest_messages() {
    let (world, members) = connected_group(150);
    for (number, author) in (1..).zip(&members[1..]) {
        send_as(&world, *author, number);
    }
    receipts(&world);
    block_on(mark_read(&world, members[0], CONVERSATION, None)).unwrap();
    let notified: Vec<UserId> = receipts(&world).into_iter().map(|(user, _)| user).collect();
    let newest: Vec<UserId> = members[1..].iter().rev().take(RECEIPT_AUTHORS_MAX).copied().collect();
    assert_eq!(notified, newest);
}

#[test]
fn nobody_is_notified_across_a_block_in_either_direction() {
    for others in [1, 4, 30] {
        for (user, blocked) in [(0, 1), (1, 0)] {
            let (world, members) = connected_group(others);
            send_as(&world, ADA, 1);
            let both = [members[0], ADA];
            block_on(contacts::block(&world, both[user], both[blocked])).unwrap();
            receipts(&world);
            block_on(mark_read(&world, members[0], CONVERSATION, None)).unwrap();
            let notified: Vec<UserId> = receipts(&world).into_iter().map(|(user, _)| user).collect();
            assert!(!notified.contains(&ADA), "{others} others: {notified:?}");
            assert_eq!(notified.len(), if others == 4 { 3 } else { 0 });
            assert_eq!(block_on(unread::of_conversation(&world, members[0], CONVERSATION)).unwrap().value, 0);
        }
    }
}

/// Whoever fills counters tells nobody, and the transaction of the reader is refused, because the counters are others
/// now.
#[test]
fn a_reader_whose_counters_are_lost_and_filled_by_others_meanwhile_receives_the_position() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    let other = world.clone();
    let host = world.changed_after((Operation::MarkRead, 1), move |_| {
        block_on(unread::forget(&other, BEN)).unwrap();
        block_on(unread::totals(&other, BEN)).unwrap();
        other.store.take_published();
    });
    assert_eq!(block_on(mark_read(&host, BEN, CONVERSATION, None)).unwrap().value.unread, 0);
    assert_eq!(event_names(&world, BEN), ["unread.update"]);
}
