//! The rules of counting with plain values.

use super::missed_events::{EncodedChange, bounded_events};
use super::reconciliation::unchanged;
use super::*;
use crate::event::{self, UnreadUpdatePayload};
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{FEED_BYTES_MAX, FEED_EVENTS_MAX, FILL_CHUNK, LEASE_TTL_MS};
use crate::port::{Change, ChangeKind, Check, Conversation, Counter, Event, Message, Mutation, Text, Transaction};
use crate::stored_text::signed;
use crate::time::Timestamp;

const ADA: UserId = UserId::from_u128(1);
const BEN: UserId = UserId::from_u128(2);
const CONVERSATION: ConversationId = ConversationId::from_u128(9);

fn change(seq: u64, kind: ChangeKind, message_seq: u64) -> Change {
    let message = Message {
        id: MessageId::from_u128(u128::from(message_seq)),
        conversation: CONVERSATION,
        seq: Seq(message_seq),
        sender: ADA,
        kind: "text".into(),
        content: "hello".into(),
        created_at: Timestamp(1),
        edited_at: None,
        deleted: false,
    };
    Change { seq: Seq(seq), kind, message }
}

fn counter(count: u64, seq: u64, read: u64) -> Counter {
    Counter {
        conversation: CONVERSATION,
        count,
        seq: Seq(seq),
        joined: Seq::ZERO,
        read: Seq(read),
        announced: Seq(seq),
    }
}

fn state(total: i64, count: i64, seq: u64, read: u64) -> CounterState {
    CounterState { total: Some(total), seq: Some(Seq(seq)), read: Some(Seq(read)), count: Some(count) }
}

fn encoded(changes: &[Change]) -> MissedEvents {
    let changes = changes.iter().map(EncodedChange::from).collect();
    MissedEvents { changes: [(CONVERSATION, changes)].into(), ..MissedEvents::default() }
}

/// Reconciles Ben's state with a snapshot that differs.
fn apply(stored: &CounterState, snapshot: Option<&Counter>, changes: &MissedEvents) -> Transaction {
    match reconcile(BEN, CONVERSATION, stored, snapshot, changes) {
        Reconciliation::Apply(transaction) => transaction,
        other => panic!("expected a transaction, got {other:?}"),
    }
}

fn event_names(transaction: &Transaction) -> Vec<&str> {
    transaction.publications.iter().map(|event| &*event.name).collect()
}

/// The names of the events for Ben, who reconciles from `stored` to `counter`.
fn published(stored: &CounterState, counter: &Counter, changes: &MissedEvents) -> Vec<String> {
    event_names(&apply(stored, Some(counter), changes)).into_iter().map(str::to_owned).collect()
}

/// Adds the conversation as it is shown to whoever becomes a member.
fn added(missed: MissedEvents) -> MissedEvents {
    let conversation = Conversation {
        id: CONVERSATION,
        direct: false,
        members: vec![ADA, BEN],
        member_count: 2,
        reads: vec![Seq::ZERO; 2],
        read: Seq::ZERO,
        joined: Seq::ZERO,
        updated_at: Timestamp(1),
    };
    let added = AddedConversation { conversation, of_others: [].into(), last: None };
    MissedEvents { added: [(CONVERSATION, added)].into(), ..missed }
}

fn additions(transaction: &Transaction) -> usize {
    transaction.mutations.iter().filter(|mutation| matches!(mutation, Mutation::Add { .. })).count()
}

fn of_ben(space: Space) -> Key {
    Key::of_user(space, BEN)
}

#[test]
fn the_sender_receives_the_message_and_it_is_not_counted() {
    let sent = change(4, ChangeKind::Sent, 4);
    let event = event::change(&sent);
    let own = announce(&sent, event.as_ref(), ADA).unwrap();
    let other = announce(&sent, event.as_ref(), BEN).unwrap();
    assert_eq!((own.publications.len(), other.publications.len()), (1, 1));
    assert_eq!((additions(&own), additions(&other)), (0, 2));
    assert!(other.checks.contains(&Check::Present(of_ben(Space::UnreadTotal))));
    let owed = Check::PresentEither(of_ben(Space::UnreadTotal), Space::Followed);
    assert_eq!(other.checks.first(), Some(&owed), "its refusal tells that nothing is owed to the member");
}

#[test]
fn a_message_that_was_deleted_meanwhile_needs_a_snapshot() {
    let mut deleted = change(4, ChangeKind::Sent, 4);
    deleted.message.deleted = true;
    assert_eq!(announce(&deleted, event::change(&deleted).as_ref(), BEN), None);
}

#[test]
fn an_announcement_requires_that_the_change_before_was_announced() {
    let sent = change(4, ChangeKind::Sent, 4);
    let transaction = announce(&sent, None, BEN).unwrap();
    let before = Check::FieldEquals(of_ben(Space::UnreadSequence), Text::from(CONVERSATION), Some("3".into()));
    assert!(transaction.checks.contains(&before));
    assert_eq!(transaction.owner, Owner::User(BEN));
}

#[test]
fn only_a_new_message_is_announced_as_one() {
    for kind in [ChangeKind::Edited, ChangeKind::Deleted] {
        assert_eq!(announce(&change(4, kind, 2), None, BEN), None);
    }
}

#[test]
fn a_snapshot_below_the_stored_positions_is_stale() {
    let none = MissedEvents::default();
    let stored = state(3, 2, 7, 4);
    let reconciled = |snapshot| reconcile(BEN, CONVERSATION, &stored, Some(&snapshot), &none);
    assert_eq!(reconciled(counter(1, 6, 4)), Reconciliation::Stale);
    assert_eq!(reconciled(counter(1, 7, 3)), Reconciliation::Stale);
    assert_eq!(reconciled(counter(2, 7, 4)), Reconciliation::InAgreement);
    assert!(matches!(reconciled(counter(1, 7, 4)), Reconciliation::Apply(_)), "a wrong counter at equal positions");
}

#[test]
fn a_snapshot_changes_the_total_by_the_difference() {
    let total = of_ben(Space::UnreadTotal);
    let transaction = apply(&state(5, 3, 7, 4), Some(&counter(1, 7, 6)), &MissedEvents::default());
    assert!(transaction.mutations.contains(&Mutation::Add { key: total.clone(), delta: -2, floor: Some(0) }));
    let without_counter = CounterState { count: None, ..state(5, 0, 7, 4) };
    let transaction = apply(&without_counter, Some(&counter(4, 7, 6)), &MissedEvents::default());
    assert!(transaction.mutations.contains(&Mutation::Add { key: total, delta: 4, floor: Some(0) }));
}

#[test]
fn a_reconciliation_requires_the_state_that_was_read() {
    let field = Text::from(CONVERSATION);
    let unread = Key::unread_conversation(BEN, CONVERSATION);
    let position =
        |space, value: Option<&'static str>| Check::FieldEquals(of_ben(space), field.clone(), value.map(Into::into));
    let total = Check::Present(of_ben(Space::UnreadTotal));
    let known = unchanged(BEN, CONVERSATION, &state(5, 3, 7, 4));
    let equal = Check::Equals(unread.clone(), b"3".to_vec());
    let (seq, read) = (position(Space::UnreadSequence, Some("7")), position(Space::UnreadRead, Some("4")));
    assert_eq!(known.checks, [total.clone(), seq, read, equal]);
    let missing = CounterState { total: Some(5), ..CounterState::default() };
    let (seq, read) = (position(Space::UnreadSequence, None), position(Space::UnreadRead, None));
    assert_eq!(unchanged(BEN, CONVERSATION, &missing).checks, [total, seq, read, Check::Absent(unread)]);
}

#[test]
fn advancing_the_position_publishes_the_changes_between() {
    let known = encoded(&[
        change(6, ChangeKind::Sent, 6),
        change(7, ChangeKind::Sent, 7),
        change(8, ChangeKind::Edited, 6),
        change(9, ChangeKind::Sent, 9),
    ]);
    assert_eq!(published(&state(1, 1, 6, 0), &counter(2, 8, 0), &known), ["message.new", "message.updated"]);
    assert_eq!(published(&state(1, 1, 8, 0), &counter(2, 8, 0), &known), ["unread.update"], "the position stays");
}

#[test]
fn changes_that_do_not_reach_back_to_the_position_are_replaced_by_a_resync() {
    let from_six = encoded(&[change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)]);
    assert_eq!(published(&state(1, 1, 5, 0), &counter(3, 7, 0), &from_six), ["message.new", "message.new"]);
    assert_eq!(published(&state(1, 1, 4, 0), &counter(2, 7, 0), &from_six), ["resync"]);
    assert_eq!(published(&state(1, 1, 4, 0), &counter(2, 7, 0), &MissedEvents::default()), ["resync"]);
}

#[test]
fn without_a_position_only_unconfirmed_changes_since_joining_are_published() {
    let known = added(encoded(&[change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)]));
    let new = CounterState { total: Some(0), ..CounterState::default() };
    let unconfirmed = Counter { announced: Seq(6), ..counter(2, 7, 0) };
    assert_eq!(published(&new, &unconfirmed, &known), ["conversation.added", "message.new", "unread.update"]);
    let joined_late = Counter { joined: Seq(7), count: 0, read: Seq(7), ..unconfirmed };
    assert_eq!(published(&new, &joined_late, &known), ["conversation.added"]);
    assert_eq!(notified_up_to(None, &unconfirmed), Seq(6));
    assert_eq!(notified_up_to(None, &joined_late), Seq(7));
    assert_eq!(notified_up_to(Some(Seq(2)), &joined_late), Seq(2));
}

#[test]
fn changes_of_messages_from_before_joining_are_not_published() {
    let known = encoded(&[change(7, ChangeKind::Edited, 3), change(8, ChangeKind::Edited, 4)]);
    let member = Counter { joined: Seq(3), ..counter(0, 8, 6) };
    assert_eq!(published(&state(0, 0, 6, 6), &member, &known), ["message.updated"], "only that of message 4");
}

fn events(count: usize, bytes: usize) -> Vec<Event> {
    let event = Event { name: "n".into(), payload: "x".repeat(bytes - 1).into(), durable: true };
    vec![event; count]
}

#[test]
fn more_events_than_a_feed_keeps_are_replaced_by_a_resync() {
    assert_eq!(bounded_events(events(FEED_EVENTS_MAX, 2)).len(), FEED_EVENTS_MAX);
    assert_eq!(bounded_events(events(FEED_EVENTS_MAX + 1, 2)), [event::resync()]);
}

#[test]
fn more_bytes_than_the_limit_are_replaced_by_a_resync() {
    let half = FEED_BYTES_MAX / 2;
    assert_eq!(bounded_events(events(2, half)).len(), 2, "exactly the limit");
    assert_eq!(bounded_events(events(2, half + 1)), [event::resync()]);
    assert_eq!(bounded_events(Vec::new()), []);
}

#[test]
fn leaving_subtracts_the_conversation_from_the_total() {
    let transaction = apply(&state(5, 3, 7, 4), None, &MissedEvents::default());
    let total = of_ben(Space::UnreadTotal);
    assert!(transaction.mutations.contains(&Mutation::Add { key: total, delta: -3, floor: Some(0) }));
    let counter = Mutation::Delete(Key::unread_conversation(BEN, CONVERSATION));
    assert!(transaction.mutations.contains(&counter));
    assert_eq!(transaction.publications, [event::conversation_removed(CONVERSATION, 2)]);
    assert!(transaction.checks.contains(&Check::Equals(of_ben(Space::UnreadTotal), b"5".to_vec())));
}

#[test]
fn after_leaving_every_remainder_of_the_conversation_is_removed() {
    let nothing = CounterState { total: Some(5), ..CounterState::default() };
    let left = |stored: &CounterState| reconcile(BEN, CONVERSATION, stored, None, &MissedEvents::default());
    assert_eq!(left(&nothing), Reconciliation::InAgreement);
    for remainder in [
        CounterState { seq: Some(Seq(1)), ..nothing },
        CounterState { read: Some(Seq(1)), ..nothing },
        CounterState { count: Some(1), ..nothing },
    ] {
        assert!(matches!(left(&remainder), Reconciliation::Apply(_)), "{remainder:?}");
    }
}

fn filling(positions: &[(ConversationId, u64)]) -> Fill {
    let position = |seq| StoredPosition { seq: Seq(seq), read: Some(Seq(4)) };
    Fill::new(BEN, b"7", positions.iter().map(|(conversation, seq)| (*conversation, position(*seq))).collect())
}

#[test]
fn a_fill_writes_every_counter_and_the_sum() {
    let other = ConversationId::from_u128(10);
    let counters = vec![counter(2, 7, 4), Counter { conversation: other, ..counter(3, 1, 0) }];
    let transaction = filling(&[(CONVERSATION, 7)]).finish(&counters, &MissedEvents::default());
    let set = |key, number: &str| Mutation::Set(key, number.as_bytes().to_vec(), None);
    assert!(transaction.mutations.contains(&set(of_ben(Space::UnreadTotal), "5")));
    assert!(transaction.mutations.contains(&set(Key::unread_conversation(BEN, CONVERSATION), "2")));
    assert!(transaction.mutations.contains(&set(Key::unread_conversation(BEN, other), "3")));
    let fields = |values: [&'static str; 2]| {
        [CONVERSATION, other].into_iter().zip(values).map(|(id, value)| (id.into(), value.into())).collect()
    };
    assert!(transaction.mutations.contains(&Mutation::SetFields(of_ben(Space::UnreadSequence), fields(["7", "1"]))));
    assert!(transaction.mutations.contains(&Mutation::SetFields(of_ben(Space::UnreadRead), fields(["4", "0"]))));
    assert!(transaction.mutations.contains(&Mutation::Delete(of_ben(Space::UnreadSequence))), "nothing else is left");
}

#[test]
fn a_fill_deletes_counters_of_conversations_that_were_left() {
    let left = ConversationId::from_u128(8);
    let transaction = filling(&[(left, 3)]).finish(&[counter(2, 7, 4)], &MissedEvents::default());
    assert!(transaction.mutations.contains(&Mutation::Delete(Key::unread_conversation(BEN, left))));
    let lease = Check::Equals(of_ben(Space::UnreadLease), b"7".to_vec());
    assert_eq!(transaction.checks, [Check::Absent(of_ben(Space::UnreadTotal)), lease]);
}

#[test]
fn a_fill_publishes_what_was_missed_since_the_stored_positions() {
    let known = encoded(&[change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)]);
    let filled = |position| filling(&[(CONVERSATION, position)]).finish(&[counter(2, 7, 4)], &known);
    assert_eq!(event_names(&filled(6)), ["message.new"]);
    assert_eq!(event_names(&filled(7)), [""; 0]);
    assert_eq!(event_names(&filled(4)), ["resync"]);
}

#[test]
fn a_user_without_conversations_is_filled_with_a_total_of_zero() {
    let transaction = filling(&[]).finish(&[], &MissedEvents::default());
    assert!(transaction.mutations.contains(&Mutation::Set(of_ben(Space::UnreadTotal), b"0".to_vec(), None)));
    assert!(!transaction.mutations.iter().any(|mutation| matches!(mutation, Mutation::SetFields(..))));
}

fn numbered(count: usize) -> Vec<Counter> {
    let id = |number: usize| ConversationId::from_u128(number as u128);
    (1..=count).map(|number| Counter { conversation: id(number), ..counter(1, 7, 4) }).collect()
}

#[test]
fn many_counters_are_written_in_chunks_and_the_total_last() {
    let mut fill = filling(&[(CONVERSATION, 7)]);
    let chunks = fill.write(&numbered(2 * FILL_CHUNK + 1), &MissedEvents::default());
    assert_eq!(chunks.len(), 3);
    let total = of_ben(Space::UnreadTotal);
    let lease = of_ben(Space::UnreadLease);
    for chunk in &chunks {
        assert_eq!(chunk.checks, [Check::Absent(total.clone()), Check::Equals(lease.clone(), b"7".to_vec())]);
        assert_eq!(chunk.mutations[0], Mutation::Expire(lease.clone(), LEASE_TTL_MS), "the lease is renewed");
        assert!(!chunk.mutations.iter().any(|mutation| *mutation.key() == total));
    }
    let last = fill.finish(&numbered(1), &MissedEvents::default());
    let sum = (2 * FILL_CHUNK + 2).to_string().into_bytes();
    assert!(last.mutations.contains(&Mutation::Set(total, sum, None)));
    let sequences = Mutation::Delete(of_ben(Space::UnreadSequence));
    assert!(!last.mutations.contains(&sequences), "the positions of the chunks stay");
}

#[test]
fn many_conversations_that_were_left_are_removed_in_chunks() {
    let ids = (1..=2 * FILL_CHUNK as u128 + 7).map(ConversationId::from_u128);
    let position = StoredPosition { seq: Seq(1), read: Some(Seq(4)) };
    let mut fill = Fill::new(BEN, b"7", ids.map(|id| (id, position)).collect());
    let kept = numbered(3);
    let removals = fill.remove_left(&kept);
    assert_eq!(removals.len(), 2);
    let last = fill.finish(&kept, &MissedEvents::default());
    let deleted = removals.iter().chain([&last]).flat_map(|transaction| &transaction.mutations);
    let counters =
        deleted.filter(|mutation| matches!(mutation, Mutation::Delete(key) if key.space == Space::UnreadConversation));
    assert_eq!(counters.count(), 2 * FILL_CHUNK + 4);
}

#[test]
fn counters_of_many_conversations_are_forgotten_in_chunks_and_the_total_first() {
    let ids: Vec<_> = (1..=FILL_CHUNK as u128).map(ConversationId::from_u128).collect();
    let few = forget(BEN, 5, &ids, b"7");
    assert_eq!((few.first.mutations.len(), few.chunks.len(), few.last), (FILL_CHUNK + 1, 0, None));
    let many = [&ids[..], &[CONVERSATION]].concat();
    let plan = forget(BEN, 5, &many, b"7");
    assert_eq!(plan.first.checks, [Check::Equals(of_ben(Space::UnreadTotal), b"5".to_vec())]);
    let lease = Mutation::Set(of_ben(Space::UnreadLease), b"7".to_vec(), Some(LEASE_TTL_MS));
    assert!(plan.first.mutations.contains(&lease));
    assert_eq!(plan.chunks.iter().map(|chunk| chunk.mutations.len()).collect::<Vec<_>>(), [FILL_CHUNK + 1, 2]);
    assert_eq!(plan.last, Some(release(BEN, b"7")));
}

#[test]
fn the_pauses_of_a_waiting_caller_outlast_a_lease_and_fit_into_a_call() {
    let sum: u32 = (0..crate::limits::TRIES_MAX).map(lease_wait_ms).sum();
    assert!(u64::from(sum) > LEASE_TTL_MS && sum < 4_500, "{sum} ms");
}

#[test]
fn the_newest_changes_of_a_conversation_are_encoded_as_far_as_they_fit() {
    let changes = [change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)];
    let (all, left) = encode_newest(&changes, 1_000);
    let each = (1_000 - left) / 2;
    assert_eq!(all.len(), 2);
    assert_eq!(encode_newest(&changes, 2 * each).0.len(), 2);
    assert_eq!((encode_newest(&changes, 2 * each - 1).0.len(), encode_newest(&changes, each - 1).0.len()), (1, 0));
    assert_eq!(missed(Some(Seq(4)), &counter(2, 7, 0)), 3);
    assert_eq!(missed(None, &counter(2, 7, 0)), 0, "everything is announced");
}

#[test]
fn counts_beyond_the_range_of_the_store_saturate() {
    assert_eq!((signed(0), signed(7), signed(u64::MAX)), (0, 7, i64::MAX));
    assert_eq!(decimal(-12), b"-12");
}

#[test]
fn a_counter_is_published_if_it_moved_by_anything_but_messages_that_a_client_counts() {
    let sent = encoded(&[change(8, ChangeKind::Sent, 8)]);
    assert_eq!(published(&state(5, 3, 7, 4), &counter(4, 8, 4), &sent), ["message.new"]);
    assert_eq!(published(&state(5, 3, 7, 4), &counter(3, 8, 6), &sent), ["message.new", "unread.update"], "read");
    let deleted = encoded(&[change(8, ChangeKind::Deleted, 6)]);
    assert_eq!(published(&state(5, 3, 7, 4), &counter(2, 8, 4), &deleted), ["message.deleted", "unread.update"]);
    let update = apply(&state(5, 3, 7, 4), Some(&counter(2, 8, 4)), &deleted).publications.pop();
    let (read, seq) = (Seq(4), Seq(8));
    let expected = UnreadUpdatePayload { conversation: CONVERSATION, unread: 2, total: 4, read, seq };
    assert_eq!(update, Some(event::unread_update(&expected)));
    let lost = CounterState { count: None, ..state(5, 3, 7, 4) };
    assert_eq!(published(&lost, &counter(3, 7, 4), &MissedEvents::default()), ["unread.update"], "a lost counter");
}

#[test]
fn whoever_joined_again_is_shown_the_conversation_and_the_counters() {
    let rejoined = Counter { joined: Seq(9), ..counter(0, 9, 9) };
    let known = added(MissedEvents::default());
    assert_eq!(published(&state(5, 3, 7, 4), &rejoined, &known), ["conversation.added", "unread.update"]);
    assert_eq!(published(&state(5, 3, 7, 4), &rejoined, &MissedEvents::default()), ["resync"]);
}

#[test]
fn a_fill_tells_what_happened_to_memberships_since_the_user_was_cached() {
    let other = ConversationId::from_u128(10);
    let known = added(MissedEvents::default());
    let names = |fill: Fill, counters: &[Counter]| {
        let filled = fill.finish(counters, &known);
        event_names(&filled).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(filling(&[]), &[counter(2, 7, 4)]), [""; 0], "the user was never cached");
    let joined = Counter { announced: Seq(7), ..counter(2, 7, 4) };
    assert_eq!(
        names(filling(&[(other, 3)]), &[joined]),
        ["conversation.added", "conversation.removed", "unread.update"]
    );
    let marker = filling(&[(ConversationId::from_u128(0), 0)]);
    assert_eq!(names(marker, &[Counter { count: 0, ..joined }]), ["conversation.added"]);
    let rejoined = Counter { joined: Seq(9), ..counter(0, 9, 9) };
    assert_eq!(names(filling(&[(CONVERSATION, 7)]), &[rejoined]), ["conversation.added", "unread.update"]);
}

#[test]
fn a_chunk_that_cannot_tell_the_total_tells_clients_to_load_the_state() {
    let deleted = encoded(&[change(7, ChangeKind::Deleted, 6)]);
    let chunk = |position, missed: &MissedEvents| {
        let mut fill = filling(&[(CONVERSATION, position)]);
        event_names(&fill.write(&[counter(2, 7, 4)], missed)[0]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chunk(6, &deleted), ["resync"]);
    assert_eq!(chunk(6, &encoded(&[change(7, ChangeKind::Sent, 7)])), ["message.new"]);
}

#[test]
fn a_user_without_conversations_is_known_to_have_been_cached() {
    let plan = forget(BEN, 0, &[], b"7");
    let marker =
        Mutation::SetFields(of_ben(Space::UnreadSequence), vec![(ConversationId::from_u128(0).into(), "0".into())]);
    assert!(plan.first.mutations.contains(&marker) && plan.last.is_none());
}

#[test]
fn a_fill_publishes_counters_whose_read_position_moved() {
    let filled = |read| filling(&[(CONVERSATION, 7)]).finish(&[counter(2, 7, read)], &MissedEvents::default());
    assert_eq!(event_names(&filled(4)), [""; 0]);
    assert_eq!(event_names(&filled(6)), ["unread.update"]);
}

#[test]
fn a_fill_publishes_counters_of_messages_that_the_user_has_read() {
    let known = encoded(&[change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)]);
    let filled = |read| filling(&[]).finish(&[Counter { announced: Seq(5), ..counter(2, 7, read) }], &known);
    assert_eq!(event_names(&filled(5)), ["message.new", "message.new"]);
    assert_eq!(event_names(&filled(6)), ["message.new", "message.new", "unread.update"]);
}
