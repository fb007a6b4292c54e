//! Many who send to one conversation at the same time, and one of them who crashed.

use super::cost::warm_talk;
use super::*;
use crate::limits::{TURN_MS_MAX, TURN_STALL_MS};
use crate::port::Clock;

fn seqs(world: &FakeWorld, user: UserId) -> Vec<u64> {
    let payload = |delivery: &str| serde_json::from_str::<serde_json::Value>(delivery).unwrap();
    let told = world.store.published().into_iter().filter(|(to, _)| *to == user);
    told.map(|(_, event)| payload(&event.payload)["seq"].as_u64().unwrap()).collect()
}

/// Stored one after the other, announced side by side, the last one first.
fn announce_backwards(world: &FakeWorld, count: u128) -> Vec<bool> {
    let stored: Vec<_> = (1..=count).map(|number| block_on(world.append_message(draft(number))).unwrap()).collect();
    world.store.take_calls();
    let announcements: Vec<BoxFuture<'_, _>> = stored
        .iter()
        .rev()
        .map(|changed| -> BoxFuture<'_, _> { Box::pin(async { announce_or_delay(world, changed).await.unwrap() }) })
        .collect();
    block_on(join_all(announcements))
}

#[test]
fn senders_who_come_too_early_wait_for_their_turn() {
    let (world, members) = warm_talk(40);
    let delayed = announce_backwards(&world, 8);
    assert_eq!(delayed, [false; 8]);
    for member in [members[0], members[39]] {
        assert_eq!(seqs(&world, member), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
    // The first sender at once, each other one tries too early and in its turn; nobody takes a snapshot for a member.
    assert_eq!(world.store.calls().commits, 1 + 7 * 2);
}

#[test]
fn nobody_waits_long_for_a_sender_who_crashed() {
    let (world, members) = warm_talk(3);
    block_on(world.append_message(draft(1))).unwrap();
    let (next, began) = (block_on(world.append_message(draft(2))).unwrap(), world.now());
    assert!(!block_on(announce_or_delay(&world, &next)).unwrap());
    assert_eq!(seqs(&world, members[1]), [1, 2]);
    assert!(world.now().0 - began.0 < 2 * TURN_STALL_MS, "{:?}", world.now());
}

#[test]
fn a_queue_behind_a_crashed_sender_is_told_by_its_first() {
    let (world, members) = warm_talk(3);
    block_on(world.append_message(draft(100))).unwrap();
    let delayed = announce_backwards(&world, 4);
    assert!(!delayed.contains(&true), "{delayed:?}");
    assert_eq!(seqs(&world, members[2]), [1, 2, 3, 4, 5]);
}

#[test]
fn who_waited_long_enough_leaves_it_to_the_next_round() {
    let (world, members) = warm_talk(3);
    // Far ahead: the patience for so many is longer than anybody waits.
    for number in 1..=20 {
        block_on(world.append_message(draft(number))).unwrap();
    }
    let (last, began) = (block_on(world.append_message(draft(21))).unwrap(), world.now());
    assert!(block_on(announce_or_delay(&world, &last)).unwrap());
    assert!(world.now().0 - began.0 < TURN_MS_MAX + 1_000);
    block_on(world.clock.wait(1_000));
    block_on(world.clock.wait(1_000));
    block_on(recover(&world)).unwrap();
    assert_eq!(seqs(&world, members[1]), (1..=21).collect::<Vec<_>>());
}
