//! The use cases on the fake world: no host, no component, and a clock that a test moves.

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::port::{
    Clock, Draft, Feeds, KeyValue, Mutation, NewConversation, Outcome, Records, RecordsError, Transaction,
};
use roost_core::testing::{FakeWorld, block_on};

use crate::rules::{Fields, Reaction, change, key};
use crate::use_cases::{add, allow, list, remove};

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const EVE: UserId = UserId::from_u128(3);
const DAY_MS: u64 = 86_400_000;

/// A world with a message from Ann to Bob. Both are followed, so that their feeds keep durable events.
fn world() -> (FakeWorld, ConversationId, MessageId) {
    let world = FakeWorld::new();
    let new = NewConversation { id: None, creator: ANN, members: vec![BOB], at: world.now() };
    let conversation = block_on(world.create_conversation(new)).unwrap().conversation.id;
    let (kind, content) = ("text".to_owned(), "Lunch?".to_owned());
    let draft = Draft { conversation, sender: ANN, id: None, kind, content, at: world.now() };
    let message = block_on(world.append_message(draft)).unwrap().change.message.id;
    block_on(world.follow(&[ANN, BOB])).unwrap();
    (world, conversation, message)
}

fn reaction(user: UserId, (conversation, message): (ConversationId, MessageId), name: &str) -> Reaction {
    Reaction { conversation, message, user, name: name.to_owned() }
}

#[test]
fn a_reaction_counts_once_for_each_member_and_every_member_is_notified() {
    let (world, conversation, message) = world();
    let at = (conversation, message);
    block_on(add(&world, &reaction(ANN, at, "👍"))).unwrap();
    world.store.take_published();
    let summary = block_on(add(&world, &reaction(BOB, at, "👍"))).unwrap();
    assert_eq!((summary.counts["👍"], summary.mine.len()), (2, 1));
    let published = world.store.take_published();
    assert_eq!(published.iter().map(|(user, _)| *user).collect::<Vec<_>>(), [ANN, BOB]);
    let expected = format!(
        r#"{{"conversation":"{conversation}","message":"{message}","user":"{BOB}","reaction":"👍","added":true,"count":2,"change":2}}"#
    );
    assert!(published.iter().all(|(_, event)| *event.payload == *expected && event.position.is_some()));

    let again = block_on(add(&world, &reaction(BOB, at, "👍"))).unwrap();
    assert_eq!(again, summary, "the repetition of a request changes nothing");
    assert!(world.store.take_published().is_empty(), "and notifies nobody");
}

#[test]
fn the_change_and_its_event_are_one_step() {
    let (world, conversation, message) = world();
    block_on(add(&world, &reaction(BOB, (conversation, message), "👍"))).unwrap();
    let calls = world.store.take_calls();
    assert_eq!((calls.commits, calls.publishes), (1, 0));
    assert_eq!(world.store.take_published().len(), 2);
}

#[test]
fn a_change_of_an_older_hash_is_refused_and_notifies_nobody() {
    let (world, conversation, message) = world();
    let commit_on_empty_hash = |user| {
        let reaction = reaction(user, (conversation, message), "👍");
        let decision = change(&reaction, true, &Fields::new(), &[ANN, BOB]).unwrap();
        block_on(world.commit(vec![decision.transaction])).unwrap()
    };
    assert_eq!(commit_on_empty_hash(ANN), [Outcome::Committed(vec![1, 1, 1])]);
    assert_eq!(world.store.take_published().len(), 2);
    assert_eq!(commit_on_empty_hash(BOB), [Outcome::Refused(0)]);
    assert!(world.store.take_published().is_empty());
    let read_again = block_on(add(&world, &reaction(BOB, (conversation, message), "👍"))).unwrap();
    assert_eq!(read_again.counts["👍"], 2);
}

#[test]
fn a_reaction_is_taken_back_once() {
    let (world, conversation, message) = world();
    let thumb = reaction(BOB, (conversation, message), "👍");
    block_on(add(&world, &thumb)).unwrap();
    for _ in 0..2 {
        let summary = block_on(remove(&world, &thumb)).unwrap();
        assert!(summary.counts.is_empty() && summary.mine.is_empty(), "{summary:?}");
    }
}

#[test]
fn only_members_react_and_only_to_messages_that_they_see() {
    let (world, conversation, message) = world();
    let stranger = block_on(add(&world, &reaction(EVE, (conversation, message), "👍")));
    assert_eq!(stranger, Err(RecordsError::NotAMember.into()));
    let unknown = block_on(add(&world, &reaction(BOB, (conversation, MessageId::from_u128(9)), "👍")));
    assert!(matches!(unknown, Err(Error::Records(RecordsError::NotFound(_)))), "{unknown:?}");
    block_on(world.delete_message(conversation, message, Some(ANN), world.now())).unwrap();
    let deleted = block_on(list(&world, BOB, conversation, message));
    assert!(matches!(deleted, Err(Error::Records(RecordsError::NotFound(_)))), "{deleted:?}");
}

#[test]
fn a_block_between_two_members_stops_reactions() {
    let (world, conversation, message) = world();
    block_on(world.block(ANN, BOB)).unwrap();
    let blocked = block_on(add(&world, &reaction(BOB, (conversation, message), "👍")));
    assert_eq!(blocked, Err(RecordsError::Blocked.into()));
    assert!(world.store.published().is_empty());
}

#[test]
fn a_backend_chooses_what_a_conversation_allows() {
    let (world, conversation, message) = world();
    let cat = reaction(BOB, (conversation, message), "🐈");
    let refused = block_on(add(&world, &cat));
    assert_eq!(refused, Err(Error::Invalid("this conversation allows only 👍 ❤️ 😂 😮 😢".into())));
    block_on(allow(&world, conversation, vec!["🐈".to_owned()])).unwrap();
    assert_eq!(block_on(add(&world, &cat)).unwrap().counts["🐈"], 1);
    for bad in [vec![], vec!["👍".to_owned(); 21], vec![" ".to_owned()], vec!["x".repeat(33)]] {
        let refused = block_on(allow(&world, conversation, bad.clone()));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{bad:?}: {refused:?}");
    }
}

#[test]
fn a_message_has_a_bounded_number_of_reactions() {
    let (world, conversation, message) = world();
    let hash = key(conversation, message);
    let full =
        Mutation::SetFields(hash.clone(), vec![("all".into(), "1000".into()), ("changes".into(), "1000".into())]);
    block_on(world.commit(vec![Transaction::new(hash.owner).mutate(full)])).unwrap();
    let one_more = block_on(add(&world, &reaction(BOB, (conversation, message), "👍")));
    let expected = "a message has at most 1000 reactions; take one back first";
    assert_eq!(one_more, Err(Error::Invalid(expected.into())));
}

#[test]
fn reactions_are_forgotten_thirty_days_after_the_last_one() {
    let (world, conversation, message) = world();
    block_on(add(&world, &reaction(BOB, (conversation, message), "👍"))).unwrap();
    world.clock.advance(29 * DAY_MS);
    block_on(add(&world, &reaction(ANN, (conversation, message), "👍"))).unwrap();
    world.clock.advance(29 * DAY_MS);
    assert_eq!(block_on(list(&world, BOB, conversation, message)).unwrap().counts["👍"], 2);
    world.clock.advance(2 * DAY_MS);
    assert!(block_on(list(&world, BOB, conversation, message)).unwrap().counts.is_empty());
}
