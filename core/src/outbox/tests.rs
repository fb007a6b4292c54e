//! The outbox on a store that fails at every possible step: a change and its events never diverge.

mod unreachable;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::ids::ConversationId;
use crate::key::{Key, Space};
use crate::limits::{
    OUTBOX_ATTEMPTS_MAX, OUTBOX_ENTRIES_MAX, OUTBOX_GRACE_MS, OUTBOX_LEASE_MS, OUTBOX_SHARDS, RECEIPT_TTL_MS,
    TRIGGER_USERS_MAX,
};
use crate::port::{Check, Clock, Delivery, Event, Mutation, Outcome, Query, Transaction, Value};
use crate::testing::{BrokenFeed, FakeStore, ManualClock, StoredValue, block_on};
use crate::trigger;

const ANN: UserId = UserId::from_u128(1);
const BOB: UserId = UserId::from_u128(2);
const GROUP: ConversationId = ConversationId::from_u128(9);
const AWAY: StoreError = StoreError::Unavailable { retry_after_ms: 50 };

/// How the store fails from a certain call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostFault {
    /// This call is not carried out.
    LostBefore,
    /// This call is carried out, and its answer is lost.
    LostAfter,
    /// This call and all later ones are not carried out, as if the host had died.
    DiesBefore,
    /// This call is carried out; its answer and all later calls are lost.
    DiesAfter,
}

/// A host with a connection to the shared store, which fails once.
struct Host<'s> {
    store: &'s FakeStore,
    clock: ManualClock,
    first_id: u128,
    calls: AtomicU64,
    fault: Option<(u64, HostFault)>,
    reports: Mutex<Vec<String>>,
}

impl<'s> Host<'s> {
    fn new(fixture: &'s Fixture, number: u128, fault: Option<(u64, HostFault)>) -> Self {
        let (store, clock) = (&fixture.store, fixture.clock.clone());
        Self { store, clock, first_id: number << 64, calls: AtomicU64::new(0), fault, reports: Mutex::default() }
    }

    async fn call<T>(&self, effect: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Some((at, HostFault::LostBefore)) if call == at => Err(AWAY),
            Some((at, HostFault::LostAfter)) if call == at => effect.await.and(Err(AWAY)),
            Some((at, HostFault::DiesAfter)) if call == at => effect.await.and(Err(AWAY)),
            Some((at, HostFault::DiesBefore | HostFault::DiesAfter)) if call >= at => Err(AWAY),
            _ => effect.await,
        }
    }
}

impl KeyValue for Host<'_> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.call(self.store.read(queries)).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        assert!(transactions.iter().all(|transaction| transaction.addressed.is_empty()), "the outbox takes them out");
        if transactions.is_empty() { Ok(Vec::new()) } else { self.call(self.store.commit(transactions)).await }
    }
}

impl OutboxStore for Host<'_> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(self.first_id | u128::from(self.calls.load(Ordering::Relaxed)) << 32 | 7)
    }

    fn report(&self, event: &OutboxEvent<'_>) {
        self.reports.lock().unwrap().push(format!("{event:?}"));
    }
}

struct Fixture {
    store: FakeStore,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self { store: FakeStore::new(clock.clone()), clock }
    }

    /// Runs recovery on a sound host until nothing is due any more.
    fn recover(&self) -> OutboxRecovery {
        let mut sum = OutboxRecovery::default();
        for _ in 0..3 {
            self.clock.advance(OUTBOX_GRACE_MS.max(OUTBOX_LEASE_MS));
            let due = block_on(due_shards(&Host::new(self, 99, None)));
            assert_eq!(due.error, None);
            for shard in due.shards {
                let round = block_on(recover(&Host::new(self, 99, None), shard));
                assert_eq!(round.error, None);
                sum.delivered += round.delivered;
                sum.voided += round.voided;
                sum.postponed += round.postponed;
                sum.dropped += round.dropped;
            }
        }
        sum
    }

    fn count(&self) -> u64 {
        match self.store.entry(&counter()) {
            Some(StoredValue::Text(text)) => String::from_utf8(text).unwrap().parse().unwrap(),
            _ => 0,
        }
    }

    /// The names of the events that each user received.
    fn received(&self) -> BTreeMap<UserId, Vec<String>> {
        let mut received: BTreeMap<UserId, Vec<String>> = BTreeMap::new();
        for (user, Delivery { name, .. }) in self.store.published() {
            received.entry(user).or_default().push(name.to_string());
        }
        received
    }

    /// The keys of the outbox and the queues that are left, without those that expire by themselves.
    fn left_over(&self) -> Vec<String> {
        let is_expected = |item: &str| {
            ["receipt.", "void.", "call.", "done."].iter().any(|start| item.starts_with(start))
                || ["outbox.size", "due.bot", "size.bot"].contains(&item)
        };
        let host = self.store.entries().into_keys().filter(|key| key.space == Space::Host);
        host.filter_map(|key| key.item).filter(|item| !is_expected(item)).collect()
    }
}

fn counter() -> Key {
    Key::app(Owner::Conversation(GROUP), "votes")
}

fn event(name: &str) -> Event {
    Event { name: name.into(), payload: "{\"votes\":1}".into(), durable: true }
}

/// Counts a vote and tells Ann and Bob.
fn vote() -> Transaction {
    Transaction::new(Owner::Conversation(GROUP))
        .mutate(Mutation::Add { key: counter(), delta: 1, floor: None })
        .address(vec![ANN, BOB], event("poll.vote"))
}

fn call_of(id: &str) -> Trigger {
    Trigger { function: "bot".into(), id: id.into(), event: event("poll.vote"), users: vec![ANN], depth: 0 }
}

fn vote_with_trigger() -> OutboxRequest {
    OutboxRequest { transaction: vote(), triggers: vec![call_of("1").into()] }
}

fn queued_calls(fixture: &Fixture) -> usize {
    block_on(trigger::claim(&fixture.store, "bot", (10, 1), fixture.clock.now())).unwrap().calls.len()
}

#[test]
fn a_change_and_its_events_happen_together_and_leave_nothing_behind() {
    let fixture = Fixture::new();
    let host = Host::new(&fixture, 1, None);
    let outcomes = block_on(commit(&host, vec![vote_with_trigger()])).unwrap();
    assert_eq!(outcomes, [Outcome::Committed(vec![1])]);
    assert_eq!(fixture.received(), BTreeMap::from([ANN, BOB].map(|user| (user, vec!["poll.vote".to_owned()]))));
    assert_eq!(queued_calls(&fixture), 1);
    assert_eq!(host.calls.load(Ordering::Relaxed), 6, "mark, commit, deliver, queue, remove, remove receipts");
    assert_eq!(fixture.left_over(), Vec::<String>::new());
    let receipts = fixture.store.entries().into_keys().filter_map(|key| key.item).any(|item| item.starts_with("rec"));
    assert!(!receipts, "the receipts are removed at once");
    assert_eq!(fixture.recover(), OutboxRecovery::default());
}

#[test]
fn a_refused_transaction_delivers_nothing_and_keeps_the_index_of_its_check() {
    let fixture = Fixture::new();
    let refused = vote().check(Check::Absent(counter())).check(Check::Present(counter()));
    let ok = Transaction::new(Owner::User(ANN)).publish(event("own"));
    let outcomes = block_on(commit(&Host::new(&fixture, 1, None), vec![refused.into(), ok.into()])).unwrap();
    assert_eq!(outcomes, [Outcome::Refused(1), Outcome::Committed(vec![])]);
    assert_eq!(fixture.received(), BTreeMap::from([(ANN, vec!["own".to_owned()])]));
    assert_eq!((fixture.count(), fixture.left_over()), (0, vec![]));
}

#[test]
fn whatever_step_fails_the_change_and_its_events_never_diverge() {
    let steps = {
        let fixture = Fixture::new();
        let host = Host::new(&fixture, 1, None);
        block_on(commit(&host, vec![vote_with_trigger()])).unwrap();
        host.calls.load(Ordering::Relaxed)
    };
    for fault in [HostFault::LostBefore, HostFault::LostAfter, HostFault::DiesBefore, HostFault::DiesAfter] {
        for step in 0..steps {
            let fixture = Fixture::new();
            let answer = block_on(commit(&Host::new(&fixture, 1, Some((step, fault))), vec![vote_with_trigger()]));
            fixture.recover();
            let (count, context) = (fixture.count(), format!("{fault:?} at {step}: {answer:?}"));
            let expected = if count == 1 { vec!["poll.vote".to_owned()] } else { Vec::new() };
            let received = fixture.received();
            for user in [ANN, BOB] {
                assert_eq!(received.get(&user).cloned().unwrap_or_default(), expected, "{context}");
            }
            assert_eq!(queued_calls(&fixture) as u64, count, "{context}");
            assert_eq!(fixture.left_over(), Vec::<String>::new(), "{context}");
            if answer == Ok(vec![Outcome::Committed(vec![1])]) {
                assert_eq!(count, 1, "{context}");
            }
        }
    }
}

#[test]
fn recovery_that_fails_at_any_step_is_repeated_without_a_second_delivery() {
    for fault in [HostFault::LostBefore, HostFault::LostAfter, HostFault::DiesBefore, HostFault::DiesAfter] {
        for step in 0..8 {
            let fixture = Fixture::new();
            let died = Host::new(&fixture, 1, Some((1, HostFault::DiesAfter)));
            block_on(commit(&died, vec![vote_with_trigger()])).unwrap_err();
            fixture.clock.advance(OUTBOX_GRACE_MS);
            for shard in 0..OUTBOX_SHARDS {
                let host = Host::new(&fixture, 2, Some((step, fault)));
                block_on(recover(&host, shard));
            }
            fixture.recover();
            for user in [ANN, BOB] {
                assert_eq!(fixture.received()[&user], ["poll.vote"], "{fault:?} at {step}");
            }
            assert_eq!(queued_calls(&fixture), 1, "{fault:?} at {step}");
            assert_eq!(fixture.left_over(), Vec::<String>::new(), "{fault:?} at {step}");
        }
    }
}

#[test]
fn a_transaction_that_arrives_after_recovery_is_not_carried_out() {
    let fixture = Fixture::new();
    let host = Host::new(&fixture, 1, Some((1, HostFault::DiesBefore)));
    block_on(commit(&host, vec![vote().into()])).unwrap_err();
    let marks = fixture.store.entries().into_iter().find_map(|(key, stored)| match stored {
        StoredValue::Ordered(members) if key.item.as_deref() == Some("outbox.marks") => members.into_keys().next(),
        _ => None,
    });
    let mark = mark::OutboxMark::parse(&marks.unwrap()).unwrap();
    assert_eq!(fixture.recover().voided, 1);
    let late = rules::with_entry(vote(), mark, "{}");
    let outcome = block_on(fixture.store.commit(vec![late])).unwrap();
    assert_eq!(outcome, [Outcome::Refused(0)], "its only check is the one for the void");
    assert_eq!((fixture.count(), fixture.received().len()), (0, 0));
}

#[test]
fn ephemeral_events_are_delivered_at_once_or_not_at_all() {
    let mixed = || vote().address(vec![ANN], Event { durable: false, ..event("poll.typing") });
    let at_once = Fixture::new();
    block_on(commit(&Host::new(&at_once, 1, None), vec![mixed().into()])).unwrap();
    assert_eq!(at_once.received()[&ANN], ["poll.vote", "poll.typing"]);
    let late = Fixture::new();
    block_on(commit(&Host::new(&late, 1, Some((1, HostFault::DiesAfter))), vec![mixed().into()])).unwrap_err();
    late.recover();
    assert_eq!(late.received()[&ANN], ["poll.vote"]);
}

#[test]
fn a_user_who_is_named_twice_receives_the_event_once() {
    let fixture = Fixture::new();
    let twice = vote().address(vec![BOB, ANN, BOB], Event { durable: false, ..event("poll.typing") });
    let twice = twice.address(vec![ANN, ANN], event("poll.closed"));
    block_on(commit(&Host::new(&fixture, 1, None), vec![twice.into()])).unwrap();
    assert_eq!(fixture.received()[&ANN], ["poll.vote", "poll.typing", "poll.closed"]);
    assert_eq!(fixture.received()[&BOB], ["poll.vote", "poll.typing"]);
}

impl OutboxStore for BrokenFeed<Host<'_>> {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    fn new_id(&self) -> Uuid {
        self.store.new_id()
    }

    fn report(&self, event: &OutboxEvent<'_>) {
        self.store.report(event);
    }
}

#[test]
fn a_user_whose_feed_is_broken_does_not_keep_the_event_from_the_others() {
    let fixture = Fixture::new();
    let store = BrokenFeed { store: Host::new(&fixture, 1, None).into(), user: ANN };
    assert_eq!(block_on(commit(&store, vec![vote().into()])).unwrap(), [Outcome::Committed(vec![1])]);
    assert_eq!(fixture.received(), BTreeMap::from([(BOB, vec!["poll.vote".to_owned()])]));
    let reports = store.store.reports.lock().unwrap().clone();
    assert!(reports.len() == 1 && reports[0].starts_with("UserSkipped"), "{reports:?}");
    assert_eq!(fixture.left_over(), Vec::<String>::new());
}

#[test]
fn an_entry_that_cannot_be_delivered_for_long_is_given_up() {
    let fixture = Fixture::new();
    block_on(commit(&Host::new(&fixture, 1, Some((1, HostFault::DiesAfter))), vec![vote().into()])).unwrap_err();
    let entry = fixture.store.entries().into_keys().find(|key| {
        key.owner == Owner::Conversation(GROUP) && key.item.as_deref().is_some_and(|item| item.starts_with("outbox."))
    });
    let entry = entry.unwrap();
    let attempts = Mutation::AddField(entry.clone(), rules::ATTEMPTS.into(), OUTBOX_ATTEMPTS_MAX as i64);
    block_on(fixture.store.commit(vec![Transaction::new(entry.owner).mutate(attempts)])).unwrap();
    assert_eq!(fixture.recover(), OutboxRecovery { dropped: 1, ..OutboxRecovery::default() });
    assert_eq!((fixture.received().len(), fixture.left_over()), (0, vec![]));
}

#[test]
fn a_full_outbox_refuses_the_transaction_and_nothing_happens() {
    let fixture = Fixture::new();
    for shard in 0..OUTBOX_SHARDS {
        let shard = Owner::Shard(shard);
        let full = Mutation::AddField(mark::size(shard), "entries".into(), OUTBOX_ENTRIES_MAX);
        block_on(fixture.store.commit(vec![Transaction::new(shard).mutate(full)])).unwrap();
    }
    let outcomes = block_on(commit(&Host::new(&fixture, 1, None), vec![vote().into()])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Failed(StoreError::Unavailable { .. })]), "{outcomes:?}");
    assert_eq!((fixture.count(), fixture.left_over()), (0, vec![]));
}

#[test]
fn one_call_for_several_users_is_queued_once_with_all_of_them() {
    let fixture = Fixture::new();
    let request = |user: UserId| OutboxRequest {
        transaction: Transaction::new(Owner::User(user)).publish(event("poll.vote")),
        triggers: vec![Trigger { users: vec![user], ..call_of("same") }.into()],
    };
    block_on(commit(&Host::new(&fixture, 1, None), vec![request(ANN), request(BOB)])).unwrap();
    let claimed = block_on(trigger::claim(&fixture.store, "bot", (10, 1), fixture.clock.now())).unwrap().calls;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].trigger.users, [ANN, BOB]);
}

#[test]
fn a_call_has_the_results_that_its_event_carries_unless_recovery_makes_it() {
    let add = Mutation::Add { key: Key::app(Owner::User(ANN), "votes"), delta: 7, floor: None };
    let transaction = Transaction::new(Owner::User(ANN)).mutate(add).publish(event("poll.vote")).with_result("sum", 0);
    let caused = |publication| CausedTrigger { trigger: call_of("1"), publication };
    let payloads = |publication: Option<u32>, fault: Option<(u64, HostFault)>| {
        let fixture = Fixture::new();
        let request = OutboxRequest { transaction: transaction.clone(), triggers: vec![caused(publication)] };
        block_on(commit(&Host::new(&fixture, 1, fault), vec![request])).ok();
        fixture.recover();
        let claimed = block_on(trigger::claim(&fixture.store, "bot", (10, 1), fixture.clock.now())).unwrap().calls;
        let published = fixture.store.published();
        [published[0].1.payload.to_string(), claimed[0].trigger.event.payload.to_string()]
    };
    let (with, without) = (r#"{"votes":1,"sum":7}"#, r#"{"votes":1}"#);
    assert_eq!(payloads(Some(0), None), [with, with]);
    assert_eq!(payloads(Some(0), Some((1, HostFault::DiesAfter))), [with, without]);
    assert_eq!(payloads(None, None), [with, without], "an equal event that is addressed carries nothing");
}

#[test]
fn a_call_names_each_user_once_and_at_most_as_many_as_promised() {
    let fixture = Fixture::new();
    let request = |users: std::ops::Range<u128>| OutboxRequest {
        transaction: Transaction::new(Owner::Conversation(GROUP)),
        triggers: vec![Trigger { users: users.map(UserId::from_u128).collect(), ..call_of("same") }.into()],
    };
    block_on(commit(&Host::new(&fixture, 1, None), vec![request(0..800), request(400..1_200)])).unwrap();
    let claimed = block_on(trigger::claim(&fixture.store, "bot", (10, 1), fixture.clock.now())).unwrap().calls;
    let expected: Vec<UserId> = (0..TRIGGER_USERS_MAX as u128).map(UserId::from_u128).collect();
    assert_eq!(claimed[0].trigger.users, expected);
}

#[test]
fn marks_that_are_no_marks_are_removed() {
    let fixture = Fixture::new();
    let odd = Mutation::OrderedPut(mark::marks(Owner::Shard(3)), "odd".into(), 0);
    block_on(fixture.store.commit(vec![Transaction::new(Owner::Shard(3)).mutate(odd)])).unwrap();
    assert_eq!(fixture.recover(), OutboxRecovery::default());
    assert_eq!(fixture.left_over(), Vec::<String>::new());
}

#[test]
fn pauses_of_recovery_end_before_a_receipt_expires() {
    let pauses = (0..OUTBOX_ATTEMPTS_MAX).map(|attempts| rules::retry_after_ms(attempts).unwrap());
    let all: u64 = pauses.sum::<u64>() + OUTBOX_GRACE_MS;
    assert!(2 * all < RECEIPT_TTL_MS, "{all}");
    assert_eq!(rules::retry_after_ms(OUTBOX_ATTEMPTS_MAX), None);
}
