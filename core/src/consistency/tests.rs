//! Each kind of divergence is written to the store, found and repaired. Running requests and pending announcements are
//! not reported as divergences.

use super::*;
use crate::ids::{MessageId, Seq};
use crate::key::{Key, Owner, Space};
use crate::limits::RECOVERY_ATTEMPTS_REPORTED;
use crate::messaging::{self, mark_read, send};
use crate::port::{
    Clock, Draft, KeyValue, MemberChange, Mutation, NewConversation, Outcome, PendingId, PendingItem, PendingQuery,
    Postponement, Records, Transaction, World,
};
use crate::testing::{BoxFuture, FakeWorld, OutageStore, block_on, join_all};
use crate::{last_message, unread};

const ADA: UserId = UserId::from_u128(0xA);
const BEN: UserId = UserId::from_u128(0xB);
const CONVERSATION: ConversationId = ConversationId::from_u128(0x77);
const OTHER: ConversationId = ConversationId::from_u128(0x78);

fn draft(world: &impl Clock, conversation: ConversationId, number: u128) -> Draft {
    let content = format!("message {number}");
    let id = Some(MessageId::from_u128(number));
    Draft { conversation, sender: ADA, id, kind: "text".into(), content, at: world.now() }
}

/// Two users with two conversations of three messages each; everything is cached.
fn fill_world<W: World>(world: &W) {
    for (offset, id) in [(0, CONVERSATION), (10, OTHER)] {
        let new = NewConversation { id: Some(id), creator: ADA, members: vec![BEN], at: world.now() };
        block_on(messaging::create(world, new)).unwrap();
        for number in 1..=3 {
            block_on(send(world, draft(world, id, offset + number))).unwrap();
        }
        block_on(last_message::get(world, BEN, id)).unwrap();
    }
    for user in [ADA, BEN] {
        block_on(unread::totals(world, user)).unwrap();
    }
}

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    fill_world(&world);
    world
}

fn write(world: &FakeWorld, owner: Owner, mutations: Vec<Mutation>) {
    let transaction = Transaction { mutations, ..Transaction::new(owner) };
    let outcomes = block_on(world.commit(vec![transaction])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
}

fn all_users() -> Subjects {
    Subjects::Users(vec![ADA, BEN])
}

fn all_conversations() -> Subjects {
    Subjects::Conversations(vec![CONVERSATION, OTHER])
}

fn set(key: Key, number: i64) -> Mutation {
    Mutation::Set(key, number.to_string().into_bytes(), None)
}

fn fields(space: Space, seq: u64) -> Mutation {
    Mutation::SetFields(Key::of_user(space, BEN), vec![(CONVERSATION.to_string().into(), seq.to_string().into())])
}

type Difference = (FindingKind, Option<i64>, Option<i64>);

fn divergences(report: &Report) -> Vec<Difference> {
    report.divergences.iter().map(|finding| (finding.kind, finding.stored, finding.records)).collect()
}

/// Writes these mutations to Ben's partition. Expects these divergences, that they are repaired, and that none is left.
fn check(mutations: Vec<Mutation>, expected: &[Difference]) {
    let world = world();
    write(&world, Owner::User(BEN), mutations);
    let published = world.store.published().len();
    let found = block_on(verify(&world, &all_users())).unwrap();
    assert_eq!(divergences(&found), expected);
    assert!(
        found.inconclusive.is_empty() && found.divergences.iter().all(|finding| finding.user == Some(BEN)),
        "{found:?}"
    );
    let repaired = block_on(repair(&world, &all_users())).unwrap();
    assert!(
        repaired.divergences.len() == expected.len() && repaired.divergences.iter().all(|it| it.repaired),
        "{repaired:?}"
    );
    let clean = block_on(verify(&world, &all_users())).unwrap();
    assert_eq!(clean, Report { users: 2, ..Report::default() });
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 6);
    let names: Vec<_> = world.store.published().into_iter().skip(published).map(|(_, event)| event.name).collect();
    assert_eq!(
        names.first().map(|name| &**name),
        Some("resync"),
        "clients may have been told wrong numbers: {names:?}"
    );
    block_on(send(&world, draft(&world, CONVERSATION, 20))).unwrap();
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 7);
}

#[test]
fn equal_sides_are_no_divergence_and_cost_one_round_trip() {
    let world = world();
    world.store.take_calls();
    assert_eq!(block_on(verify(&world, &all_users())).unwrap(), Report { users: 2, ..Report::default() });
    assert_eq!(
        block_on(verify(&world, &all_conversations())).unwrap(),
        Report { conversations: 2, ..Report::default() }
    );
    let calls = world.store.take_calls();
    assert_eq!((calls.reads, calls.commits, calls.publishes), (2, 0, 0));
    world.store.wipe();
    assert_eq!(block_on(verify(&world, &all_users())).unwrap(), Report { cold: 2, ..Report::default() });
    assert_eq!(block_on(verify(&world, &all_conversations())).unwrap(), Report { uncached: 2, ..Report::default() });
}

#[test]
fn a_wrong_total_is_found_and_repaired() {
    check(vec![set(Key::of_user(Space::UnreadTotal, BEN), 9)], &[(FindingKind::Total, Some(9), Some(6))]);
}

#[test]
fn a_wrong_counter_is_found_and_repaired_even_if_the_total_is_wrong_in_the_same_way() {
    let counter = set(Key::unread_conversation(BEN, CONVERSATION), 5);
    let total = set(Key::of_user(Space::UnreadTotal, BEN), 8);
    check(vec![counter, total], &[(FindingKind::Count, Some(5), Some(3))]);
}

#[test]
fn a_missing_counter_is_found_and_repaired() {
    let missing = Mutation::Delete(Key::unread_conversation(BEN, CONVERSATION));
    check(vec![missing], &[(FindingKind::Total, Some(6), Some(6)), (FindingKind::Counter, None, Some(3))]);
}

#[test]
fn positions_ahead_of_the_records_are_found_and_repaired() {
    check(vec![fields(Space::UnreadSequence, 9)], &[(FindingKind::Position, Some(9), Some(3))]);
    check(vec![fields(Space::UnreadRead, 2)], &[(FindingKind::Read, Some(2), Some(0))]);
}

#[test]
fn a_read_position_that_fell_behind_is_found_and_repaired() {
    let world = world();
    block_on(mark_read(&world, BEN, CONVERSATION, Some(Seq(2)))).unwrap();
    write(&world, Owner::User(BEN), vec![fields(Space::UnreadRead, 1)]);
    let found = block_on(verify(&world, &all_users())).unwrap();
    assert_eq!(divergences(&found), [(FindingKind::Read, Some(1), Some(2))]);
    assert!(block_on(repair(&world, &all_users())).unwrap().divergences[0].repaired);
    assert_eq!(block_on(verify(&world, &all_users())).unwrap().divergences, []);
}

#[test]
fn a_store_that_lost_an_announcement_is_found_and_the_announcement_is_repeated() {
    let world = world();
    write(
        &world,
        Owner::User(BEN),
        vec![
            fields(Space::UnreadSequence, 2),
            set(Key::unread_conversation(BEN, CONVERSATION), 2),
            set(Key::of_user(Space::UnreadTotal, BEN), 5),
        ],
    );
    world.store.take_published();
    let repaired = block_on(repair(&world, &all_users())).unwrap();
    assert_eq!(divergences(&repaired), [(FindingKind::Position, Some(2), Some(3))]);
    assert!(repaired.divergences[0].repaired);
    let published: Vec<_> = world.store.take_published().into_iter().map(|(user, event)| (user, event.name)).collect();
    assert_eq!(published, [(BEN, "resync".into()), (BEN, "message.new".into())]);
}

#[test]
fn a_conversation_that_the_user_left_is_found_and_removed() {
    let world = world();
    let left = ConversationId::from_u128(0x79);
    write(
        &world,
        Owner::User(BEN),
        vec![Mutation::SetFields(
            Key::of_user(Space::UnreadSequence, BEN),
            vec![(left.to_string().into(), "4".into())],
        )],
    );
    let repaired = block_on(repair(&world, &all_users())).unwrap();
    assert_eq!(divergences(&repaired), [(FindingKind::Membership, Some(4), None)]);
    assert!(repaired.divergences[0].repaired && repaired.divergences[0].conversation == Some(left));
    assert_eq!(block_on(verify(&world, &all_users())).unwrap().divergences, []);
}

#[test]
fn wrong_last_messages_are_found_and_repaired() {
    let text = |name: &'static str, value: &'static str| (name.into(), value.into());
    for (wrong, expected) in [
        (vec![text("content", "never sent")], (FindingKind::LastMessage, Some(3), Some(3))),
        (vec![text("version", "2"), text("content", "message 2")], (FindingKind::LastMessage, Some(2), Some(3))),
        (vec![text("version", "40")], (FindingKind::LastMessage, Some(40), Some(3))),
    ] {
        let world = world();
        write(
            &world,
            Owner::Conversation(CONVERSATION),
            vec![Mutation::SetFields(Key::last_message(CONVERSATION), wrong)],
        );
        let repaired = block_on(repair(&world, &all_conversations())).unwrap();
        assert_eq!(divergences(&repaired), [expected]);
        assert!(
            repaired.divergences[0].repaired && repaired.divergences[0].conversation == Some(CONVERSATION),
            "{repaired:?}"
        );
        let clean = block_on(verify(&world, &all_conversations())).unwrap();
        assert_eq!(clean, Report { conversations: 2, ..Report::default() });
        assert_eq!(block_on(last_message::get(&world, BEN, CONVERSATION)).unwrap().value.content, "message 3");
    }
}

/// The kinds of the divergences, whom they are about, and whether they were repaired.
fn repairs(report: &Report) -> Vec<(FindingKind, Option<UserId>, Option<ConversationId>, bool)> {
    let repair = |finding: &Finding| (finding.kind, finding.user, finding.conversation, finding.repaired);
    report.divergences.iter().map(repair).collect()
}

#[test]
fn a_user_whose_keys_cannot_be_read_is_found_and_the_others_are_repaired() {
    let world = world();
    world.store.overwrite(Key::of_user(Space::UnreadSequence, ADA));
    let counter = set(Key::unread_conversation(BEN, CONVERSATION), 5);
    write(&world, Owner::User(BEN), vec![counter, set(Key::of_user(Space::UnreadTotal, BEN), 8)]);
    let repaired = block_on(repair(&world, &all_users())).unwrap();
    let unreadable = (FindingKind::Unreadable, Some(ADA), None, false);
    assert_eq!(repairs(&repaired), [unreadable, (FindingKind::Count, Some(BEN), Some(CONVERSATION), true)]);
    assert_eq!(repaired.users, 1);
    assert_eq!(repairs(&block_on(verify(&world, &all_users())).unwrap()), [unreadable]);
    assert_eq!(block_on(unread::totals(&world, BEN)).unwrap().value.total, 6);
}

#[test]
fn a_cached_message_that_cannot_be_read_is_found_and_the_others_are_repaired() {
    let world = world();
    world.store.overwrite(Key::last_message(CONVERSATION));
    let wrong = vec![("content".into(), "never sent".into())];
    write(&world, Owner::Conversation(OTHER), vec![Mutation::SetFields(Key::last_message(OTHER), wrong)]);
    let repaired = block_on(repair(&world, &all_conversations())).unwrap();
    let unreadable = (FindingKind::Unreadable, None, Some(CONVERSATION), false);
    assert_eq!(repairs(&repaired), [unreadable, (FindingKind::LastMessage, None, Some(OTHER), true)]);
    assert_eq!(repaired.conversations, 1);
}

#[test]
fn a_change_that_waits_for_its_announcement_is_pending_and_no_divergence() {
    let world = OutageStore::world();
    fill_world(&world);
    world.store.set_unavailable();
    assert!(block_on(verify(&world, &all_users())).unwrap_err().is_store_unavailable());
    block_on(send(&world, draft(&world, CONVERSATION, 20))).unwrap();
    block_on(mark_read(&world, BEN, OTHER, None)).unwrap();
    let leave = MemberChange { conversation: OTHER, actor: None, user: ADA, at: world.now() };
    block_on(messaging::remove_member(&world, leave)).unwrap();
    world.store.set_available();
    // Both members of one conversation, and in the other one the reader and the member who left.
    let report = block_on(repair(&world, &all_users())).unwrap();
    assert_eq!((report.pending, report.divergences, report.inconclusive), (4, Vec::new(), Vec::new()));
    let report = block_on(repair(&world, &all_conversations())).unwrap();
    assert_eq!((report.pending, report.divergences), (1, Vec::new()));
    world.clock.advance(60_000);
    block_on(messaging::recover(&world)).unwrap();
    assert_eq!(block_on(verify(&world, &all_users())).unwrap(), Report { users: 2, ..Report::default() });
}

#[test]
fn running_requests_are_no_divergence() {
    let world = world();
    let mut tasks: Vec<BoxFuture<'_, Report>> = Vec::new();
    for task in 0..4 {
        let world = &world;
        tasks.push(Box::pin(async move {
            for number in 0..25 {
                send(world, draft(world, CONVERSATION, 100 + 100 * task + number)).await.unwrap();
                world.wait(7).await;
                mark_read(world, BEN, CONVERSATION, None).await.unwrap();
            }
            Report::default()
        }));
        tasks.push(Box::pin(async move {
            let mut all = Report::default();
            for _ in 0..10 {
                all.add(verify(world, &all_users()).await.unwrap());
                all.add(verify(world, &all_conversations()).await.unwrap());
                world.wait(1).await;
            }
            all
        }));
    }
    for report in block_on(join_all(tasks)) {
        assert_eq!((report.divergences, report.inconclusive), (Vec::new(), Vec::new()));
    }
}

#[test]
fn pages_list_every_subject_once() {
    let world = world();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = block_on(Subjects::page(&world, SubjectKind::Users, after, 1)).unwrap();
        let Subjects::Users(users) = page else { panic!("asked for users") };
        listed.extend(users);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, [ADA, BEN]);
    let (page, next) = block_on(Subjects::page(&world, SubjectKind::Conversations, None, 10)).unwrap();
    assert_eq!((page, next), (all_conversations(), None));
}

/// A counter that the store and the records disagree on.
fn wrong_count() -> Finding {
    Finding {
        kind: FindingKind::Count,
        user: Some(BEN),
        conversation: Some(CONVERSATION),
        stored: Some(1),
        records: Some(2),
        repaired: false,
    }
}

#[test]
fn a_report_lists_findings_up_to_the_limit_and_counts_the_rest() {
    let finding = wrong_count();
    let part = Report { divergences: vec![finding; FINDINGS_MAX - 1], ..Report::default() };
    let mut whole = part.clone();
    whole.add(part);
    assert_eq!((whole.divergences.len(), whole.unlisted), (FINDINGS_MAX, FINDINGS_MAX as u64 - 2));
}

#[test]
fn a_report_adds_every_number_of_another_part() {
    let numbers = |users| Report {
        users,
        cold: users + 1,
        conversations: users + 2,
        uncached: users + 3,
        pending: users + 4,
        unlisted: users + 5,
        ..Report::default()
    };
    let mut whole = numbers(10);
    whole.add(numbers(100));
    let expected = Report {
        users: 110,
        cold: 112,
        conversations: 114,
        uncached: 116,
        pending: 118,
        unlisted: 120,
        ..Report::default()
    };
    assert_eq!(whole, expected);
}

#[test]
fn a_finding_kind_has_the_same_name_in_metrics_and_in_json() {
    for (kind, name) in [
        (FindingKind::Total, "total"),
        (FindingKind::Count, "count"),
        (FindingKind::Counter, "counter"),
        (FindingKind::Position, "position"),
        (FindingKind::Read, "read"),
        (FindingKind::Membership, "membership"),
        (FindingKind::LastMessage, "last_message"),
        (FindingKind::Unreadable, "unreadable"),
    ] {
        assert_eq!((kind.name(), serde_json::to_value(kind).unwrap()), (name, name.into()));
    }
}

#[test]
fn subjects_know_their_number() {
    let nobody = Subjects::Users(Vec::new());
    assert_eq!((nobody.len(), nobody.is_empty()), (0, true));
    assert_eq!((Subjects::Announcements.len(), Subjects::Announcements.is_empty()), (1, false));
    assert_eq!((all_users().len(), all_users().is_empty()), (2, false));
    assert_eq!(all_conversations().len(), 2);
}

#[test]
fn two_findings_are_about_the_same_only_with_equal_kind_user_and_conversation() {
    let finding = wrong_count();
    assert!(finding.is_about_the_same(&Finding { stored: Some(7), repaired: true, ..finding.clone() }));
    for other in [
        Finding { kind: FindingKind::Read, ..finding.clone() },
        Finding { user: Some(ADA), ..finding.clone() },
        Finding { conversation: Some(OTHER), ..finding.clone() },
    ] {
        assert!(!finding.is_about_the_same(&other), "{other:?}");
    }
}

/// Notes these items of the outbox as tried so often.
fn note_tried(world: &FakeWorld, query: PendingQuery, attempts: u32) {
    let items = block_on(world.pending(query)).unwrap().items;
    let postponement = |item: &PendingItem| Postponement {
        item: PendingId::from(&item.pending),
        attempts,
        next_time: world.now().plus(60_000),
    };
    block_on(world.postpone(items.iter().map(postponement).collect())).unwrap();
}

#[test]
fn what_recovery_tried_in_vain_is_listed_and_a_repair_makes_it_due() {
    let world = world();
    block_on(world.records.append_message(draft(&world, CONVERSATION, 30))).unwrap();
    block_on(world.records.mark_read(BEN, OTHER, None)).unwrap();
    let listed = |repairs: bool| {
        let subjects = Subjects::Announcements;
        block_on(async { if repairs { repair(&world, &subjects).await } else { verify(&world, &subjects).await } })
            .unwrap()
    };
    assert_eq!(listed(false), Report::default());
    let latest = Timestamp(u64::MAX);
    note_tried(&world, PendingQuery::untried(latest), RECOVERY_ATTEMPTS_REPORTED - 1);
    assert_eq!(listed(true), Report::default(), "a few attempts are nothing special");

    note_tried(&world, PendingQuery::tried(latest), RECOVERY_ATTEMPTS_REPORTED);
    let found = listed(false);
    let (changes, members): (Vec<_>, Vec<_>) = found.unannounced.iter().partition(|item| item.seq.is_some());
    assert_eq!((changes[0].conversation, changes[0].seq, changes[0].user), (Some(CONVERSATION), Some(Seq(4)), None));
    assert_eq!((members[0].conversation, members[0].seq, members[0].user), (Some(OTHER), None, Some(BEN)));
    assert_eq!((found.unannounced.len(), changes[0].attempts), (2, RECOVERY_ATTEMPTS_REPORTED));

    world.clock.advance(10);
    assert_eq!(block_on(messaging::retry(&world)), Ok(0));
    assert_eq!(listed(true).unannounced, found.unannounced);
    world.clock.advance(1);
    assert_eq!(block_on(messaging::retry(&world)), Ok(2));
    assert_eq!(listed(true), Report::default());
}

#[test]
fn a_report_lists_at_most_a_thousand_items_that_cannot_be_announced() {
    let item = UnannouncedItem {
        kind: UnannouncedKind::Change,
        conversation: Some(CONVERSATION),
        seq: Some(Seq(1)),
        user: None,
        other: None,
        since: Timestamp(1),
        attempts: RECOVERY_ATTEMPTS_REPORTED,
    };
    let part = Report { unannounced: vec![item; FINDINGS_MAX - 1], ..Report::default() };
    let mut whole = part.clone();
    whole.add(part);
    assert_eq!((whole.unannounced.len(), whole.unlisted), (FINDINGS_MAX, FINDINGS_MAX as u64 - 2));
}
