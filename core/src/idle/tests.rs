//! Idle users on the fake world: what is removed, who is kept, and what somebody who comes back finds.

use super::*;
use crate::ids::{ConnectionId, ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{ACTIVITY_SHARDS, FILL_CHUNK, FOLLOWED_TTL_MS, PRESENCE_SHARDS, PRESENCE_TTL_MS};
use crate::messaging;
use crate::port::{Clock, Draft, Feeds, KeyValue, Mutation, NewConversation, Outcome, Transaction};
use crate::presence::{self, Viewer};
use crate::testing::{FakeWorld, block_on};
use crate::unread;

const ANN: UserId = UserId::from_u128(0xA);
const BOB: UserId = UserId::from_u128(0xB);
const IDLE_MS: u64 = 86_400_000;

fn device() -> ConnectionId {
    "device".parse().unwrap()
}

/// Connects a user as a host does that notes activity.
fn connect(world: &FakeWorld, user: UserId) {
    block_on(note(world, [user], world.now())).unwrap();
    block_on(world.follow(&[user])).unwrap();
    block_on(presence::connected(world, user, &device())).unwrap();
    block_on(unread::totals(world, user)).unwrap();
}

fn disconnect(world: &FakeWorld, user: UserId) {
    block_on(presence::disconnect(world, user, &device())).unwrap();
    world.clock.advance(PRESENCE_TTL_MS);
    for shard in 0..PRESENCE_SHARDS {
        block_on(presence::sweep(world, shard)).unwrap();
    }
}

fn conversation(world: &FakeWorld, number: u128) -> ConversationId {
    let id = Some(ConversationId::from_u128(number));
    let new = NewConversation { id, creator: ANN, members: vec![BOB], at: world.now() };
    block_on(messaging::create(world, new)).unwrap().conversation.id
}

fn send(world: &FakeWorld, conversation: ConversationId) {
    let (kind, content) = ("text".to_owned(), "hello".to_owned());
    let draft = Draft { conversation, sender: ANN, id: None, kind, content, at: world.now() };
    block_on(messaging::send(world, draft)).unwrap();
}

fn sweep_all(world: &FakeWorld) -> IdleSummary {
    let mut sum = IdleSummary::default();
    for shard in 0..ACTIVITY_SHARDS {
        let swept = block_on(sweep(world, shard, (world.now(), IDLE_MS))).unwrap();
        sum.removed += swept.removed;
        sum.kept += swept.kept;
        sum.failed += swept.failed;
    }
    sum
}

fn keys_of(world: &FakeWorld, user: UserId) -> Vec<String> {
    world.store.dump().into_keys().filter(|key| key.contains(&user.to_string())).collect()
}

#[test]
fn a_user_who_was_idle_for_long_leaves_nothing_behind() {
    let world = FakeWorld::new();
    let group = conversation(&world, 1);
    connect(&world, ANN);
    connect(&world, BOB);
    send(&world, group);
    disconnect(&world, BOB);
    world.clock.advance(FOLLOWED_TTL_MS);
    send(&world, group);
    assert!(keys_of(&world, BOB).len() >= 5, "{:?}", keys_of(&world, BOB));
    assert_eq!(sweep_all(&world), IdleSummary::default(), "nobody has been idle for so long");
    world.clock.advance(IDLE_MS);
    connect(&world, ANN);
    assert_eq!(sweep_all(&world), IdleSummary { removed: 1, ..IdleSummary::default() });
    assert_eq!(keys_of(&world, BOB), [""; 0]);
    assert!(!keys_of(&world, ANN).is_empty());
    let entries = world.store.entries().into_iter().filter(|(key, _)| key.space == Space::Host);
    let noted: Vec<String> = entries.map(|(_, stored)| format!("{stored:?}")).collect();
    assert!(noted.iter().all(|members| !members.contains(&BOB.to_string())), "{noted:?}");
    send(&world, group);
    assert_eq!(keys_of(&world, BOB), [""; 0], "a message costs a user nothing who is away");
}

#[test]
fn whoever_comes_back_is_rebuilt_and_comes_online_with_a_newer_generation() {
    let world = FakeWorld::new();
    let group = conversation(&world, 1);
    connect(&world, BOB);
    send(&world, group);
    let before = block_on(presence::query(&world, Viewer::Service, &[BOB])).unwrap()[0];
    disconnect(&world, BOB);
    send(&world, group);
    world.clock.advance(IDLE_MS + FOLLOWED_TTL_MS);
    assert_eq!(sweep_all(&world).removed, 1);
    let gone = block_on(presence::query(&world, Viewer::Service, &[BOB])).unwrap()[0];
    assert!(!gone.online && gone.last_seen.is_none());
    connect(&world, BOB);
    assert_eq!(block_on(unread::totals(&world, BOB)).unwrap().value.total, 2);
    let after = block_on(presence::query(&world, Viewer::Service, &[BOB])).unwrap()[0];
    assert!(after.online && after.generation > before.generation + 1, "{after:?} after {before:?}");
}

#[test]
fn a_user_who_is_active_although_nobody_has_noted_it_is_kept() {
    let world = FakeWorld::new();
    connect(&world, ANN);
    world.clock.advance(IDLE_MS);
    block_on(presence::heartbeat(&world, &[(ANN, device())])).unwrap();
    assert_eq!(sweep_all(&world), IdleSummary { kept: 1, ..IdleSummary::default() });
    assert!(!keys_of(&world, ANN).is_empty());
    world.clock.advance(FOLLOWED_TTL_MS);
    assert_eq!(sweep_all(&world), IdleSummary::default(), "looked at again much later");
}

#[test]
fn any_number_of_counters_is_removed() {
    let world = FakeWorld::new();
    let count = 2 * FILL_CHUNK as u128 + 10;
    for number in 1..=count {
        conversation(&world, number);
    }
    block_on(note(&world, [BOB], world.now())).unwrap();
    block_on(unread::totals(&world, BOB)).unwrap();
    assert!(keys_of(&world, BOB).len() as u128 > count);
    world.clock.advance(IDLE_MS);
    assert_eq!(sweep_all(&world).removed, 1);
    assert_eq!(keys_of(&world, BOB), [""; 0]);
}

/// Counters are filled some at a time and the total last, so a user without a total may be one who has just come back.
#[test]
fn counters_that_are_being_filled_are_kept() {
    let world = FakeWorld::new();
    let group = conversation(&world, 1);
    let commit = |transactions: Vec<Transaction>| block_on(world.commit(transactions)).unwrap();
    assert!(matches!(commit(vec![rules::forget(BOB)])[..], [Outcome::Committed(_)]));
    block_on(world.follow(&[BOB])).unwrap();
    let counter = Key::unread_conversation(BOB, group);
    commit(vec![Transaction::new(Owner::User(BOB)).mutate(Mutation::Set(counter, b"1".to_vec(), None))]);
    let before = keys_of(&world, BOB);
    assert!(matches!(commit(rules::forget_counters(BOB, &[group]))[..], [Outcome::Refused(_)]));
    assert_eq!(keys_of(&world, BOB), before);
}

#[test]
fn a_user_who_cannot_be_removed_does_not_stop_the_others() {
    let world = FakeWorld::new();
    for user in [ANN, BOB] {
        block_on(note(&world, [user], world.now())).unwrap();
        block_on(unread::totals(&world, user)).unwrap();
    }
    world.store.overwrite(Key::of_user(Space::UnreadSequence, ANN));
    world.clock.advance(IDLE_MS);
    assert_eq!(sweep_all(&world), IdleSummary { removed: 1, kept: 0, failed: 1 });
    assert_eq!(keys_of(&world, BOB), [""; 0]);
}

#[test]
fn the_shard_must_exist() {
    let world = FakeWorld::new();
    assert!(block_on(sweep(&world, ACTIVITY_SHARDS, (world.now(), IDLE_MS))).is_err());
}
