//! The store is unavailable: the records answer what they can, messages are stored, and each use case calls the store
//! once.

use super::*;
use crate::port::{Clock, ConversationQuery};
use crate::presence::{self, Viewer};
use crate::source::Source;
use crate::testing::OutageStore;

type OutageWorld = TestWorld<OutageStore, FakeRecords>;

/// A world whose store can become unavailable, with three users who have exchanged messages and are cached.
pub(super) fn outage_world() -> OutageWorld {
    let world = OutageStore::world();
    block_on(create(&world, group(&[ADA, BEN, CLEO]))).unwrap();
    block_on(world.store.store.follow(&[ADA, BEN, CLEO])).unwrap();
    for number in 1..=3 {
        block_on(send(&world, draft_now(&world, number))).unwrap();
    }
    world
}

/// A message sent now.
pub(super) fn draft_now(world: &OutageWorld, number: u128) -> Draft {
    Draft { at: world.now(), ..draft(number) }
}

pub(super) fn events(world: &OutageWorld, user: UserId, name: &str) -> usize {
    let published = world.store.store.published().into_iter();
    published.filter(|(to, event)| *to == user && &*event.name == name).count()
}

#[test]
fn reads_are_answered_from_the_records_and_name_this_source() {
    let world = outage_world();
    let page = || ConversationQuery::Page { cursor: None, limit: 50 };
    let warm = block_on(inbox(&world, BEN, page())).unwrap();
    assert_eq!((block_on(unread::totals(&world, BEN)).unwrap().source, warm.source), (Source::Store, Source::Store));
    for refuse in [OutageStore::set_unavailable, OutageStore::refuse_writes] {
        refuse(&world.store);
        // A store that only refuses writes still answers for cached users, so the users are made uncached.
        world.store.store.wipe();
        let totals = block_on(unread::totals(&world, BEN)).unwrap();
        assert_eq!((totals.value.total, totals.source), (3, Source::Records));
        let one = block_on(unread::of_conversation(&world, BEN, CONVERSATION)).unwrap();
        assert_eq!((one.value, one.source), (3, Source::Records));
        let last = block_on(last_message::get(&world, BEN, CONVERSATION)).unwrap();
        assert_eq!((&*last.value.content, last.source), ("message 3", Source::Records));
        let inbox = block_on(inbox(&world, BEN, page())).unwrap();
        assert_eq!((&inbox.value, inbox.source), (&warm.value, Source::Records));
        assert_eq!(world.store.take_refused(), 4, "one attempt for each");
        let stranger = UserId::from_u128(99);
        assert_eq!(
            block_on(unread::of_conversation(&world, stranger, CONVERSATION)).unwrap_err().code(),
            "not_a_member"
        );
        world.store.take_refused();
        world.store.set_available();
    }
    assert_eq!(world.telemetry.series("degraded{what=unread}"), 4);
    assert_eq!(world.telemetry.series("degraded{what=inbox}"), 2);
    assert_eq!(world.telemetry.series("cache{cache=unread,outcome=away}"), 8);
}

#[test]
fn sent_edited_and_deleted_messages_are_stored_and_announced_later() {
    let world = outage_world();
    world.store.set_unavailable();
    let sent = block_on(send(&world, draft_now(&world, 4))).unwrap();
    assert_eq!((sent.message.seq, sent.delayed), (Seq(4), true));
    let better = Edit {
        conversation: CONVERSATION,
        message: sent.message.id,
        editor: ADA,
        content: "better".into(),
        at: world.now(),
    };
    assert!(block_on(edit(&world, better)).unwrap().delayed);
    assert!(block_on(delete(&world, Some(ADA), CONVERSATION, MessageId::from_u128(1))).unwrap().delayed);
    let last = block_on(last_message::get(&world, BEN, CONVERSATION)).unwrap().value;
    assert_eq!(last.content, "better");
    let group = NewConversation { id: None, ..group(&[ADA, BEN]) };
    let group = block_on(create(&world, group)).unwrap().conversation.id;
    let change = MemberChange { conversation: group, actor: Some(ADA), user: CLEO, at: world.now() };
    assert_eq!(block_on(add_member(&world, change)).unwrap(), [ADA, BEN, CLEO]);
    assert_eq!(block_on(remove_member(&world, change)).unwrap(), [ADA, BEN]);
    assert_eq!(world.store.take_refused(), 7, "one attempt for each");
    assert_eq!(world.telemetry.series("announcements{outcome=delayed}"), 6);

    world.store.set_available();
    assert!(!block_on(send(&world, draft_now(&world, 5))).unwrap().delayed);
    assert_eq!(events(&world, BEN, "message.new"), 5);
    assert_eq!((events(&world, BEN, "message.updated"), events(&world, BEN, "message.deleted")), (1, 1));
    world.clock.advance(60_000);
    block_on(recover(&world)).unwrap();
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_eq!(events(&world, BEN, "message.new"), 5);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn reading_moves_the_position_at_once_and_is_announced_later() {
    let world = outage_world();
    world.store.set_unavailable();
    let reply = block_on(mark_read(&world, BEN, CONVERSATION, Some(Seq(2)))).unwrap();
    assert_eq!((reply.value.unread, reply.value.total, reply.value.up_to), (1, 1, Seq(2)));
    assert_eq!((reply.source, world.store.take_refused()), (Source::Records, 1));
    let again = block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap();
    assert_eq!((again.value.unread, again.value.up_to), (0, Seq(3)));
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 0);
    let stranger = block_on(mark_read(&world, UserId::from_u128(99), CONVERSATION, None));
    assert_eq!(stranger.unwrap_err().code(), "not_a_member");

    world.store.set_available();
    world.clock.advance(60_000);
    assert_eq!(block_on(recover(&world)), Ok(1), "a member is one item, however often it moved");
    assert_eq!((events(&world, BEN, "unread.update"), events(&world, ADA, "message.read_update")), (1, 1));
    assert_eq!(block_on(recover(&world)), Ok(0));
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn requests_that_need_the_store_are_refused_with_a_retry_time() {
    let world = outage_world();
    world.store.set_unavailable();
    let refusals = [
        block_on(presence::query(&world, Viewer::Service, &[BEN])).map(|_| ()),
        block_on(presence::heartbeat(&world, &[(BEN, "phone".parse().unwrap())])),
        block_on(presence::disconnect(&world, BEN, &"phone".parse().unwrap())),
        block_on(crate::typing::typing(&world, BEN, CONVERSATION)),
        block_on(unread::forget(&world, BEN)),
    ];
    assert_eq!(world.store.take_refused(), refusals.len() as u64, "one attempt for each");
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert_eq!((error.code(), error.retry(), error.retry_after_ms()), ("store_unavailable", true, Some(100)));
    }
}

#[test]
fn a_long_message_to_many_gives_up_at_the_first_attempt() {
    let world = outage_world();
    let members: Vec<UserId> = (1..=1_000).map(UserId::from_u128).collect();
    let many = NewConversation { id: Some(ConversationId::from_u128(5)), ..group(&members[1..]) };
    block_on(create(&world, many)).unwrap();
    world.store.set_unavailable();
    let long = Draft {
        conversation: ConversationId::from_u128(5),
        content: "x".repeat(CONTENT_BYTES_MAX),
        ..draft_now(&world, 9)
    };
    assert!(block_on(send(&world, long)).unwrap().delayed);
    assert_eq!(world.store.take_refused(), 1);
}
