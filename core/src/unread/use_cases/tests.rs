//! The use cases of counting on the fake world: lookups, other types than expected, and users who are not members.

use super::*;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::messaging;
use crate::port::{
    Clock, Draft, KeyValue, Mutation, NewConversation, Records, RecordsError, Transaction, UnreadRequest,
};
use crate::testing::{FakeRecords, FakeWorld, block_on};

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
    world.store.overwrite(Key::of_user(Space::UnreadSequence, USER));
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

/// Stores a message, which nobody announces.
fn store_message(world: &FakeWorld) {
    let hello = Draft {
        conversation: CONVERSATION,
        sender: USER,
        id: None,
        kind: "text".into(),
        content: "hello".into(),
        at: world.now(),
    };
    block_on(world.append_message(hello)).unwrap();
}

#[test]
fn only_users_who_have_not_received_every_change_need_changes_from_the_records() {
    let world = world();
    store_message(&world);
    let request = UnreadRequest::named(USER, vec![CONVERSATION]);
    let counter = block_on(world.unread(vec![request])).unwrap()[0].counters[0];
    let loaded = |position| {
        let snapshot = MemberSnapshot { user: USER, position: Some(position), counter, is_added: false };
        block_on(missed_events(&world, vec![snapshot])).unwrap().changes
    };
    assert_eq!(loaded(counter.seq).len(), 0);
    assert_eq!(loaded(counter.seq.previous()).values().map(Vec::len).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_change_that_is_counted_already_needs_no_snapshot() {
    let world = world();
    store_message(&world);
    block_on(totals(&world, USER)).unwrap();
    let before = block_on(read_one(&world, USER, CONVERSATION)).unwrap();
    assert_eq!(before.seq, Some(Seq(1)));
    let without_records = world.with_records(FakeRecords::new(9));
    let counted = Target::counted(USER, CONVERSATION, Seq(1));
    block_on(reconcile(&without_records, vec![counted], Uncached::Fill)).unwrap();
    assert_eq!(block_on(read_one(&world, USER, CONVERSATION)).unwrap(), before);
}

/// Reconciles a repeated target, and answers the names of the events.
fn repeated(world: &FakeWorld) -> Vec<String> {
    world.store.take_published();
    let target = vec![Target::repeated(USER, CONVERSATION)];
    block_on(reconcile(world, target, Uncached::FillFollowed)).unwrap();
    world.store.take_published().into_iter().map(|(_, event)| event.name.to_string()).collect()
}

#[test]
fn a_conversation_is_shown_once_more_whatever_has_to_be_done_first() {
    let shown = ["conversation.added", "unread.update"];
    let world = world();
    block_on(totals(&world, USER)).unwrap();
    assert_eq!(repeated(&world), shown, "up to date");
    store_message(&world);
    assert_eq!(repeated(&world), [&["message.new"][..], &shown[..]].concat(), "behind");
    block_on(forget(&world, USER)).unwrap();
    assert_eq!(repeated(&world), shown, "uncached");
}

#[test]
fn a_snapshot_waits_for_the_caller_that_fills_the_counters() {
    let world = world();
    let lease = Mutation::Set(Key::of_user(Space::UnreadLease, USER), b"another".to_vec(), Some(100));
    block_on(world.commit(vec![Transaction::new(Owner::User(USER)).mutate(lease)])).unwrap();
    block_on(reconcile(&world, vec![Target::latest(USER, CONVERSATION)], Uncached::Fill)).unwrap();
    assert_eq!(block_on(read_one(&world, USER, CONVERSATION)).unwrap().total, Some(0));
}
