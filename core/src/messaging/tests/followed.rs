//! What a message costs for members who are away: nothing if they are uncached and nobody follows them, and their
//! counters if only that.

use super::cost::cached_group;
use super::*;
use crate::feed::Position;
use crate::limits::{FOLLOWED_TTL_MS, MEMBERS_MAX, PENDING_AFTER_MS};
use crate::port::{Clock, Feeds, PendingQuery, Replay};
use crate::testing::Calls;

/// A conversation of Ada and invented users whom nobody has ever seen. Only Ada is connected.
fn invented_group() -> (FakeWorld, Vec<UserId>) {
    let world = FakeWorld::new();
    let members: Vec<UserId> = (1..=MEMBERS_MAX as u128).map(UserId::from_u128).collect();
    assert!(members.contains(&ADA));
    block_on(create(&world, NewConversation { members: members.clone(), ..group(&[]) })).unwrap();
    connect(&world, ADA);
    (world, members)
}

/// Follows a user and fills the counters, as a connection does.
fn connect(world: &FakeWorld, user: UserId) -> Position {
    let position = block_on(world.follow(&[user])).unwrap().remove(0);
    block_on(unread::totals(world, user)).unwrap();
    position
}

fn position(world: &FakeWorld, user: UserId) -> Position {
    block_on(world.positions(&[user])).unwrap().remove(0)
}

/// The keys that belong to other users than Ada.
fn keys_of_others(world: &FakeWorld) -> Vec<String> {
    let keys = world.store.dump().into_keys();
    keys.filter(|key| !key.contains(&ADA.to_string()) && !key.starts_with("last_msg:")).collect()
}

#[test]
fn members_who_were_invented_cost_one_round_trip_and_no_key() {
    let (world, _) = invented_group();
    let ada_only = world.store.dump().len();
    for number in 1..=3 {
        world.store.take_calls();
        let fills = world.telemetry.total("fill");
        assert!(!block_on(send(&world, draft(number))).unwrap().delayed);
        assert_eq!(world.store.take_calls(), Calls { commits: 1, ..Calls::default() }, "message {number}");
        assert_eq!(world.telemetry.total("fill"), fills, "nothing was counted");
    }
    assert_eq!(keys_of_others(&world), [""; 0]);
    assert_eq!(world.store.dump().len(), ada_only + 1, "only the last message is new");
    let received = world.store.take_published();
    assert!(received.iter().all(|(user, delivery)| *user == ADA && delivery.position.is_some()), "{received:?}");
    assert_eq!(received.len(), 3);
}

#[test]
fn an_edit_and_a_deletion_leave_members_alone_who_are_away_and_uncached() {
    let (world, members) = invented_group();
    block_on(send(&world, draft(1))).unwrap();
    let change = Edit {
        conversation: CONVERSATION,
        message: MessageId::from_u128(1),
        editor: ADA,
        content: "better".into(),
        at: Timestamp(5_000),
    };
    block_on(edit(&world, change)).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, members[0], CONVERSATION)).unwrap().value, 1);
    block_on(unread::forget(&world, members[0])).unwrap();
    // Until then whoever asked for the counter is followed.
    world.clock.advance(FOLLOWED_TTL_MS);
    block_on(world.follow(&[ADA])).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap();
    let counters = keys_of_others(&world).into_iter().filter(|key| key.starts_with("unread:total:"));
    assert_eq!(counters.count(), 0);
    assert_eq!(event_names(&world, ADA), ["message.new", "message.updated", "message.new", "message.deleted"]);
    assert_eq!(block_on(unread::of_conversation(&world, members[1], CONVERSATION)).unwrap().value, 1);
}

#[test]
fn whoever_comes_back_finds_the_right_counters_without_having_cost_anything() {
    let (world, members) = invented_group();
    for number in 1..=5 {
        block_on(send(&world, draft(number))).unwrap();
    }
    assert_eq!(block_on(unread::totals(&world, members[1])).unwrap().value.total, 5);
    connect(&world, members[2]);
    block_on(send(&world, draft(6))).unwrap();
    assert_eq!(block_on(unread::totals(&world, members[2])).unwrap().value.total, 6);
    assert_eq!(block_on(unread::totals(&world, members[3])).unwrap().value.total, 6);
}

#[test]
fn a_cached_member_whom_nobody_follows_costs_counters_and_no_feed() {
    let (world, members) = cached_group(20);
    let away = members[0];
    // Until then whoever asked for the counters is followed.
    world.clock.advance(FOLLOWED_TTL_MS);
    block_on(world.follow(&[ADA])).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    assert_eq!(block_on(unread::of_conversation(&world, away, CONVERSATION)).unwrap().value, 1);
    assert!(position(&world, away).without_feed_since().is_some());
    assert_eq!(position(&world, ADA).offset, 1);
}

#[test]
fn an_event_that_is_not_kept_ends_the_feed() {
    let (world, members) = cached_group(20);
    let away = members[0];
    let start = connect(&world, away);
    block_on(send(&world, draft(1))).unwrap();
    let known = position(&world, away);
    assert_eq!(known.offset, 1);
    assert!(matches!(block_on(world.replay(away, &start)), Ok(Replay::Events(events)) if events.len() == 1));
    world.store.evict(&Key::followed(away));
    block_on(send(&world, draft(2))).unwrap();
    connect(&world, away);
    assert_eq!(block_on(world.replay(away, &known)), Ok(Replay::Gap), "never silence");
    block_on(send(&world, draft(3))).unwrap();
    let next = position(&world, away);
    assert!(next.offset == 1 && next.epoch != known.epoch, "{next} after {known}");
}

#[test]
fn events_are_kept_for_ten_minutes_after_the_last_sign_of_life() {
    let (world, members) = cached_group(20);
    let away = members[0];
    connect(&world, away);
    world.clock.advance(FOLLOWED_TTL_MS - 1);
    block_on(send(&world, draft(1))).unwrap();
    assert_eq!(position(&world, away).offset, 1);
    world.clock.advance(1);
    assert!(position(&world, away).without_feed_since().is_some(), "a feed ends no later than `followed`");
    block_on(send(&world, draft(2))).unwrap();
    assert!(position(&world, away).without_feed_since().is_some());
}

#[test]
fn a_followed_member_without_counters_receives_the_message() {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN, CLEO]))).unwrap();
    connect(&world, ADA);
    block_on(world.follow(&[BEN])).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    assert_eq!((event_names(&world, BEN), position(&world, BEN).offset), (vec!["message.new".to_owned()], 1));
    assert_eq!(event_names(&world, CLEO), [""; 0]);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn recovery_leaves_members_alone_who_are_away_and_uncached() {
    let (world, _) = invented_group();
    for number in 1..=4 {
        block_on(world.append_message(draft(number))).unwrap();
    }
    world.clock.set(Timestamp(1_004 + PENDING_AFTER_MS + 1).max(world.now()));
    assert_eq!(block_on(recover(&world)), Ok(4));
    assert_eq!(keys_of_others(&world), [""; 0]);
    assert_eq!(event_names(&world, ADA), ["message.new"; 4]);
    assert_eq!(block_on(recover(&world)), Ok(0));
}

#[test]
fn recovery_of_a_read_position_counts_nothing_for_a_reader_who_is_away() {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN, CLEO]))).unwrap();
    connect(&world, ADA);
    block_on(send(&world, draft(1))).unwrap();
    block_on(world.records.mark_read(BEN, CONVERSATION, None)).unwrap();
    world.store.take_published();
    world.clock.advance(PENDING_AFTER_MS + 1);
    block_on(recover(&world)).unwrap();
    assert_eq!(event_names(&world, ADA), ["message.read_update"]);
    assert_eq!(world.store.entry(&Key::of_user(Space::UnreadTotal, BEN)), None);
    assert!(block_on(world.pending(PendingQuery::untried(Timestamp(u64::MAX / 2)))).unwrap().items.is_empty());
}

/// An announcement that comes late, after the store has lost its data, must not cache an older last message than the
/// records have, although no member can show that a newer one was announced.
#[test]
fn a_late_announcement_to_nobody_refreshes_the_last_message() {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN]))).unwrap();
    let first = block_on(world.append_message(draft(1))).unwrap();
    block_on(send(&world, draft(2))).unwrap();
    world.store.wipe();
    assert!(!block_on(announce_or_delay(&world, &first)));
    assert_eq!(block_on(last_message::get(&world, BEN, CONVERSATION)).unwrap().value.content, "message 2");
}
