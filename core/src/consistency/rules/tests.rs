//! The rules of the consistency check with plain values.

use std::collections::BTreeMap;

use super::*;
use crate::consistency::{Finding, FindingKind};
use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::port::{Counter, LastMessage, Message};
use crate::time::Timestamp;

const USER: UserId = UserId::from_u128(1);
const CONVERSATION: ConversationId = ConversationId::from_u128(9);

/// The records: three unread messages, position 7, read up to 4, joined after change 2, announced up to 6.
fn recorded() -> Counter {
    Counter { conversation: CONVERSATION, count: 3, seq: Seq(7), joined: Seq(2), read: Seq(4), announced: Seq(6) }
}

fn stored(total: i64, count: Option<i64>, seq: Option<u64>, read: Option<u64>) -> StoredCounters {
    let of = |seq: Option<u64>| seq.map(|seq| (CONVERSATION, Seq(seq))).into_iter().collect();
    let counts = count.map(|count| (CONVERSATION, count)).into_iter().collect();
    StoredCounters { total, counts, seqs: of(seq), reads: of(read) }
}

type Difference = (FindingKind, Explanation, Option<i64>, Option<i64>);

fn differences(stored: &StoredCounters, counter: &Counter) -> (Vec<Difference>, u64) {
    let (suspicions, pending) = compare_user(USER, stored, &[*counter]);
    let differences = suspicions.into_iter().map(|Suspicion { finding, explanation }| {
        assert_eq!((finding.user, finding.repaired), (Some(USER), false));
        (finding.kind, explanation, finding.stored, finding.records)
    });
    (differences.collect(), pending)
}

#[track_caller]
fn check(stored: &StoredCounters, counter: &Counter, expected: &[Difference]) {
    assert_eq!(differences(stored, counter), (expected.to_vec(), 0));
}

#[test]
fn equal_counters_at_equal_positions_agree() {
    check(&stored(3, Some(3), Some(7), Some(4)), &recorded(), &[]);
}

#[test]
fn a_total_that_is_not_the_sum_is_certain() {
    let expected = (FindingKind::Total, Explanation::None, Some(4), Some(3));
    check(&stored(4, Some(3), Some(7), Some(4)), &recorded(), &[expected]);
}

#[test]
fn another_counter_at_equal_positions_is_certain() {
    let wrong = (FindingKind::Count, Explanation::None, Some(2), Some(3));
    check(&stored(2, Some(2), Some(7), Some(4)), &recorded(), &[wrong]);
    let missing = (FindingKind::Counter, Explanation::None, None, Some(3));
    check(&stored(0, None, Some(7), Some(4)), &recorded(), &[missing]);
}

#[test]
fn a_position_behind_the_announced_one_is_a_difference_and_one_behind_the_records_is_pending() {
    assert_eq!(differences(&stored(3, Some(3), Some(6), Some(4)), &recorded()), (vec![], 1));
    let behind = (FindingKind::Position, Explanation::StoreBehind, Some(5), Some(7));
    check(&stored(3, Some(3), Some(5), Some(4)), &recorded(), &[behind]);
}

#[test]
fn a_position_ahead_of_the_records_may_be_newer() {
    let ahead = (FindingKind::Position, Explanation::StoreAhead, Some(8), Some(7));
    check(&stored(3, Some(3), Some(8), Some(4)), &recorded(), &[ahead]);
}

#[test]
fn another_read_position_is_ahead_or_behind() {
    for (read, explanation) in
        [(Some(5), Explanation::StoreAhead), (Some(3), Explanation::StoreBehind), (None, Explanation::StoreBehind)]
    {
        let expected = (FindingKind::Read, explanation, read.map(|read| read as i64), Some(4));
        check(&stored(3, Some(3), Some(7), read), &recorded(), &[expected]);
    }
}

#[test]
fn a_missing_position_is_a_difference_only_if_something_was_announced_since_joining() {
    let missing = (FindingKind::Position, Explanation::StoreBehind, None, Some(7));
    check(&stored(0, None, None, None), &recorded(), &[missing]);
    check(&stored(0, None, None, None), &Counter { joined: Seq(6), ..recorded() }, &[]);
}

#[test]
fn a_conversation_that_the_records_do_not_know_is_a_difference() {
    let (suspicions, pending) = compare_user(USER, &stored(3, Some(3), Some(7), Some(4)), &[]);
    let [Suspicion { finding, explanation }] = &suspicions[..] else { panic!("{suspicions:?}") };
    assert_eq!((finding.kind, finding.conversation), (FindingKind::Membership, Some(CONVERSATION)));
    assert_eq!((finding.stored, finding.records, *explanation), (Some(7), None, Explanation::StoreBehind));
    assert_eq!(pending, 0);
}

fn last_message(version: u64, content: &str) -> LastMessage {
    let message = Message {
        id: MessageId::from_u128(1),
        conversation: CONVERSATION,
        seq: Seq(1),
        sender: USER,
        kind: "text".into(),
        content: content.into(),
        created_at: Timestamp(1),
        edited_at: None,
        deleted: false,
    };
    LastMessage { conversation: CONVERSATION, version: Seq(version), message: Some(message) }
}

#[test]
fn a_cached_last_message_is_compared_by_version_and_then_by_content() {
    let explanation = |version, content| {
        let difference = compare_last_message(&last_message(version, content), &last_message(5, "hello"))?;
        let finding = difference.finding;
        assert_eq!((finding.kind, finding.user), (FindingKind::LastMessage, None));
        assert_eq!((finding.stored, finding.records), (Some(version as i64), Some(5)));
        Some(difference.explanation)
    };
    assert_eq!(explanation(5, "hello"), None);
    assert_eq!(explanation(5, "other"), Some(Explanation::None));
    assert_eq!(explanation(4, "hello"), Some(Explanation::StoreBehind));
    assert_eq!(explanation(6, "hello"), Some(Explanation::StoreAhead));
}

fn suspicion(explanation: Explanation, stored: i64, records: i64) -> Suspicion {
    let finding = Finding {
        kind: FindingKind::Position,
        user: Some(USER),
        conversation: Some(CONVERSATION),
        stored: Some(stored),
        records: Some(records),
        repaired: false,
    };
    Suspicion { finding, explanation }
}

#[test]
fn a_difference_without_an_explanation_is_certain_the_second_time() {
    let certain = suspicion(Explanation::None, 1, 2);
    assert_eq!(judge(&certain, &certain, true, true), Judgement::Divergent);
    assert_eq!(judge(&suspicion(Explanation::StoreBehind, 1, 2), &certain, false, false), Judgement::Open);
}

#[test]
fn a_store_ahead_is_divergent_if_the_records_did_not_catch_up() {
    let ahead = |stored, records| suspicion(Explanation::StoreAhead, stored, records);
    assert_eq!(judge(&ahead(8, 5), &ahead(9, 7), false, false), Judgement::Divergent);
    assert_eq!(judge(&ahead(8, 5), &ahead(9, 8), false, false), Judgement::Open, "they caught up and it moved on");
    assert_eq!(judge(&suspicion(Explanation::None, 8, 5), &ahead(9, 7), false, false), Judgement::Open);
}

#[test]
fn a_store_behind_is_pending_or_divergent_or_needs_another_comparison() {
    let behind = |stored| suspicion(Explanation::StoreBehind, stored, 7);
    assert_eq!(judge(&behind(5), &behind(5), true, false), Judgement::Pending);
    assert_eq!(judge(&behind(5), &behind(5), false, false), Judgement::Divergent);
    assert_eq!(judge(&behind(5), &behind(5), false, true), Judgement::Open, "not everything pending could be read");
    assert_eq!(judge(&behind(5), &behind(6), false, false), Judgement::Open, "it moved");
    assert_eq!(judge(&suspicion(Explanation::StoreAhead, 5, 7), &behind(5), false, false), Judgement::Open);
}

#[test]
fn users_without_differences_have_no_findings() {
    let nothing = StoredCounters { total: 0, counts: BTreeMap::new(), seqs: BTreeMap::new(), reads: BTreeMap::new() };
    assert_eq!(compare_user(USER, &nothing, &[]), (vec![], 0));
}
