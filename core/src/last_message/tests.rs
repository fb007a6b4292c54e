//! The form of a cached last message, and how missing entries are completed.

use super::rules::{FILLING, VERSION, placeholder};
use super::*;
use crate::error::Error;
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::key::{Key, Owner};
use crate::limits::LAST_MESSAGE_TTL_MS;
use crate::port::{
    Check, Draft, KeyValue, LastMessage, Message, Mutation, NewConversation, Records, Transaction, Value,
};
use crate::source::Source;
use crate::store_calls::{GroupAnswer, read_each};
use crate::testing::{Calls, FakeWorld, block_on};
use crate::time::Timestamp;

const USER: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(7);

fn message() -> Message {
    Message {
        id: MessageId::from_u128(1),
        conversation: CONVERSATION,
        seq: Seq(4),
        sender: USER,
        kind: "text".into(),
        content: "dinner at \"eight\"?\n".into(),
        created_at: Timestamp(1_790_000_000_123),
        edited_at: Some(Timestamp(1_790_000_009_000)),
        deleted: false,
    }
}

fn cached_fields(last: &LastMessage) -> Vec<(String, String)> {
    let fields = put(last).mutations.into_iter().find_map(|mutation| match mutation {
        Mutation::SetFields(_, fields) => Some(fields),
        _ => None,
    });
    fields.unwrap().into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn a_message_survives_the_cache() {
    for message in [Some(message()), Some(Message { edited_at: None, ..message() }), None] {
        let last = LastMessage { conversation: CONVERSATION, version: Seq(6), message };
        assert_eq!(parse(CONVERSATION, &cached_fields(&last)), Some(last));
    }
}

#[test]
fn an_entry_that_cannot_be_parsed_counts_as_missing() {
    let fields =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    assert_eq!(parse(CONVERSATION, &[]), None);
    assert_eq!(parse(CONVERSATION, &fields(&[(FILLING, "1")])), None, "a placeholder");
    assert_eq!(parse(CONVERSATION, &fields(&[(VERSION, "x")])), None);
    assert_eq!(parse(CONVERSATION, &fields(&[(VERSION, "3"), ("id", "nobody")])), None);
}

#[test]
fn only_an_older_version_is_replaced_and_the_entry_expires() {
    let key = Key::last_message(CONVERSATION);
    let transaction = put(&LastMessage { conversation: CONVERSATION, version: Seq(6), message: None });
    assert_eq!(transaction.owner, Owner::Conversation(CONVERSATION));
    assert_eq!(transaction.checks, [Check::FieldBelow(key.clone(), VERSION.into(), 6)]);
    assert_eq!(transaction.mutations.first(), Some(&Mutation::Delete(key.clone())), "no field of the old one stays");
    assert_eq!(transaction.mutations.last(), Some(&Mutation::Expire(key.clone(), LAST_MESSAGE_TTL_MS)));
    assert_eq!(placeholder(CONVERSATION).checks, [Check::Absent(key)]);
}

/// A world with `count` conversations of one message each, numbered from 1; the message has the number of its
/// conversation.
fn world(count: u128) -> (FakeWorld, Vec<ConversationId>) {
    let world = FakeWorld::new();
    let ids: Vec<ConversationId> = (1..=count).map(ConversationId::from_u128).collect();
    for (number, id) in (1..).zip(&ids) {
        let new = NewConversation { id: Some(*id), creator: USER, members: vec![], at: Timestamp(1) };
        block_on(world.create_conversation(new)).unwrap();
        let draft = Draft {
            conversation: *id,
            sender: USER,
            id: Some(MessageId::from_u128(number)),
            kind: "text".into(),
            content: format!("message {number}"),
            at: Timestamp(2),
        };
        block_on(world.append_message(draft)).unwrap();
    }
    (world, ids)
}

fn values(world: &FakeWorld, ids: &[ConversationId]) -> Vec<GroupAnswer> {
    block_on(read_each(world, ids.iter().map(|id| query(*id)).collect(), 1)).unwrap()
}

fn contents(found: Vec<LastMessage>) -> Vec<String> {
    found.into_iter().map(|last| last.message.unwrap().content).collect()
}

#[test]
fn missing_entries_are_filled_and_the_order_is_kept() {
    let (world, ids) = world(4);
    block_on(refresh(&world, vec![ids[1], ids[3]])).unwrap();
    let found = block_on(complete(&world, &ids, values(&world, &ids))).unwrap();
    assert_eq!(found.iter().map(|last| last.conversation).collect::<Vec<_>>(), ids);
    assert_eq!(contents(found), ["message 1", "message 2", "message 3", "message 4"]);
    let lookups = |outcome: &str| world.telemetry.series(&format!("cache{{cache=last_message,outcome={outcome}}}"));
    assert_eq!((lookups("hit"), lookups("miss")), (2, 2));
    world.store.take_calls();
    let found = block_on(complete(&world, &ids, values(&world, &ids))).unwrap();
    assert_eq!(contents(found), ["message 1", "message 2", "message 3", "message 4"]);
    assert_eq!(world.store.take_calls(), Calls { reads: 1, ..Calls::default() }, "everything is cached now");
    assert_eq!((lookups("hit"), lookups("miss")), (6, 2));
}

#[test]
fn an_outcome_without_lookups_is_not_counted() {
    let (world, ids) = world(1);
    block_on(get(&world, USER, ids[0])).unwrap();
    let series: Vec<String> = world.telemetry.all().into_keys().collect();
    assert_eq!(series, ["cache{cache=last_message,outcome=miss}"]);
}

#[test]
fn a_conversation_without_messages_is_not_cached() {
    let (world, _) = world(0);
    let new = NewConversation { id: Some(CONVERSATION), creator: USER, members: vec![], at: Timestamp(1) };
    block_on(world.create_conversation(new)).unwrap();
    assert_eq!(block_on(get(&world, USER, CONVERSATION)), Err(Error::NoMessage));
    let stored = values(&world, &[CONVERSATION]).remove(0);
    let filling = Value::Fields(vec![(FILLING.into(), "1".into())]);
    assert_eq!(stored, Ok(vec![filling]), "only the placeholder, for seconds");
}

#[test]
fn a_renewed_entry_holds_the_state_of_the_records() {
    let (world, ids) = world(1);
    block_on(refresh(&world, ids.clone())).unwrap();
    let key = Key::last_message(ids[0]);
    let wrong = Mutation::SetFields(key, vec![(VERSION.into(), "40".into()), ("content".into(), "wrong".into())]);
    block_on(world.commit(vec![Transaction::new(Owner::Conversation(ids[0])).mutate(wrong)])).unwrap();
    block_on(refresh(&world, ids.clone())).unwrap();
    let cached = |world: &FakeWorld| contents(block_on(complete(world, &ids, values(world, &ids))).unwrap());
    assert_eq!(cached(&world), ["wrong"], "a lower version replaces nothing");
    block_on(renew(&world, ids[0])).unwrap();
    assert_eq!(cached(&world), ["message 1"]);
}

#[test]
fn an_entry_of_another_type_is_answered_from_the_records_and_not_cached() {
    let (world, ids) = world(2);
    let key = Key::last_message(ids[0]);
    world.store.overwrite(key.clone());
    let stored = world.store.entry(&key);
    let last = block_on(get(&world, USER, ids[0])).unwrap();
    assert_eq!((last.value.content.as_str(), last.source), ("message 1", Source::Store));
    let both = block_on(complete(&world, &ids, values(&world, &ids))).unwrap();
    assert_eq!(contents(both), ["message 1", "message 2"]);
    let another = block_on(complete(&world, &ids[..1], vec![Ok(vec![Value::Counter(1)])])).unwrap();
    assert_eq!(contents(another), ["message 1"]);
    let lookups = |outcome: &str| world.telemetry.series(&format!("cache{{cache=last_message,outcome={outcome}}}"));
    assert_eq!((lookups("unreadable"), lookups("miss"), lookups("hit")), (3, 1, 0));
    assert_eq!(world.store.entry(&key), stored);
    assert_eq!(block_on(refresh(&world, ids)).map_err(|error| error.code()), Err("internal"));
}
