//! Use cases on the fake world: what members are told and what their counters say.

use std::collections::BTreeMap;

use super::*;
use crate::error::Error;
use crate::ids::Seq;
use crate::key::{Key, Space};
use crate::port::{Clock, ConversationQuery, KeyValue, PubSub, Publication, Query, Records, StoreError, Transaction};
use crate::port::{Outcome, Value};
use crate::testing::{BoxFuture, FakeRecords, FakeStore, FakeWorld, TestWorld, block_on, join_all};
use crate::time::Timestamp;
use crate::{last_message, unread};

const ADA: UserId = UserId::from_u128(0xA);
const BEN: UserId = UserId::from_u128(0xB);
const CLEO: UserId = UserId::from_u128(0xC);
const TALK: ConversationId = ConversationId::from_u128(0x77);

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    block_on(create(&world, talk(&[ADA, BEN, CLEO]))).unwrap();
    world.store.take_published();
    world
}

fn talk(members: &[UserId]) -> NewConversation {
    NewConversation { id: Some(TALK), creator: ADA, members: members.to_vec(), at: Timestamp(1) }
}

fn draft(number: u128) -> Draft {
    Draft {
        conversation: TALK,
        sender: ADA,
        id: Some(MessageId::from_u128(number)),
        kind: "text".into(),
        content: format!("message {number}"),
        at: Timestamp(1_000 + number as u64),
    }
}

fn told(world: &FakeWorld, user: UserId) -> Vec<String> {
    world.store.published().into_iter().filter(|(to, _)| *to == user).map(|(_, event)| event.name.to_string()).collect()
}

/// What the store says equals what the records say.
fn assert_true_counters<W: World>(world: &W, records: &FakeRecords) {
    for user in [ADA, BEN, CLEO] {
        let truth = records.unread_of(user);
        let totals = block_on(unread::totals(world, user)).unwrap();
        assert_eq!(totals.total, truth.values().sum::<u64>(), "{user:?}");
        for (conversation, count) in truth {
            assert_eq!(totals.conversations.get(&conversation).copied().unwrap_or(0), count, "{user:?}");
        }
    }
}

#[test]
fn everybody_is_told_and_the_others_are_counted() {
    let world = world();
    let sent = block_on(send(&world, draft(1))).unwrap();
    assert_eq!((sent.message.seq, sent.repeated, sent.delayed), (Seq(1), false, false));
    for user in [ADA, BEN, CLEO] {
        assert_eq!(told(&world, user), ["message.new"]);
    }
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().total, 1);
    assert_eq!(block_on(unread::totals(&world, ADA)).unwrap().total, 0);
}

#[test]
fn a_warm_send_takes_one_round_trip_and_a_read_two() {
    let world = world();
    for user in [ADA, BEN, CLEO] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    block_on(send(&world, draft(1))).unwrap();
    world.store.take_calls();
    block_on(send(&world, draft(2))).unwrap();
    let calls = world.store.take_calls();
    assert_eq!((calls.reads, calls.commits, calls.publishes), (0, 1, 0));
    block_on(mark_read(&world, BEN, TALK, None)).unwrap();
    let calls = world.store.take_calls();
    assert_eq!((calls.reads, calls.commits, calls.publishes), (1, 1, 0));
    block_on(unread::totals(&world, BEN)).unwrap();
    block_on(inbox(&world, BEN, ConversationQuery::Page { cursor: None, limit: 50 })).unwrap();
    let calls = world.store.take_calls();
    assert_eq!((calls.reads, calls.commits, calls.publishes), (2, 0, 0));
}

#[test]
fn the_same_message_again_counts_and_tells_once() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    let again = block_on(send(&world, draft(1))).unwrap();
    assert!(again.repeated);
    assert_eq!(told(&world, BEN), ["message.new"]);
    assert_eq!(block_on(unread::of_conversation(&world, BEN, TALK)).unwrap(), 1);
}

#[test]
fn announcements_in_the_wrong_order_arrive_in_the_right_one() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let first = block_on(world.append_message(draft(1))).unwrap();
    let second = block_on(world.append_message(draft(2))).unwrap();
    block_on(announce_or_delay(&world, &second)).unwrap();
    block_on(announce_or_delay(&world, &first)).unwrap();
    let payloads: Vec<_> = world
        .store
        .published()
        .into_iter()
        .filter(|(user, _)| *user == BEN)
        .map(|(_, event)| serde_json::from_str::<serde_json::Value>(&event.payload).unwrap()["seq"].clone())
        .collect();
    assert_eq!(payloads, [1, 2]);
    assert_true_counters(&world, &world.records);
}

#[test]
fn a_read_that_overtakes_an_announcement_swallows_nothing() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let changed = block_on(world.append_message(draft(1))).unwrap();
    block_on(mark_read(&world, BEN, TALK, None)).unwrap();
    block_on(announce_or_delay(&world, &changed)).unwrap();
    assert_eq!(told(&world, BEN), ["message.new", "unread.update"]);
    assert_true_counters(&world, &world.records);
}

#[test]
fn reading_tells_the_reader_and_the_others() {
    let world = world();
    for number in 1..=3 {
        block_on(send(&world, draft(number))).unwrap();
    }
    world.store.take_published();
    let reply = block_on(mark_read(&world, BEN, TALK, Some(Seq(2)))).unwrap();
    assert_eq!((reply.unread, reply.total, reply.up_to), (1, 1, Seq(2)));
    assert_eq!(told(&world, BEN), ["unread.update"]);
    assert_eq!(told(&world, ADA), ["message.read_update"]);
    let back = block_on(mark_read(&world, BEN, TALK, Some(Seq(1)))).unwrap();
    assert_eq!((back.unread, back.up_to), (1, Seq(2)));
    assert_eq!(told(&world, ADA).len(), 1);
}

#[test]
fn a_cold_reader_is_filled_and_told() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.wipe();
    world.store.take_published();
    let reply = block_on(mark_read(&world, BEN, TALK, None)).unwrap();
    assert_eq!((reply.unread, reply.total), (0, 0));
    assert_eq!(told(&world, BEN), ["unread.update"]);
    assert_true_counters(&world, &world.records);
}

#[test]
fn a_deletion_lowers_only_the_counters_that_held_the_message() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(mark_read(&world, CLEO, TALK, Some(Seq(1)))).unwrap();
    block_on(delete(&world, ADA, TALK, MessageId::from_u128(1))).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, BEN, TALK)).unwrap(), 1);
    assert_eq!(block_on(unread::of_conversation(&world, CLEO, TALK)).unwrap(), 1);
    assert_eq!(told(&world, BEN).last().map(String::as_str), Some("message.deleted"));
    assert_true_counters(&world, &world.records);
}

#[test]
fn the_last_message_follows_edits_and_deletions() {
    let world = world();
    let last = || block_on(last_message::get(&world, BEN, TALK)).map(|message| message.content);
    assert_eq!(last(), Err(Error::NoMessage));
    block_on(send(&world, draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(last(), Ok("message 2".to_owned()));
    let change = Edit {
        conversation: TALK,
        message: MessageId::from_u128(2),
        editor: ADA,
        content: "better".into(),
        at: Timestamp(5_000),
    };
    block_on(edit(&world, change)).unwrap();
    assert_eq!(last(), Ok("better".to_owned()));
    block_on(delete(&world, ADA, TALK, MessageId::from_u128(2))).unwrap();
    assert_eq!(last(), Ok("message 1".to_owned()));
    block_on(delete(&world, ADA, TALK, MessageId::from_u128(1))).unwrap();
    assert_eq!(last(), Err(Error::NoMessage));
}

#[test]
fn a_late_loader_does_not_replace_a_newer_last_message() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    let old = block_on(world.last_messages(vec![TALK])).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(world.commit(vec![last_message::put(&old[0])])).unwrap();
    assert_eq!(block_on(last_message::get(&world, BEN, TALK)).unwrap().content, "message 2");
}

#[test]
fn a_member_sees_only_what_comes_after_joining_and_nothing_after_leaving() {
    let world = FakeWorld::new();
    block_on(create(&world, talk(&[ADA, BEN]))).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    let change = MemberChange { conversation: TALK, actor: Some(ADA), user: CLEO, at: Timestamp(2_000) };
    block_on(unread::totals(&world, CLEO)).unwrap();
    block_on(add_member(&world, change)).unwrap();
    assert_eq!(block_on(last_message::get(&world, CLEO, TALK)), Err(Error::NoMessage));
    assert_eq!(block_on(unread::of_conversation(&world, CLEO, TALK)).unwrap(), 0);
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(block_on(unread::totals(&world, CLEO)).unwrap().total, 1);
    block_on(remove_member(&world, change)).unwrap();
    block_on(send(&world, draft(3))).unwrap();
    assert_eq!(block_on(unread::totals(&world, CLEO)).unwrap(), unread::Totals::default());
    assert_eq!(told(&world, CLEO), ["message.new"]);
    assert_true_counters(&world, &world.records);
}

#[test]
fn a_user_with_nothing_unread_is_answered_without_the_records() {
    let world = world();
    block_on(unread::totals(&world, BEN)).unwrap();
    let deaf = TestWorld {
        store: world.store.clone(),
        records: std::sync::Arc::new(FakeRecords::new(9)),
        clock: world.clock.clone(),
        telemetry: world.telemetry.clone(),
    };
    assert_eq!(block_on(unread::totals(&deaf, BEN)).unwrap().total, 0);
    assert_eq!(world.telemetry.total("fill"), 1);
}

#[test]
fn a_lost_counter_is_noticed_and_rebuilt() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.evict(&Key::unread_conversation(BEN, TALK));
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().total, 1);
    assert_eq!(world.telemetry.total("repair"), 1);
    world.store.evict(&Key::unread_conversation(BEN, TALK));
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, BEN, TALK)).unwrap(), 2);
    assert_true_counters(&world, &world.records);
}

#[test]
fn forgotten_counters_come_back_and_nothing_is_told_twice() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(unread::forget(&world, BEN)).unwrap();
    let total = Key::of_user(Space::UnreadTotal, BEN);
    assert_eq!(block_on(world.read(vec![Query::Counter(total)])).unwrap(), [Value::Missing]);
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().total, 1);
    assert_eq!(told(&world, BEN), ["message.new"]);
}

#[test]
fn readers_of_a_cold_user_wait_for_the_one_that_fills() {
    let world = world();
    block_on(send(&world, draft(1))).unwrap();
    world.store.wipe();
    let readers: Vec<BoxFuture<'_, Result<unread::Totals, Error>>> =
        (0..20).map(|_| Box::pin(unread::totals(&world, BEN)) as BoxFuture<'_, _>).collect();
    let before = world.telemetry.total("fill");
    for totals in block_on(join_all(readers)) {
        assert_eq!(totals.unwrap().conversations, BTreeMap::from([(TALK, 1)]));
    }
    assert_eq!(world.telemetry.total("fill") - before, 1);
}

/// A store that is away while `away` is set.
struct Moody {
    store: FakeStore,
    away: std::sync::atomic::AtomicBool,
}

impl Moody {
    fn answer(&self) -> Result<(), StoreError> {
        match self.away.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(StoreError::Unavailable { retry_after_ms: 100 }),
            false => Ok(()),
        }
    }
}

impl KeyValue for Moody {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.answer()?;
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.answer()?;
        self.store.commit(transactions).await
    }
}

impl PubSub for Moody {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.answer()?;
        self.store.publish(publications).await
    }
}

#[test]
fn what_was_sent_while_the_store_was_away_is_announced_later() {
    let clock = crate::testing::ManualClock::new();
    let world = TestWorld {
        store: std::sync::Arc::new(Moody { store: FakeStore::new(clock.clone()), away: false.into() }),
        records: std::sync::Arc::new(FakeRecords::new(1)),
        clock: clock.clone(),
        telemetry: crate::testing::FakeTelemetry::new(),
    };
    block_on(create(&world, talk(&[ADA, BEN, CLEO]))).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    world.store.away.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(block_on(send(&world, Draft { at: world.now(), ..draft(2) })).unwrap().delayed);
    assert!(block_on(mark_read(&world, CLEO, TALK, None)).unwrap_err().retry());
    world.store.away.store(false, std::sync::atomic::Ordering::Relaxed);
    clock.advance(60_000);
    assert!(block_on(recover(&world)).unwrap() >= 1);
    assert_eq!(block_on(recover(&world)).unwrap(), 0);
    let news =
        world.store.store.published().into_iter().filter(|(user, event)| *user == BEN && &*event.name == "message.new");
    assert_eq!(news.count(), 2);
    assert_true_counters(&world, &world.records);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world();
    let refused = |draft: Draft| block_on(send(&world, draft)).unwrap_err().code();
    assert_eq!(refused(Draft { content: String::new(), ..draft(1) }), "invalid");
    assert_eq!(refused(Draft { content: "x".repeat(CONTENT_BYTES_MAX + 1), ..draft(1) }), "too_large");
    assert_eq!(refused(Draft { kind: "a b".into(), ..draft(1) }), "invalid");
    assert_eq!(refused(Draft { sender: UserId::from_u128(99), ..draft(1) }), "not_a_member");
    let stranger = block_on(unread::of_conversation(&world, UserId::from_u128(99), TALK));
    assert_eq!(stranger.unwrap_err().code(), "not_a_member");
}
