//! The use cases of messaging on the fake world: which events members receive, and what their counters are. The modules
//! test the round trips, the queue of announcements, an unavailable store, and recovery.

mod cost;
mod deletions;
mod edge_cases;
mod erasing;
mod events;
mod followed;
mod outage;
mod queue;
mod receipts;
mod recovery;
mod stuck;
mod wrong_types;

use std::collections::BTreeMap;

use super::use_cases::announce_or_delay;
use super::*;
use crate::error::Error;
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::key::{Key, Space};
use crate::limits::CONTENT_BYTES_MAX;
use crate::port::{Draft, Edit, Feeds, KeyValue, MemberChange, NewConversation, Query, Records, Value, World};
use crate::source::Sourced;
use crate::testing::{BoxFuture, FakeRecords, FakeWorld, TestWorld, block_on, join_all};
use crate::time::Timestamp;
use crate::{last_message, unread};

const ADA: UserId = UserId::from_u128(0xA);
const BEN: UserId = UserId::from_u128(0xB);
const CLEO: UserId = UserId::from_u128(0xC);
const CONVERSATION: ConversationId = ConversationId::from_u128(0x77);

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN, CLEO]))).unwrap();
    block_on(world.follow(&[ADA, BEN, CLEO])).unwrap();
    world.store.take_published();
    world
}

fn group(members: &[UserId]) -> NewConversation {
    NewConversation { id: Some(CONVERSATION), creator: ADA, members: members.to_vec(), at: Timestamp(1) }
}

fn draft(number: u128) -> Draft {
    Draft {
        conversation: CONVERSATION,
        sender: ADA,
        id: Some(MessageId::from_u128(number)),
        kind: "text".into(),
        content: format!("message {number}"),
        at: Timestamp(1_000 + number as u64),
    }
}

fn event_names(world: &FakeWorld, user: UserId) -> Vec<String> {
    world.store.published().into_iter().filter(|(to, _)| *to == user).map(|(_, event)| event.name.to_string()).collect()
}

/// The counters in the store equal those in the records.
fn assert_counters_equal_records<W: World>(world: &W, records: &FakeRecords) {
    for user in [ADA, BEN, CLEO] {
        let recorded = records.unread_of(user);
        let totals = block_on(unread::totals(world, user)).unwrap().value;
        assert_eq!(totals.total, recorded.values().sum::<u64>(), "{user:?}");
        for (conversation, count) in recorded {
            assert_eq!(totals.conversations.get(&conversation).copied().unwrap_or(0), count, "{user:?}");
        }
    }
}

#[test]
fn every_member_receives_a_message_and_it_is_counted_for_the_others() {
    let world = world();
    let sent = block_on(send(&world, draft(1))).unwrap();
    assert_eq!((sent.message.seq, sent.repeated, sent.delayed), (Seq(1), false, false));
    for user in [ADA, BEN, CLEO] {
        assert_eq!(event_names(&world, user), ["message.new"]);
    }
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 1);
    assert_eq!(block_on(unread::totals(&world, ADA)).unwrap().value.total, 0);
}

#[test]
fn a_repeated_message_is_counted_and_published_once() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    let again = block_on(send(&world, draft(1))).unwrap();
    assert!(again.repeated);
    assert_eq!(event_names(&world, BEN), ["message.new"]);
    assert_eq!(block_on(unread::of_conversation(&world, BEN, CONVERSATION)).unwrap().value, 1);
}

#[test]
fn announcements_in_the_wrong_order_arrive_in_the_right_order() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let first = block_on(world.append_message(draft(1))).unwrap();
    let second = block_on(world.append_message(draft(2))).unwrap();
    for change in [second, first] {
        assert!(!block_on(announce_or_delay(&world, &change)));
    }
    let payloads: Vec<_> = world
        .store
        .published()
        .into_iter()
        .filter(|(user, _)| *user == BEN)
        .map(|(_, event)| serde_json::from_str::<serde_json::Value>(&event.payload).unwrap()["seq"].clone())
        .collect();
    assert_eq!(payloads, [1, 2]);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_read_that_overtakes_an_announcement_loses_no_event() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let changed = block_on(world.append_message(draft(1))).unwrap();
    block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap();
    assert!(!block_on(announce_or_delay(&world, &changed)));
    assert_eq!(event_names(&world, BEN), ["message.new", "unread.update"]);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn reading_is_published_to_the_reader_and_the_others() {
    let world = world();
    for number in 1..=3 {
        block_on(send(&world, draft(number))).unwrap();
    }
    world.store.take_published();
    let reply = block_on(mark_read(&world, BEN, CONVERSATION, Some(Seq(2)))).unwrap().value;
    assert_eq!((reply.unread, reply.total, reply.up_to), (1, 1, Seq(2)));
    assert_eq!(event_names(&world, BEN), ["unread.update"]);
    assert_eq!(event_names(&world, ADA), ["message.read_update"]);
    let back = block_on(mark_read(&world, BEN, CONVERSATION, Some(Seq(1)))).unwrap().value;
    assert_eq!((back.unread, back.up_to), (1, Seq(2)));
    assert_eq!(event_names(&world, ADA).len(), 1);
}

#[test]
fn an_uncached_reader_is_filled_and_receives_the_counters() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.wipe();
    world.store.take_published();
    let reply = block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap().value;
    assert_eq!((reply.unread, reply.total), (0, 0));
    assert_eq!(event_names(&world, BEN), ["unread.update"]);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_deletion_lowers_only_counters_that_included_the_message() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(mark_read(&world, CLEO, CONVERSATION, Some(Seq(1)))).unwrap();
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, BEN, CONVERSATION)).unwrap().value, 1);
    assert_eq!(block_on(unread::of_conversation(&world, CLEO, CONVERSATION)).unwrap().value, 1);
    assert_eq!(event_names(&world, BEN)[3..], ["message.deleted", "unread.update"]);
    assert_eq!(event_names(&world, CLEO).last().map(String::as_str), Some("message.deleted"));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn the_last_message_follows_edits_and_deletions() {
    let world = world();
    let last = || block_on(last_message::get(&world, BEN, CONVERSATION)).map(|last| last.value.content);
    assert_eq!(last(), Err(Error::NoMessage));
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(last(), Ok("message 2".to_owned()));
    let change = Edit {
        conversation: CONVERSATION,
        message: MessageId::from_u128(2),
        editor: ADA,
        content: "better".into(),
        at: Timestamp(5_000),
    };
    block_on(edit(&world, change)).unwrap();
    assert_eq!(last(), Ok("better".to_owned()));
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(2))).unwrap();
    assert_eq!(last(), Ok("message 1".to_owned()));
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    assert_eq!(last(), Err(Error::NoMessage));
}

#[test]
fn a_late_reader_does_not_replace_a_newer_last_message() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    let old = block_on(world.last_messages(vec![CONVERSATION])).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(world.commit(vec![last_message::put(&old[0])])).unwrap();
    assert_eq!(block_on(last_message::get(&world, BEN, CONVERSATION)).unwrap().value.content, "message 2");
}

#[test]
fn a_member_sees_only_messages_between_joining_and_leaving() {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN]))).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    let change = MemberChange { conversation: CONVERSATION, actor: Some(ADA), user: CLEO, at: Timestamp(2_000) };
    block_on(unread::totals(&world, CLEO)).unwrap();
    block_on(add_member(&world, change)).unwrap();
    assert_eq!(block_on(last_message::get(&world, CLEO, CONVERSATION)), Err(Error::NoMessage));
    assert_eq!(block_on(unread::of_conversation(&world, CLEO, CONVERSATION)).unwrap().value, 0);
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(block_on(unread::totals(&world, CLEO)).unwrap().value.total, 1);
    block_on(remove_member(&world, change)).unwrap();
    block_on(send(&world, draft(3))).unwrap();
    assert_eq!(block_on(unread::totals(&world, CLEO)).unwrap().value, unread::Totals::default());
    assert_eq!(event_names(&world, CLEO), ["conversation.added", "message.new", "conversation.removed"]);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_user_with_nothing_unread_is_answered_without_the_records() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let without_records = world.with_records(FakeRecords::new(9));
    assert_eq!(block_on(unread::totals(&without_records, BEN)).unwrap().value.total, 0);
    assert_eq!(world.telemetry.total("fill"), 1);
}

#[test]
fn a_lost_counter_is_detected_and_rebuilt() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.evict(&Key::unread_conversation(BEN, CONVERSATION));
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 1);
    assert_eq!(world.telemetry.total("repair"), 1);
    world.store.evict(&Key::unread_conversation(BEN, CONVERSATION));
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, BEN, CONVERSATION)).unwrap().value, 2);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn deleted_counters_are_rebuilt_and_nothing_is_published_twice() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(unread::forget(&world, BEN)).unwrap();
    let total = Key::of_user(Space::UnreadTotal, BEN);
    assert_eq!(block_on(world.read(vec![Query::Counter(total)])).unwrap(), [Value::Missing]);
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 1);
    assert_eq!(event_names(&world, BEN), ["message.new"]);
}

#[test]
fn readers_of_an_uncached_user_wait_for_the_one_that_fills() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.wipe();
    let readers: Vec<BoxFuture<'_, Result<Sourced<unread::Totals>, Error>>> =
        (0..20).map(|_| Box::pin(unread::totals(&world, BEN)) as BoxFuture<'_, _>).collect();
    let before = world.telemetry.total("fill");
    for totals in block_on(join_all(readers)) {
        assert_eq!(totals.unwrap().value.conversations, BTreeMap::from([(CONVERSATION, 1)]));
    }
    assert_eq!(world.telemetry.total("fill") - before, 1);
}

#[test]
fn an_invalid_message_is_refused() {
    let world = world();
    let refused = |draft: Draft| block_on(send(&world, draft)).unwrap_err().code();
    assert_eq!(refused(Draft { content: String::new(), ..draft(1) }), "invalid");
    assert_eq!(refused(Draft { content: "x".repeat(CONTENT_BYTES_MAX + 1), ..draft(1) }), "too_large");
    assert_eq!(refused(Draft { kind: "a b".into(), ..draft(1) }), "invalid");
    assert_eq!(refused(Draft { sender: UserId::from_u128(99), ..draft(1) }), "not_a_member");
    let stranger = block_on(unread::of_conversation(&world, UserId::from_u128(99), CONVERSATION));
    assert_eq!(stranger.unwrap_err().code(), "not_a_member");
}
