//! Drift of each kind is planted, found and mended; traffic and what is pending are neither.

use super::*;
use crate::ids::{MessageId, Seq};
use crate::key::{Key, Owner, Space};
use crate::messaging::{self, mark_read, send};
use crate::port::{Clock, Draft, KeyValue, MemberChange, Mutation, NewConversation, Outcome, Transaction, World};
use crate::testing::FakeRecords;
use crate::testing::{BoxFuture, FakeTelemetry, FakeWorld, ManualClock, OutageStore, TestWorld, block_on, join_all};
use crate::{last_message, unread};

const ADA: UserId = UserId::from_u128(0xA);
const BEN: UserId = UserId::from_u128(0xB);
const TALK: ConversationId = ConversationId::from_u128(0x77);
const OTHER: ConversationId = ConversationId::from_u128(0x78);

fn draft(world: &impl Clock, conversation: ConversationId, number: u128) -> Draft {
    let content = format!("message {number}");
    let id = Some(MessageId::from_u128(number));
    Draft { conversation, sender: ADA, id, kind: "text".into(), content, at: world.now() }
}

/// Two people with two conversations of three messages each, everything cached.
fn talked<W: World>(world: &W) {
    for (offset, id) in [(0, TALK), (10, OTHER)] {
        let new = NewConversation { id: Some(id), creator: ADA, members: vec![BEN], at: world.now() };
        block_on(messaging::create(world, new)).unwrap();
        for number in 1..=3 {
            block_on(send(world, draft(world, id, offset + number))).unwrap();
        }
        block_on(last_message::get(world, BEN, id)).unwrap();
    }
    block_on(unread::totals(world, BEN)).unwrap();
}

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    talked(&world);
    world
}

fn plant(world: &FakeWorld, owner: Owner, mutations: Vec<Mutation>) {
    let transaction = Transaction { mutations, ..Transaction::new(owner) };
    let outcomes = block_on(world.commit(vec![transaction])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
}

fn everybody() -> Subjects {
    Subjects::Users(vec![ADA, BEN])
}

fn talks() -> Subjects {
    Subjects::Conversations(vec![TALK, OTHER])
}

fn set(key: Key, number: i64) -> Mutation {
    Mutation::Set(key, number.to_string().into_bytes(), None)
}

fn fields(space: Space, seq: u64) -> Mutation {
    Mutation::SetFields(Key::of_user(space, BEN), vec![(TALK.to_string().into(), seq.to_string().into())])
}

type Seen = (What, Option<i64>, Option<i64>);

fn seen(report: &Report) -> Vec<Seen> {
    report.drift.iter().map(|finding| (finding.what, finding.stored, finding.records)).collect()
}

/// Plants in Ben's partition; it is found as told, mended, and then not found any more.
fn check(mutations: Vec<Mutation>, expected: &[Seen]) {
    let world = world();
    plant(&world, Owner::User(BEN), mutations);
    let told = world.store.published().len();
    let found = block_on(verify(&world, &everybody())).unwrap();
    assert_eq!(seen(&found), expected);
    assert!(found.unsettled.is_empty() && found.drift.iter().all(|finding| finding.user == Some(BEN)), "{found:?}");
    let mended = block_on(repair(&world, &everybody())).unwrap();
    assert!(mended.drift.len() == expected.len() && mended.drift.iter().all(|it| it.repaired), "{mended:?}");
    let clean = block_on(verify(&world, &everybody())).unwrap();
    assert_eq!(clean, Report { users: 2, ..Report::default() });
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 6);
    assert_eq!(world.store.published().len(), told, "mending tells nobody anything");
    block_on(send(&world, draft(&world, TALK, 20))).unwrap();
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 7);
}

#[test]
fn what_agrees_is_no_drift_and_costs_one_round_trip() {
    let world = world();
    world.store.take_calls();
    assert_eq!(block_on(verify(&world, &everybody())).unwrap(), Report { users: 2, ..Report::default() });
    assert_eq!(block_on(verify(&world, &talks())).unwrap(), Report { conversations: 2, ..Report::default() });
    let calls = world.store.take_calls();
    assert_eq!((calls.reads, calls.commits, calls.publishes), (2, 0, 0));
    world.store.wipe();
    assert_eq!(block_on(verify(&world, &everybody())).unwrap(), Report { cold: 2, ..Report::default() });
    assert_eq!(block_on(verify(&world, &talks())).unwrap(), Report { uncached: 2, ..Report::default() });
}

#[test]
fn a_wrong_total_is_found_and_mended() {
    check(vec![set(Key::of_user(Space::UnreadTotal, BEN), 9)], &[(What::Total, Some(9), Some(6))]);
}

#[test]
fn a_wrong_counter_is_found_and_mended_even_if_the_total_is_wrong_in_the_same_way() {
    let counter = set(Key::unread_conversation(BEN, TALK), 5);
    let total = set(Key::of_user(Space::UnreadTotal, BEN), 8);
    check(vec![counter, total], &[(What::Count, Some(5), Some(3))]);
}

#[test]
fn a_missing_counter_is_found_and_mended() {
    let missing = Mutation::Delete(Key::unread_conversation(BEN, TALK));
    check(vec![missing], &[(What::Total, Some(6), Some(6)), (What::Counter, None, Some(3))]);
}

#[test]
fn positions_ahead_of_the_records_are_found_and_mended() {
    check(vec![fields(Space::UnreadSequence, 9)], &[(What::Position, Some(9), Some(3))]);
    check(vec![fields(Space::UnreadRead, 2)], &[(What::Read, Some(2), Some(0))]);
}

#[test]
fn a_read_position_that_fell_behind_is_found_and_mended() {
    let world = world();
    block_on(mark_read(&world, BEN, TALK, Some(Seq(2)))).unwrap();
    plant(&world, Owner::User(BEN), vec![fields(Space::UnreadRead, 1)]);
    let found = block_on(verify(&world, &everybody())).unwrap();
    assert_eq!(seen(&found), [(What::Read, Some(1), Some(2))]);
    assert!(block_on(repair(&world, &everybody())).unwrap().drift[0].repaired);
    assert_eq!(block_on(verify(&world, &everybody())).unwrap().drift, []);
}

#[test]
fn a_store_that_went_back_is_found_and_the_lost_announcement_made_up_for() {
    let world = world();
    plant(
        &world,
        Owner::User(BEN),
        vec![
            fields(Space::UnreadSequence, 2),
            set(Key::unread_conversation(BEN, TALK), 2),
            set(Key::of_user(Space::UnreadTotal, BEN), 5),
        ],
    );
    world.store.take_published();
    let mended = block_on(repair(&world, &everybody())).unwrap();
    assert_eq!(seen(&mended), [(What::Position, Some(2), Some(3))]);
    assert!(mended.drift[0].repaired);
    let told: Vec<_> = world.store.take_published().into_iter().map(|(user, event)| (user, event.name)).collect();
    assert_eq!(told, [(BEN, "message.new".into())]);
}

#[test]
fn a_conversation_that_the_user_left_is_found_and_dropped() {
    let world = world();
    let strange = ConversationId::from_u128(0x79);
    plant(
        &world,
        Owner::User(BEN),
        vec![Mutation::SetFields(
            Key::of_user(Space::UnreadSequence, BEN),
            vec![(strange.to_string().into(), "4".into())],
        )],
    );
    let mended = block_on(repair(&world, &everybody())).unwrap();
    assert_eq!(seen(&mended), [(What::Membership, Some(4), None)]);
    assert!(mended.drift[0].repaired && mended.drift[0].conversation == Some(strange));
    assert_eq!(block_on(verify(&world, &everybody())).unwrap().drift, []);
}

#[test]
fn wrong_last_messages_are_found_and_mended() {
    let text = |name: &'static str, value: &'static str| (name.into(), value.into());
    for (planted, expected) in [
        (vec![text("content", "never said")], (What::LastMessage, Some(3), Some(3))),
        (vec![text("version", "2"), text("content", "message 2")], (What::LastMessage, Some(2), Some(3))),
        (vec![text("version", "40")], (What::LastMessage, Some(40), Some(3))),
    ] {
        let world = world();
        plant(&world, Owner::Conversation(TALK), vec![Mutation::SetFields(Key::last_message(TALK), planted)]);
        let mended = block_on(repair(&world, &talks())).unwrap();
        assert_eq!(seen(&mended), [expected]);
        assert!(mended.drift[0].repaired && mended.drift[0].conversation == Some(TALK), "{mended:?}");
        let clean = block_on(verify(&world, &talks())).unwrap();
        assert_eq!(clean, Report { conversations: 2, ..Report::default() });
        assert_eq!(block_on(last_message::get(&world, BEN, TALK)).unwrap().value.content, "message 3");
    }
}

#[test]
fn what_waits_for_its_announcement_is_pending_and_no_drift() {
    let clock = ManualClock::new();
    let world = TestWorld {
        store: std::sync::Arc::new(OutageStore::new(clock.clone())),
        records: std::sync::Arc::new(FakeRecords::new(1)),
        clock,
        telemetry: FakeTelemetry::new(),
    };
    talked(&world);
    world.store.go_away();
    assert!(block_on(verify(&world, &everybody())).unwrap_err().store_is_away());
    block_on(send(&world, draft(&world, TALK, 20))).unwrap();
    block_on(mark_read(&world, BEN, OTHER, None)).unwrap();
    let leave = MemberChange { conversation: OTHER, actor: None, user: ADA, at: world.now() };
    block_on(messaging::remove_member(&world, leave)).unwrap();
    world.store.come_back();
    // Of both in one talk, of the reader and of the one who left in the other.
    let report = block_on(repair(&world, &everybody())).unwrap();
    assert_eq!((report.pending, report.drift, report.unsettled), (4, Vec::new(), Vec::new()));
    let report = block_on(repair(&world, &talks())).unwrap();
    assert_eq!((report.pending, report.drift), (1, Vec::new()));
    world.clock.advance(60_000);
    block_on(messaging::recover(&world)).unwrap();
    assert_eq!(block_on(verify(&world, &everybody())).unwrap(), Report { users: 2, ..Report::default() });
}

#[test]
fn traffic_is_no_drift() {
    let world = world();
    let mut tasks: Vec<BoxFuture<'_, Report>> = Vec::new();
    for task in 0..4 {
        let world = &world;
        tasks.push(Box::pin(async move {
            for number in 0..25 {
                send(world, draft(world, TALK, 100 + 100 * task + number)).await.unwrap();
                world.wait(7).await;
                mark_read(world, BEN, TALK, None).await.unwrap();
            }
            Report::default()
        }));
        tasks.push(Box::pin(async move {
            let mut all = Report::default();
            for _ in 0..10 {
                all.add(verify(world, &everybody()).await.unwrap());
                all.add(verify(world, &talks()).await.unwrap());
                world.wait(1).await;
            }
            all
        }));
    }
    for report in block_on(join_all(tasks)) {
        assert_eq!((report.drift, report.unsettled), (Vec::new(), Vec::new()));
    }
}

#[test]
fn pages_go_through_everybody() {
    let world = world();
    let mut met = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = block_on(Subjects::page(&world, Kind::Users, after, 1)).unwrap();
        let Subjects::Users(users) = page else { panic!("asked for users") };
        met.extend(users);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(met, [ADA, BEN]);
    let (page, next) = block_on(Subjects::page(&world, Kind::Conversations, None, 10)).unwrap();
    assert_eq!((page, next), (talks(), None));
}

#[test]
fn a_report_lists_so_many_findings_and_counts_the_rest() {
    let finding = Finding {
        what: What::Count,
        user: Some(BEN),
        conversation: Some(TALK),
        stored: Some(1),
        records: Some(2),
        repaired: false,
    };
    let part = Report { drift: vec![finding; FINDINGS_MAX - 1], ..Report::default() };
    let mut whole = part.clone();
    whole.add(part);
    assert_eq!((whole.drift.len(), whole.unlisted), (FINDINGS_MAX, FINDINGS_MAX as u64 - 2));
}
