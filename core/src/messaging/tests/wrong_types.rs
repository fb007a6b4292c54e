//! Keys that another program has replaced by values of another type are the failure of their user alone. The caller has
//! stored the change and gets no error, the others are told at once, and recovery tries the user again.

use std::sync::Arc;

use super::events::{DAN, GROUP, change_of, connected, is_anything_pending, names, received};
use super::*;
use crate::limits::{PENDING_AFTER_MS, RECOVERY_RETRY_MS_MAX};
use crate::port::{ConversationQuery, PendingId, PendingQuery};
use crate::source::Source;
use crate::testing::{BrokenFeed, FakeTelemetry};

fn break_positions(world: &FakeWorld, user: UserId) {
    world.store.overwrite(Key::of_user(Space::UnreadSequence, user));
}

fn failed(telemetry: &FakeTelemetry) -> u64 {
    telemetry.series("announcements{outcome=failed}")
}

fn edit_of(number: u128, content: &str) -> Edit {
    let message = MessageId::from_u128(number);
    Edit { conversation: CONVERSATION, message, editor: ADA, content: content.into(), at: Timestamp(5_000) }
}

fn delete_of(number: u128, world: &FakeWorld) -> DeletedMessage {
    block_on(delete(world, Some(ADA), CONVERSATION, MessageId::from_u128(number))).unwrap()
}

#[test]
fn a_user_whose_counters_cannot_be_read_stops_neither_the_caller_nor_the_others() {
    let world = connected();
    break_positions(&world, DAN);
    assert_eq!(block_on(add_member(&world, change_of(DAN))).unwrap(), [ADA, BEN, CLEO, DAN]);
    assert_eq!(names(&received(&world), ADA)[0], "conversation.members");
    let new = NewConversation { id: Some(GROUP), ..group(&[ADA, BEN, DAN]) };
    let created = block_on(create(&world, new)).unwrap();
    assert_eq!((created.conversation.id, created.repeated), (GROUP, false));
    let events = received(&world);
    for user in [ADA, BEN] {
        assert_eq!(names(&events, user), ["conversation.added"]);
    }
    assert_eq!(failed(&world.telemetry), 2);

    // The message before is not announced, so that everybody needs a snapshot.
    block_on(world.append_message(draft(1))).unwrap();
    let sent = block_on(send(&world, draft(2))).unwrap();
    assert_eq!((sent.message.seq, sent.repeated, sent.delayed), (Seq(2), false, true));
    let again = block_on(send(&world, draft(2))).unwrap();
    assert_eq!((again.message.id, again.repeated, again.delayed), (sent.message.id, true, true));
    assert_eq!(failed(&world.telemetry), 4);
    let events = received(&world);
    for user in [ADA, BEN, CLEO] {
        let messages = names(&events, user).into_iter().filter(|name| *name == "message.new");
        assert_eq!(messages.count(), 2, "{user}, at once");
    }

    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&world)), Ok(0), "the reason is still there");
    world.store.evict(&Key::of_user(Space::UnreadSequence, DAN));
    world.clock.advance(RECOVERY_RETRY_MS_MAX);
    block_on(retry(&world)).unwrap();
    let forever = Timestamp(u64::MAX);
    for query in [PendingQuery::untried(forever), PendingQuery::tried(forever)] {
        assert_eq!(block_on(world.pending(query)).unwrap().items, []);
    }
    assert_eq!(block_on(unread::totals(&world, DAN)).unwrap().value.total, 2);
}

#[test]
fn messages_edits_and_deletions_are_announced_to_everybody_else_and_remain_pending() {
    let world = connected();
    break_positions(&world, BEN);
    assert!(block_on(send(&world, draft(1))).unwrap().delayed);
    assert!(block_on(edit(&world, edit_of(1, "better"))).unwrap().delayed);
    assert!(delete_of(1, &world).delayed);
    let events = received(&world);
    assert_eq!(names(&events, ADA), ["message.new", "message.updated", "message.deleted"]);
    assert_eq!(names(&events, CLEO), ["message.new", "message.updated", "message.deleted", "unread.update"]);
    assert_eq!(names(&events, BEN), [""; 0]);
    assert_eq!((failed(&world.telemetry), is_anything_pending(&world)), (3, true));
    assert_eq!(world.telemetry.series("announcements{outcome=delayed}"), 0, "the store is available");

    assert_eq!(block_on(remove_member(&world, change_of(BEN))).unwrap(), [ADA, CLEO]);
    assert_eq!(names(&received(&world), CLEO), ["conversation.members"]);
    assert_eq!(failed(&world.telemetry), 4);
}

/// Cleo is followed, and her counters were forgotten.
#[test]
fn members_who_need_a_snapshot_get_it_beside_a_member_whose_transaction_fails() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    received(&world);
    break_positions(&world, BEN);
    block_on(unread::forget(&world, CLEO)).unwrap();
    assert!(block_on(send(&world, draft(2))).unwrap().delayed);
    assert!(names(&received(&world), CLEO).contains(&"message.new"));
    block_on(unread::forget(&world, CLEO)).unwrap();
    assert!(block_on(edit(&world, edit_of(1, "better"))).unwrap().delayed);
    assert!(names(&received(&world), CLEO).contains(&"message.updated"));
    assert_eq!(failed(&world.telemetry), 2);
    assert_eq!(block_on(unread::totals(&world, CLEO)).unwrap().value.total, 2);
}

/// The transactions of all members are refused, and then the total of Ben cannot be read.
#[test]
fn a_total_that_cannot_be_read_stops_no_other_member_from_waiting_for_an_earlier_message() {
    let world = connected();
    world.store.overwrite(Key::of_user(Space::UnreadTotal, BEN));
    block_on(world.append_message(draft(1))).unwrap();
    assert!(block_on(send(&world, draft(2))).unwrap().delayed);
    let events = received(&world);
    for user in [ADA, CLEO] {
        let messages = names(&events, user).into_iter().filter(|name| *name == "message.new");
        assert_eq!(messages.count(), 2, "{user}");
    }
    assert_eq!(failed(&world.telemetry), 1);
}

#[test]
fn a_cached_last_message_of_another_type_stops_no_member() {
    let world = connected();
    world.store.overwrite(Key::last_message(CONVERSATION));
    assert!(block_on(send(&world, draft(1))).unwrap().delayed);
    let events = received(&world);
    for user in [ADA, BEN, CLEO] {
        assert_eq!(names(&events, user), ["message.new"], "{user}");
    }
    assert_eq!((failed(&world.telemetry), is_anything_pending(&world)), (1, true));
}

/// All members share the key.
#[test]
fn a_cached_last_message_of_another_type_is_answered_from_the_records() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    let key = Key::last_message(CONVERSATION);
    world.store.overwrite(key.clone());
    let stored = world.store.entry(&key);
    let page = ConversationQuery::Page { cursor: None, limit: 10 };
    let listed = block_on(inbox(&world, BEN, page)).unwrap();
    let synced = block_on(sync(&world, BEN, None)).unwrap();
    for answer in [listed, synced] {
        let shown = answer.value.conversations.iter().map(|entry| (entry.last_message.as_ref(), entry.unread));
        let shown: Vec<_> = shown.map(|(message, unread)| (message.unwrap().content.as_str(), unread)).collect();
        assert_eq!((shown, answer.source), (vec![("message 1", 1)], Source::Store));
    }
    assert_eq!(block_on(last_message::get(&world, CLEO, CONVERSATION)).unwrap().value.content, "message 1");
    assert_eq!(world.telemetry.series("cache{cache=last_message,outcome=unreadable}"), 3);
    assert_eq!(world.store.entry(&key), stored, "nothing is cached");
}

#[test]
fn a_reader_gets_no_error_because_of_the_feed_of_another_member() {
    let world = connected();
    block_on(send(&world, draft(1))).unwrap();
    received(&world);
    let broken = world.with_store(BrokenFeed { store: Arc::clone(&world.store), user: BEN });
    let reply = block_on(mark_read(&broken, CLEO, CONVERSATION, None)).unwrap().value;
    assert_eq!((reply.unread, reply.total, reply.up_to), (0, 0, Seq(1)));
    let events = received(&world);
    assert_eq!((names(&events, ADA), names(&events, CLEO)), (vec!["message.read_update"], vec!["unread.update"]));
    assert_eq!(failed(&world.telemetry), 1);

    world.clock.advance(PENDING_AFTER_MS + 1);
    assert_eq!(block_on(recover(&broken)), Ok(0), "the reason is still there");
    let tried = block_on(world.pending(PendingQuery::tried(Timestamp(u64::MAX)))).unwrap().items;
    let ids: Vec<PendingId> = tried.iter().map(|item| PendingId::from(&item.pending)).collect();
    assert_eq!(ids, [PendingId::Member(CONVERSATION, CLEO)]);
    received(&world);
    world.clock.advance(RECOVERY_RETRY_MS_MAX);
    assert_eq!(block_on(retry(&world)), Ok(1));
    assert_eq!(names(&received(&world), BEN), ["message.read_update"]);
}
