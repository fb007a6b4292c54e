//! Several users send to one conversation at the same time, and one of the senders crashes.

use super::cost::cached_group;
use super::*;
use crate::limits::{ANNOUNCEMENT_STALL_MS, ANNOUNCEMENT_WAIT_MS_MAX};
use crate::port::Clock;

fn seqs(world: &FakeWorld, user: UserId) -> Vec<u64> {
    let payload = |delivery: &str| serde_json::from_str::<serde_json::Value>(delivery).unwrap();
    let published = world.store.published().into_iter().filter(|(to, _)| *to == user);
    published.map(|(_, event)| payload(&event.payload)["seq"].as_u64().unwrap()).collect()
}

/// Stores messages one after the other, and announces them concurrently, starting with the last one.
fn announce_backwards(world: &FakeWorld, count: u128) -> Vec<bool> {
    let stored: Vec<_> = (1..=count).map(|number| block_on(world.append_message(draft(number))).unwrap()).collect();
    world.store.take_calls();
    let announcements: Vec<BoxFuture<'_, _>> = stored
        .iter()
        .rev()
        .map(|changed| -> BoxFuture<'_, _> { Box::pin(async { announce_or_delay(world, changed).await }) })
        .collect();
    block_on(join_all(announcements))
}

#[test]
fn announcements_that_come_too_early_wait_for_the_earlier_ones() {
    let (world, members) = cached_group(40);
    let delayed = announce_backwards(&world, 8);
    assert_eq!(delayed, [false; 8]);
    for member in [members[0], members[39]] {
        assert_eq!(seqs(&world, member), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
    // The first sender commits once, each other one too early and once more when it is ready. No member needs a
    // snapshot.
    assert_eq!(world.store.calls().commits, 1 + 7 * 2);
}

#[test]
fn waiting_for_a_crashed_sender_is_short() {
    let (world, members) = cached_group(3);
    block_on(world.append_message(draft(1))).unwrap();
    let (next, began) = (block_on(world.append_message(draft(2))).unwrap(), world.now());
    assert!(!block_on(announce_or_delay(&world, &next)));
    assert_eq!(seqs(&world, members[1]), [1, 2]);
    assert!(world.now().0 - began.0 < 2 * ANNOUNCEMENT_STALL_MS, "{:?}", world.now());
}

#[test]
fn the_first_announcement_behind_a_crashed_sender_publishes_the_missing_change() {
    let (world, members) = cached_group(3);
    block_on(world.append_message(draft(100))).unwrap();
    let delayed = announce_backwards(&world, 4);
    assert!(!delayed.contains(&true), "{delayed:?}");
    assert_eq!(seqs(&world, members[2]), [1, 2, 3, 4, 5]);
}

#[test]
fn an_announcement_that_waited_too_long_is_left_to_recovery() {
    let (world, members) = cached_group(3);
    // So many earlier changes that the time until they count as stalled is longer than the longest wait.
    for number in 1..=20 {
        block_on(world.append_message(draft(number))).unwrap();
    }
    let (last, began) = (block_on(world.append_message(draft(21))).unwrap(), world.now());
    assert!(block_on(announce_or_delay(&world, &last)));
    assert!(world.now().0 - began.0 < ANNOUNCEMENT_WAIT_MS_MAX + 1_000);
    block_on(world.clock.wait(1_000));
    block_on(world.clock.wait(1_000));
    block_on(recover(&world)).unwrap();
    assert_eq!(seqs(&world, members[1]), (1..=21).collect::<Vec<_>>());
}
