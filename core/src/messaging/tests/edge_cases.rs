//! Members who need a snapshot, and limits: what each costs and what each answers.

use super::*;
use crate::key::Owner;
use crate::limits::{LIST_MAX, MEMBERS_MAX};
use crate::port::{ConversationQuery, Mutation, Operation, Transaction};

fn write(world: &FakeWorld, user: UserId, mutation: Mutation) {
    block_on(world.commit(vec![Transaction::new(Owner::User(user)).mutate(mutation)])).unwrap();
}

fn cached_world() -> FakeWorld {
    let world = world();
    for user in [ADA, BEN, CLEO] {
        block_on(unread::totals(&world, user)).unwrap();
    }
    world
}

/// The number of commits that sending a message takes.
fn commits_of_send(world: &FakeWorld, number: u128) -> u64 {
    world.store.take_calls();
    assert!(!block_on(send(world, draft(number))).unwrap().delayed);
    world.store.take_calls().commits
}

#[test]
fn a_send_to_an_uncached_member_refreshes_the_last_message() {
    let world = cached_world();
    assert_eq!(commits_of_send(&world, 1), 1);
    block_on(unread::forget(&world, BEN)).unwrap();
    // Announce, lease, fill, placeholder and last message.
    assert_eq!(commits_of_send(&world, 2), 5);
}

#[test]
fn a_member_without_a_counter_is_tried_once_more_and_then_reconciled() {
    let world = cached_world();
    world.store.evict(&Key::unread_conversation(BEN, CONVERSATION));
    // Announce twice, reconcile, placeholder and last message.
    assert_eq!(commits_of_send(&world, 1), 5);
    assert_counters_equal_records(&world, &world.records);
}

#[test]
fn a_repeated_announcement_refreshes_the_last_message() {
    let world = cached_world();
    let changed = block_on(world.append_message(draft(1))).unwrap();
    assert!(!block_on(announce_or_delay(&world, &changed)));
    world.store.take_calls();
    assert!(!block_on(announce_or_delay(&world, &changed)));
    // Announce, placeholder and last message.
    assert_eq!(world.store.take_calls().commits, 3);
}

#[test]
fn an_announcement_behind_a_crashed_sender_refreshes_the_last_message() {
    let world = cached_world();
    block_on(world.append_message(draft(1))).unwrap();
    // Announce, reconcile, placeholder and last message.
    assert_eq!(commits_of_send(&world, 2), 4);
}

#[test]
fn a_conversation_has_at_most_1000_members() {
    let create_with = |count: usize| {
        let members = (0x1000..).take(count).map(UserId::from_u128).collect();
        let new = NewConversation { id: None, members, ..group(&[]) };
        block_on(create(&FakeWorld::new(), new)).map(|created| created.conversation.member_count)
    };
    assert_eq!(create_with(MEMBERS_MAX - 1), Ok(MEMBERS_MAX as u64), "the creator is a member too");
    assert_eq!(create_with(MEMBERS_MAX + 1).unwrap_err().to_string(), create_error());
}

fn create_error() -> String {
    let text = format!("{} members of a conversation, at most {MEMBERS_MAX} are allowed", MEMBERS_MAX + 2);
    Error::from(crate::port::RecordsError::TooLarge(text)).to_string()
}

#[test]
fn an_inbox_is_asked_for_at_most_500_conversations() {
    let world = world();
    let named = |count: u128| {
        ConversationQuery::Named((0x1000..).take(count as usize).map(ConversationId::from_u128).collect())
    };
    let most = LIST_MAX as u128;
    assert_eq!(block_on(inbox(&world, BEN, named(most))).unwrap().value.conversations, []);
    let error = block_on(inbox(&world, BEN, named(most + 1))).unwrap_err();
    assert!(error.to_string().ends_with("at most 500 conversations at a time, not 501"), "{error}");
}

/// Nobody is notified of the conversations that the first fill of a user finds.
#[test]
fn a_conversation_that_is_created_while_an_uncached_user_asks_for_the_first_page_is_on_it() {
    let world = world();
    let created = ConversationId::from_u128(0x88);
    let new = NewConversation { id: Some(created), ..group(&[ADA, BEN]) };
    let asked = world.changed_after((Operation::Conversations, 1), move |records| {
        block_on(records.create_conversation(new)).unwrap();
    });
    let page = block_on(inbox(&asked, BEN, ConversationQuery::Page { cursor: None, limit: 10 })).unwrap().value;
    let ids: Vec<ConversationId> = page.conversations.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [created, CONVERSATION]);
    assert_eq!(event_names(&world, BEN), [""; 0]);
}

#[test]
fn an_inbox_shows_no_message_from_before_joining() {
    let world = FakeWorld::new();
    block_on(create(&world, group(&[ADA, BEN]))).unwrap();
    block_on(send(&world, draft(1))).unwrap();
    let change = MemberChange { conversation: CONVERSATION, actor: Some(ADA), user: CLEO, at: Timestamp(2_000) };
    block_on(add_member(&world, change)).unwrap();
    let last = |user| {
        let page = block_on(inbox(&world, user, ConversationQuery::Named(vec![CONVERSATION]))).unwrap().value;
        page.conversations[0].last_message.as_ref().map(|message| message.content.clone())
    };
    assert_eq!((last(BEN).as_deref(), last(CLEO)), (Some("message 1"), None));
    block_on(send(&world, draft(2))).unwrap();
    assert_eq!((last(BEN).as_deref(), last(CLEO).as_deref()), (Some("message 2"), Some("message 2")));
}

#[test]
fn a_read_position_that_moved_without_an_announcement_is_announced_by_the_next_read() {
    let world = cached_world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(world.records.mark_read(BEN, CONVERSATION, None)).unwrap();
    world.store.take_published();
    block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap();
    assert_eq!(event_names(&world, ADA), ["message.read_update"]);
    assert_eq!(event_names(&world, BEN), ["unread.update"]);
    world.store.take_published();
    block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap();
    assert!(world.store.take_published().is_empty(), "nothing moved");
}

#[test]
fn a_reader_waits_for_the_caller_that_fills_the_counters() {
    let world = cached_world();
    block_on(send(&world, draft(1))).unwrap();
    block_on(unread::forget(&world, BEN)).unwrap();
    write(&world, BEN, Mutation::Set(Key::of_user(Space::UnreadLease, BEN), b"another".to_vec(), Some(100)));
    let reply = block_on(mark_read(&world, BEN, CONVERSATION, None)).unwrap().value;
    assert_eq!((reply.unread, reply.total), (0, 0));
}
