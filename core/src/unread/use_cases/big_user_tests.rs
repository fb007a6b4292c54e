//! A user with as many conversations as are allowed: filling, reading, forgetting and checking the counters, a caller
//! that stops in the middle, and records that are slow.

use super::fill::{FillOutcome, fill};
use super::*;
use crate::consistency::{self, Subjects};
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{CONVERSATIONS_MAX, COUNTERS_MAX, FILL_CHUNK, LEASE_TTL_MS, RECOVERY_MS_MAX};
use crate::messaging;
use crate::port::*;
use crate::testing::{FakeRecords, FakeWorld, ManualClock, TestWorld, block_on};
use crate::unread::rules;

const USER: UserId = UserId::from_u128(1);
const OTHER: UserId = UserId::from_u128(2);

fn id(number: usize) -> ConversationId {
    ConversationId::from_u128(number as u128)
}

fn create(records: &FakeRecords, number: usize) -> Answer<Created> {
    let at = ManualClock::START;
    block_on(records.create_conversation(NewConversation {
        id: Some(id(number)),
        creator: OTHER,
        members: vec![USER],
        at,
    }))
}

fn draft(world: &FakeWorld, number: usize) -> Draft {
    Draft {
        conversation: id(number),
        sender: OTHER,
        id: None,
        kind: "text".into(),
        content: "hello".into(),
        at: world.now(),
    }
}

fn send(world: &FakeWorld, number: usize) {
    block_on(messaging::send(world, draft(world, number))).unwrap();
}

fn world(conversations: usize) -> FakeWorld {
    let world = FakeWorld::new();
    for number in 1..=conversations {
        create(&world.records, number).unwrap();
    }
    world
}

fn total(world: &FakeWorld) -> u64 {
    block_on(totals(world, USER)).unwrap().value.total
}

#[test]
fn the_20001st_conversation_is_refused_until_one_is_left() {
    let world = world(CONVERSATIONS_MAX);
    let refused = create(&world.records, CONVERSATIONS_MAX + 1).unwrap_err();
    assert_eq!(Error::from(refused).code(), "too_many_conversations");
    let change = |user| MemberChange { conversation: id(7), actor: None, user, at: ManualClock::START };
    for user in [USER, OTHER] {
        block_on(world.remove_member(change(user))).unwrap();
    }
    create(&world.records, CONVERSATIONS_MAX + 1).unwrap();
    let refused = block_on(world.add_member(change(USER)));
    assert!(matches!(refused, Err(RecordsError::TooManyConversations(_))), "{refused:?}");
}

#[test]
fn a_user_with_20000_conversations_is_filled_read_forgotten_and_checked() {
    let world = world(CONVERSATIONS_MAX);
    for number in (1..=CONVERSATIONS_MAX).step_by(1_000) {
        send(&world, number);
    }
    assert_eq!(total(&world), 20);
    block_on(totals(&world, OTHER)).unwrap();
    assert_eq!(block_on(totals(&world, OTHER)).unwrap().value.total, 0);
    assert_eq!(block_on(totals(&world, USER)).unwrap().value.conversations.len(), CONVERSATIONS_MAX);
    world.store.take_calls();
    send(&world, 1);
    assert_eq!(world.store.take_calls().commits, 1, "whoever writes to the user notices nothing");
    let subjects = Subjects::Users(vec![OTHER, USER]);
    let report = block_on(consistency::verify(&world, &subjects)).unwrap();
    assert_eq!((report.users, report.divergences.len(), report.inconclusive.len()), (2, 0, 0));
    block_on(forget(&world, USER)).unwrap();
    let of_user = |space| world.store.entries().keys().filter(|key| key.space == space).count();
    let counters = of_user(Space::UnreadConversation);
    assert_eq!(counters, CONVERSATIONS_MAX, "only the other user's are left");
    assert_eq!((of_user(Space::UnreadTotal), of_user(Space::UnreadLease)), (1, 0));
    assert_eq!(total(&world), 21);
    world.store.evict(&Key::unread_conversation(USER, id(1)));
    let report = block_on(consistency::repair(&world, &subjects)).unwrap();
    assert!(!report.divergences.is_empty() && report.divergences.iter().all(|finding| finding.repaired));
    assert_eq!(total(&world), 21);
}

#[test]
fn a_message_to_a_follower_with_20000_conversations_and_no_counters_is_announced_by_its_sender() {
    let world = world(CONVERSATIONS_MAX);
    total(&world);
    block_on(world.follow(&[USER])).unwrap();
    block_on(forget(&world, USER)).unwrap();
    world.store.take_published();
    let began = world.now();
    let sent = block_on(messaging::send(&world, draft(&world, 7))).unwrap();
    assert!(!sent.delayed, "nothing is left to recovery");
    assert!(world.now() < began.plus(RECOVERY_MS_MAX), "the sender's call does not wait for most of its time");
    let published = world.store.take_published();
    let names: Vec<_> = published.iter().map(|(user, event)| (*user, event.name.to_string())).collect();
    assert_eq!(names, [(USER, "message.new".to_owned())]);
    assert!(world.store.entry(&Key::of_user(Space::UnreadTotal, USER)).is_some(), "the sender has filled them");
    assert_eq!(total(&world), 1);
}

/// As if the host had stopped after the first chunk.
#[test]
fn a_caller_that_stops_in_the_middle_leaves_an_uncached_user_whom_the_next_one_fills() {
    let world = world(3 * FILL_CHUNK);
    total(&world);
    block_on(forget(&world, USER)).unwrap();
    // Stored and not announced: whoever fills the counters publishes it, once.
    for number in [1, 3 * FILL_CHUNK] {
        block_on(world.append_message(draft(&world, number))).unwrap();
    }
    world.store.take_published();
    let counters = world.records.counters_of(USER).into_values().collect::<Vec<_>>();
    let value = block_on(world.read(vec![Query::Fields(Key::of_user(Space::UnreadSequence, USER))])).unwrap();
    let positions = crate::store_answers::positions(value.into_iter().next()).unwrap();
    let behind = counters.iter().map(|counter| MemberSnapshot {
        user: USER,
        position: positions.get(&counter.conversation).copied(),
        counter: *counter,
        is_added: false,
    });
    let changes = block_on(missed_events(&world, behind.collect())).unwrap();
    let stored = |(id, seq)| (id, rules::StoredPosition { seq, read: Some(Seq::ZERO) });
    let mut fill = rules::Fill::new(USER, b"crashed", positions.into_iter().map(stored).collect());
    let chunks = fill.write(&counters[..FILL_CHUNK], &changes);
    let steps = [vec![rules::take_lease(USER, b"crashed")], chunks].concat();
    for outcome in block_on(world.commit(steps)).unwrap() {
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    assert_eq!(world.store.entry(&Key::of_user(Space::UnreadTotal, USER)), None);
    assert_eq!(total(&world), 2, "after the lease has expired");
    let events: Vec<_> = world.store.published().into_iter().filter(|(user, _)| *user == USER).collect();
    assert_eq!(events.len(), 2, "{events:?}");
}

/// The new conversation is the first one, so that it is shown while the counters of the last page are not known yet.
#[test]
fn what_changes_while_a_conversation_is_shown_is_published_whatever_page_of_the_counters_has_it() {
    let world = FakeWorld::new();
    for number in 2..COUNTERS_MAX + 4 {
        create(&world.records, number).unwrap();
    }
    total(&world);
    block_on(forget(&world, USER)).unwrap();
    create(&world.records, 1).unwrap();
    world.store.take_published();
    let change = MemberChange { conversation: id(1), actor: None, user: UserId::from_u128(3), at: world.now() };
    let asked = world.changed_after((Operation::Conversations, 1), move |records| {
        block_on(records.add_member(change)).unwrap();
    });
    block_on(totals(&asked, USER)).unwrap();
    let names: Vec<_> = world.store.take_published().into_iter().map(|(_, event)| event.name.to_string()).collect();
    assert_eq!(names, ["conversation.added", "conversation.members", "message.read_update"]);
}

/// Records whose every answer takes the same time.
struct SlowRecords {
    records: FakeRecords,
    clock: ManualClock,
    answer_ms: u64,
}

macro_rules! delay {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for SlowRecords {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                let answer = self.records.$method($($argument),*).await;
                self.clock.advance(self.answer_ms);
                answer
            })*
        }
    };
}

crate::records_operations!(delay);

fn with_slow_records(world: &FakeWorld, answer_ms: u64) -> TestWorld<crate::testing::FakeStore, SlowRecords> {
    world.with_records(SlowRecords { records: (*world.records).clone(), clock: world.clock.clone(), answer_ms })
}

#[test]
fn slow_records_fill_the_counters_as_long_as_each_answer_comes_within_the_lease() {
    for (answer_ms, filled) in [(1_500, true), (LEASE_TTL_MS - 1, true), (LEASE_TTL_MS, false)] {
        let world = world(10);
        let draft = Draft {
            conversation: id(1),
            sender: OTHER,
            id: None,
            kind: "text".into(),
            content: "hello".into(),
            at: world.now(),
        };
        block_on(world.records.append_message(draft)).unwrap();
        let slow = with_slow_records(&world, answer_ms);
        let outcome = block_on(fill(&slow, &[USER])).unwrap();
        assert_eq!((outcome.filled.is_empty(), outcome.waiting.is_empty()), (!filled, filled), "{answer_ms} ms");
        let total = world.store.entry(&Key::of_user(Space::UnreadTotal, USER));
        assert_eq!(total.is_some(), filled, "{answer_ms} ms");
    }
}

#[test]
fn one_user_who_cannot_be_filled_does_not_stop_the_others() {
    let world = world(2);
    world.store.overwrite(Key::of_user(Space::UnreadSequence, USER));
    let FillOutcome { filled, waiting, failure } = block_on(fill(&world, &[USER, OTHER])).unwrap();
    assert_eq!((filled, waiting), (vec![OTHER], vec![]));
    assert_eq!(failure.report().unwrap_err().code(), "internal");
    assert_eq!(world.store.entry(&Key::of_user(Space::UnreadTotal, USER)), None);
    assert!(world.store.entry(&Key::of_user(Space::UnreadTotal, OTHER)).is_some());
    assert_eq!(world.store.entry(&Key::of_user(Space::UnreadLease, USER)), None, "the lease was given back");
}

#[test]
fn a_change_of_members_waits_while_the_counters_are_filled() {
    let world = world(2);
    let lease = Mutation::Set(Key::of_user(Space::UnreadLease, USER), b"another".to_vec(), Some(100));
    block_on(world.commit(vec![Transaction::new(Owner::User(USER)).mutate(lease)])).unwrap();
    block_on(world.follow(&[USER])).unwrap();
    let began = world.now();
    let target = vec![Target::latest(USER, id(1))];
    assert_eq!(block_on(reconcile(&world, target, Uncached::FillFollowed)), Ok(()));
    assert!(world.now() >= began.plus(100), "the lease has expired");
    assert!(world.store.entry(&Key::of_user(Space::UnreadTotal, USER)).is_some());
}

/// A field of the first user's positions is no number, and another caller holds the lease of the other user.
#[test]
fn a_user_who_cannot_be_filled_stops_nobody_from_waiting_for_another_caller() {
    let world = world(2);
    let positions = vec![(id(2).to_string().into(), "no number".into())];
    let broken = Mutation::SetFields(Key::of_user(Space::UnreadSequence, USER), positions);
    let lease = Mutation::Set(Key::of_user(Space::UnreadLease, OTHER), b"another".to_vec(), Some(100));
    let changes = [(USER, broken), (OTHER, lease)];
    let changes = changes.map(|(user, mutation)| Transaction::new(Owner::User(user)).mutate(mutation));
    block_on(world.commit(changes.into())).unwrap();
    block_on(world.follow(&[USER, OTHER])).unwrap();
    let targets = [USER, OTHER].map(|user| Target::repeated(user, id(1)));
    let failure = block_on(reconcile(&world, targets.into(), Uncached::FillFollowed)).unwrap_err();
    assert_eq!(failure.code(), "internal");
    let is_cached = |user| world.store.entry(&Key::of_user(Space::UnreadTotal, user)).is_some();
    assert_eq!([USER, OTHER].map(is_cached), [false, true]);
}
