//! Changes that were stored while the store was unavailable are announced afterwards: all of them, in limited rounds,
//! even if some cannot be announced.

use super::outage::{draft_now, events, outage_world};
use super::*;
use crate::limits::{PENDING_AFTER_MS, PENDING_PAGE, RECOVERY_MS_MAX, RECOVERY_PAGES_MAX, RECOVERY_RETRY_MS};
use crate::port::{Clock, Telemetry};
use crate::testing::ManualClock;

const CONVERSATIONS: u128 = 40;

fn id(number: u128) -> ConversationId {
    ConversationId::from_u128(1_000 + number)
}

#[test]
fn thousands_of_changes_are_announced_in_one_round() {
    let world = outage_world();
    for number in 0..CONVERSATIONS {
        block_on(create(&world, NewConversation { id: Some(id(number)), ..group(&[ADA, BEN]) })).unwrap();
    }
    world.store.set_unavailable();
    let count = u128::from(PENDING_PAGE) * u128::from(RECOVERY_PAGES_MAX) - 100;
    for number in 0..count {
        let draft = Draft { conversation: id(number % CONVERSATIONS), ..draft_now(&world, 100 + number) };
        assert!(block_on(send(&world, draft)).unwrap().delayed);
    }
    assert_eq!(block_on(recover(&world)), Ok(0), "a new change is left to its sender");
    world.clock.advance(PENDING_AFTER_MS + 1);
    world.store.take_refused();
    let began = world.now();
    assert!(block_on(recover(&world)).unwrap_err().retry(), "the store is still unavailable");
    assert_eq!((world.store.take_refused(), world.now()), (1, began), "a round ends at the first failed attempt");
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 0, "the changes are only delayed");

    world.store.set_available();
    world.store.store.take_calls();
    assert_eq!(block_on(recover(&world)), Ok(count as usize));
    let calls = world.store.store.take_calls();
    assert!(calls.reads + calls.commits < 400, "{count} changes took {calls:?}");
    assert_eq!(events(&world, BEN, "message.new"), 3 + count as usize);
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_backlog_beyond_one_round_is_finished_by_the_next() {
    let world = outage_world();
    let group = NewConversation { id: Some(id(0)), ..group(&[ADA, BEN]) };
    block_on(create(&world, group)).unwrap();
    world.store.set_unavailable();
    let count = PENDING_PAGE * RECOVERY_PAGES_MAX + 150;
    for number in 0..u128::from(count) {
        block_on(send(&world, Draft { conversation: id(0), ..draft_now(&world, 100 + number) })).unwrap();
    }
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok((PENDING_PAGE * RECOVERY_PAGES_MAX) as usize));
    assert_eq!(block_on(recover(&world)), Ok(150));
    assert_counters_equal_records(&world, &world.records);
}

/// A feed keeps 256 events. Publishing only the newest of more events would hide that some are missing.
#[test]
fn a_user_who_missed_too_many_events_receives_a_resync() {
    let world = outage_world();
    world.store.set_unavailable();
    for number in 0..300 {
        block_on(send(&world, draft_now(&world, 100 + number))).unwrap();
    }
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    block_on(recover(&world)).unwrap();
    assert_eq!((events(&world, BEN, "message.new"), events(&world, BEN, "resync")), (3, 1));
    block_on(send(&world, draft_now(&world, 900))).unwrap();
    assert_eq!(events(&world, BEN, "message.new"), 4);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_change_that_cannot_be_announced_does_not_delay_the_others() {
    let world = outage_world();
    let broken = UserId::from_u128(0xBAD);
    block_on(create(&world, NewConversation { id: Some(id(0)), ..group(&[ADA, broken]) })).unwrap();
    block_on(unread::totals(&world, broken)).unwrap();
    world.store.set_unavailable();
    block_on(send(&world, Draft { conversation: id(0), ..draft_now(&world, 10) })).unwrap();
    block_on(send(&world, draft_now(&world, 11))).unwrap();
    block_on(mark_read(&world, CLEO, CONVERSATION, None)).unwrap();
    world.store.set_available();
    let positions = Key::of_user(Space::UnreadSequence, broken);
    world.store.store.overwrite(positions.clone());
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok(2));
    assert_eq!((events(&world, BEN, "message.new"), events(&world, BEN, "message.read_update")), (4, 1));
    assert_eq!(world.telemetry.series("announcements{outcome=failed}"), 1);

    world.store.store.take_calls();
    assert_eq!((block_on(recover(&world)), block_on(retry(&world))), (Ok(0), Ok(0)));
    let calls = world.store.store.take_calls();
    assert_eq!((calls.reads, calls.commits), (0, 0), "it is left alone until its next time");

    world.store.store.evict(&positions);
    world.clock.advance(RECOVERY_RETRY_MS + 1);
    assert_eq!((block_on(recover(&world)), block_on(retry(&world))), (Ok(0), Ok(1)));
    assert_eq!(events(&world, broken, "message.new"), 1);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_read_position_that_moved_often_is_published_as_one_move() {
    let world = outage_world();
    world.store.set_unavailable();
    for number in 0..20 {
        block_on(send(&world, draft_now(&world, 100 + number))).unwrap();
        block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap();
    }
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok(21));
    // Ben is told with the messages, and once more because nobody knows whether that was before the crash.
    assert_eq!((events(&world, BEN, "unread.update"), events(&world, ADA, "message.read_update")), (2, 1));
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_new_member_is_recovered_with_the_position_of_joining() {
    let world = outage_world();
    let group = NewConversation { id: Some(id(0)), ..group(&[ADA, BEN]) };
    block_on(create(&world, group)).unwrap();
    block_on(send(&world, Draft { conversation: id(0), ..draft_now(&world, 100) })).unwrap();
    block_on(unread::totals(&world, CLEO)).unwrap();
    world.store.set_unavailable();
    let change = MemberChange { conversation: id(0), actor: Some(ADA), user: CLEO, at: world.now() };
    block_on(add_member(&world, change)).unwrap();
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    world.store.store.take_published();
    assert_eq!(block_on(recover(&world)), Ok(1));
    assert_eq!((events(&world, ADA, "message.read_update"), events(&world, CLEO, "unread.update")), (1, 0));
    assert_eq!((events(&world, ADA, "conversation.members"), events(&world, CLEO, "conversation.added")), (1, 1));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_round_with_less_than_a_page_does_not_wait() {
    let world = outage_world();
    let took = |expected: usize| {
        let began = world.now();
        assert_eq!(block_on(recover(&world)), Ok(expected));
        world.now().0 - began.0
    };
    assert_eq!(took(0), 0);
    world.store.set_unavailable();
    block_on(send(&world, draft_now(&world, 100))).unwrap();
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(took(1), 0);
}

/// Counts nothing. Every count of announcements, which is one for each page, takes the longest time of a round.
struct SlowPages(ManualClock);

impl Telemetry for SlowPages {
    fn count(&self, name: &'static str, _: &[(&'static str, &str)], _: u64) {
        if name == "announcements" {
            self.0.advance(RECOVERY_MS_MAX);
        }
    }
}

#[test]
fn a_round_reads_no_further_page_after_its_time_is_over() {
    let world = outage_world();
    world.store.set_unavailable();
    for number in 0..4 * u128::from(PENDING_PAGE) {
        block_on(send(&world, draft_now(&world, 100 + number))).unwrap();
    }
    world.store.set_available();
    world.clock.advance(PENDING_AFTER_MS + 1);
    let slow = world.with_telemetry(SlowPages(world.clock.clone()));
    let page = PENDING_PAGE as usize;
    assert_eq!(block_on(recover(&slow)), Ok(2 * page), "the first page takes exactly the time of a round, not more");
    assert_eq!(block_on(recover(&world)), Ok(2 * page));
    assert_counters_equal_records(&world, &world.records);
}
