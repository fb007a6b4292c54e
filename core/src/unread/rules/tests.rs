//! The rules of counting with plain values.

use super::*;
use crate::ids::MessageId;
use crate::port::Message;
use crate::time::Timestamp;

const ADA: UserId = UserId::from_u128(1);
const BEN: UserId = UserId::from_u128(2);
const TALK: ConversationId = ConversationId::from_u128(9);

fn change(seq: u64, kind: ChangeKind, message_seq: u64) -> Change {
    let message = Message {
        id: MessageId::from_u128(u128::from(message_seq)),
        conversation: TALK,
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
    Counter { conversation: TALK, count, seq: Seq(seq), joined: Seq::ZERO, read: Seq(read), announced: Seq(seq) }
}

fn state(total: i64, count: i64, seq: u64, read: u64) -> CounterState {
    CounterState { total: Some(total), seq: Some(Seq(seq)), read: Some(Seq(read)), count: Some(count) }
}

fn names(settlement: Settlement) -> Vec<String> {
    match settlement {
        Settlement::Apply(transaction) => transaction.publications.iter().map(|event| event.name.to_string()).collect(),
        other => panic!("expected a transaction, got {other:?}"),
    }
}

fn steps(changes: &[Change]) -> Steps {
    Steps::from([(TALK, changes.iter().map(Step::from).collect())])
}

#[test]
fn the_sender_is_told_but_not_counted() {
    let sent = change(4, ChangeKind::Sent, 4);
    let told = event::change(&sent);
    let own = announce(&sent, told.as_ref(), ADA).unwrap();
    let other = announce(&sent, told.as_ref(), BEN).unwrap();
    assert_eq!((own.publications.len(), other.publications.len()), (1, 1));
    assert!(!own.mutations.iter().any(|mutation| matches!(mutation, Mutation::Add { .. })));
    assert_eq!(other.mutations.iter().filter(|mutation| matches!(mutation, Mutation::Add { .. })).count(), 2);
    assert!(other.checks.contains(&Check::Present(Key::of_user(Space::UnreadTotal, BEN))));
}

#[test]
fn only_a_new_message_is_announced_without_a_snapshot() {
    for kind in [ChangeKind::Edited, ChangeKind::Deleted] {
        assert_eq!(announce(&change(4, kind, 2), None, BEN), None);
    }
}

#[test]
fn a_snapshot_below_what_is_stored_is_stale() {
    let none = Steps::new();
    let stored = state(3, 2, 7, 4);
    assert_eq!(settle(BEN, TALK, &stored, Some(&counter(1, 6, 4)), &none), Settlement::Stale);
    assert_eq!(settle(BEN, TALK, &stored, Some(&counter(1, 7, 3)), &none), Settlement::Stale);
    assert_eq!(settle(BEN, TALK, &stored, Some(&counter(2, 7, 4)), &none), Settlement::Settled);
}

#[test]
fn a_snapshot_moves_the_total_by_the_difference() {
    let Settlement::Apply(transaction) = settle(BEN, TALK, &state(5, 3, 7, 4), Some(&counter(1, 7, 6)), &Steps::new())
    else {
        panic!("expected a transaction")
    };
    let total = Key::of_user(Space::UnreadTotal, BEN);
    assert!(transaction.mutations.contains(&Mutation::Add { key: total, delta: -2, floor: Some(0) }));
}

#[test]
fn whoever_moves_the_position_tells_what_it_passes() {
    let known = steps(&[
        change(6, ChangeKind::Sent, 6),
        change(7, ChangeKind::Sent, 7),
        change(8, ChangeKind::Edited, 6),
        change(9, ChangeKind::Sent, 9),
    ]);
    let told = names(settle(BEN, TALK, &state(1, 1, 6, 0), Some(&counter(2, 8, 0)), &known));
    assert_eq!(told, ["message.new", "message.updated"]);
}

#[test]
fn without_a_position_only_what_nobody_confirmed_is_told() {
    let known = steps(&[change(6, ChangeKind::Sent, 6), change(7, ChangeKind::Sent, 7)]);
    let new = CounterState { total: Some(0), ..CounterState::default() };
    let unconfirmed = Counter { announced: Seq(6), ..counter(2, 7, 0) };
    assert_eq!(names(settle(BEN, TALK, &new, Some(&unconfirmed), &known)), ["message.new"]);
    let joined_late = Counter { joined: Seq(7), ..unconfirmed };
    assert!(names(settle(BEN, TALK, &new, Some(&joined_late), &known)).is_empty());
}

#[test]
fn changes_of_what_was_said_before_joining_are_not_told() {
    let known = steps(&[change(7, ChangeKind::Edited, 2)]);
    let member = Counter { joined: Seq(3), ..counter(0, 7, 6) };
    assert!(names(settle(BEN, TALK, &state(0, 0, 6, 6), Some(&member), &known)).is_empty());
}

#[test]
fn leaving_takes_the_conversation_out_of_the_total() {
    let Settlement::Apply(transaction) = settle(BEN, TALK, &state(5, 3, 7, 4), None, &Steps::new()) else {
        panic!("expected a transaction")
    };
    let total = Key::of_user(Space::UnreadTotal, BEN);
    assert!(transaction.mutations.contains(&Mutation::Add { key: total, delta: -3, floor: Some(0) }));
    let nothing = CounterState { total: Some(5), ..CounterState::default() };
    assert_eq!(settle(BEN, TALK, &nothing, None, &Steps::new()), Settlement::Settled);
}

#[test]
fn a_fill_drops_counters_of_conversations_that_are_gone() {
    let gone = ConversationId::from_u128(8);
    let snapshot = UnreadSnapshot { user: BEN, counters: vec![counter(2, 7, 4)] };
    let transaction = fill(b"7", &BTreeMap::from([(gone, Seq(3))]), &snapshot, &Steps::new());
    assert!(transaction.mutations.contains(&Mutation::Delete(Key::unread_conversation(BEN, gone))));
    let lease = Check::Equals(Key::of_user(Space::UnreadLease, BEN), b"7".to_vec());
    assert_eq!(transaction.checks, [Check::Absent(Key::of_user(Space::UnreadTotal, BEN)), lease]);
}
