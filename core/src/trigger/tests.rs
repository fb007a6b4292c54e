//! Queues of calls: each publication once, leases, attempts, and bounds.

use super::*;
use crate::key::{Key, Owner, Space};
use crate::limits::{
    TRIGGER_ATTEMPTS_MAX, TRIGGER_DONE_MAX, TRIGGER_DONE_TTL_MS, TRIGGER_QUEUE_BYTES_MAX, TRIGGER_QUEUE_MAX,
    TRIGGER_RETRY_MS, TRIGGER_RETRY_MS_MAX,
};
use crate::port::{Clock, KeyValue, Mutation, Outcome, Transaction};
use crate::testing::{FakeStore, ManualClock, StoredValue, block_on};
use crate::time::Timestamp;

const LEASE_MS: u64 = 10_000;

struct Fixture {
    store: FakeStore,
    clock: ManualClock,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self { store: FakeStore::new(clock.clone()), clock }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn enqueue(&self, triggers: &[Trigger]) -> Vec<EnqueueOutcome> {
        block_on(enqueue(&self.store, triggers, self.now())).unwrap()
    }

    fn claim(&self, limit: u32) -> Vec<ClaimedTrigger> {
        let claim = self.claim_all(limit);
        assert_eq!(claim.dropped, []);
        claim.calls
    }

    fn claim_all(&self, limit: u32) -> QueueClaim {
        block_on(claim(&self.store, "bot", (limit, LEASE_MS), self.now())).unwrap()
    }

    /// The key of a call that was queued.
    fn entry(&self, id: &str) -> Key {
        let item = format!("call.bot.{id}");
        self.store.entries().into_keys().find(|key| key.item.as_deref() == Some(item.as_str())).unwrap()
    }

    fn change(&self, mutation: Mutation) {
        let transaction = Transaction::new(mutation.key().owner).mutate(mutation);
        let outcomes = block_on(self.store.commit(vec![transaction])).unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
    }

    fn claim_one(&self) -> ClaimedTrigger {
        self.claim(10).pop().expect("a call is due")
    }

    fn finish(&self, claimed: &ClaimedTrigger) -> bool {
        block_on(finish(&self.store, claimed)).unwrap()
    }

    fn postpone(&self, claimed: &ClaimedTrigger, after_ms: u64, is_attempt: bool) -> bool {
        block_on(postpone(&self.store, claimed, self.now().plus(after_ms), is_attempt)).unwrap()
    }

    fn length(&self) -> u64 {
        block_on(length(&self.store, &["bot".to_owned()])).unwrap()["bot"]
    }
}

fn trigger(id: &str) -> Trigger {
    let event = Event { name: "message.new".into(), payload: "{\"seq\":1}".into(), durable: true };
    Trigger { function: "bot".into(), id: id.into(), event, users: vec![UserId::from_u128(7)], depth: 0 }
}

#[test]
fn a_call_is_queued_once_claimed_once_and_gone_when_it_was_made() {
    let fixture = Fixture::new();
    let queued = fixture.enqueue(&[trigger("1"), trigger("2"), trigger("1")]);
    assert_eq!(queued, [EnqueueOutcome::Queued, EnqueueOutcome::Queued, EnqueueOutcome::Known]);
    assert_eq!(fixture.length(), 2);
    let claimed = fixture.claim(10);
    let seen: Vec<_> = claimed.iter().map(|claimed| (claimed.trigger.clone(), claimed.attempt)).collect();
    assert_eq!(seen, [(trigger("1"), 1), (trigger("2"), 1)]);
    assert_eq!(fixture.claim(10), [], "both are claimed");
    assert!(claimed.iter().all(|claimed| fixture.finish(claimed)));
    assert_eq!(fixture.length(), 0);
    assert_eq!(fixture.enqueue(&[trigger("1")]), [EnqueueOutcome::Known], "it was made a moment ago");
    fixture.clock.advance(TRIGGER_DONE_TTL_MS);
    assert_eq!(fixture.enqueue(&[trigger("1")]), [EnqueueOutcome::Queued]);
}

#[test]
fn a_call_whose_host_died_is_made_again_after_its_lease() {
    let fixture = Fixture::new();
    fixture.enqueue(&[trigger("1")]);
    let lost = fixture.claim_one();
    fixture.clock.advance(LEASE_MS - 1);
    assert_eq!(fixture.claim(10), []);
    fixture.clock.advance(1);
    let again = fixture.claim_one();
    assert_eq!((again.attempt, &again.trigger), (2, &lost.trigger));
    assert!(!fixture.finish(&lost), "the lease has ended");
    assert!(fixture.finish(&again));
}

#[test]
fn a_failed_call_waits_and_only_attempts_that_count_are_counted() {
    let fixture = Fixture::new();
    fixture.enqueue(&[trigger("1")]);
    assert!(fixture.postpone(&fixture.claim_one(), 500, true));
    assert_eq!(fixture.claim(10), []);
    fixture.clock.advance(500);
    let second = fixture.claim_one();
    assert_eq!(second.attempt, 2);
    assert!(fixture.postpone(&second, 0, false));
    let third = fixture.claim_one();
    assert_eq!(third.attempt, 2, "the function was busy, which is no attempt");
    fixture.clock.advance(LEASE_MS);
    fixture.claim_one();
    assert!(!fixture.postpone(&third, 0, true), "the lease has ended");
}

#[test]
fn pauses_grow_to_a_bound_and_attempts_end() {
    assert_eq!(retry_after_ms(1), Some(TRIGGER_RETRY_MS));
    assert_eq!(retry_after_ms(2), Some(2 * TRIGGER_RETRY_MS));
    assert_eq!(retry_after_ms(TRIGGER_ATTEMPTS_MAX - 1), Some(TRIGGER_RETRY_MS_MAX));
    assert_eq!(retry_after_ms(TRIGGER_ATTEMPTS_MAX), None);
    assert_eq!(retry_after_ms(u32::MAX), None);
}

#[test]
fn the_longest_due_call_is_claimed_first_and_the_limit_holds() {
    let fixture = Fixture::new();
    for id in ["b", "c", "a"] {
        fixture.enqueue(&[trigger(id)]);
        fixture.clock.advance(1);
    }
    let ids = |claimed: Vec<ClaimedTrigger>| claimed.into_iter().map(|claimed| claimed.trigger.id).collect::<Vec<_>>();
    assert_eq!(ids(fixture.claim(2)), ["b", "c"]);
    assert_eq!(ids(fixture.claim(2)), ["a"]);
}

/// Adds to the size of the queue, as so many entries or bytes would.
fn fill(fixture: &Fixture, field: &'static str, amount: i64) {
    let size = rules::QueueKeys::of("bot").size();
    let add = Mutation::AddField(size.clone(), field.into(), amount);
    block_on(fixture.store.commit(vec![Transaction::new(size.owner).mutate(add)])).unwrap();
}

#[test]
fn a_full_queue_refuses_further_calls_until_one_was_made() {
    let fixture = Fixture::new();
    fill(&fixture, rules::ENTRIES, TRIGGER_QUEUE_MAX - 1);
    let both = fixture.enqueue(&[trigger("1"), trigger("2")]);
    assert_eq!(both, [EnqueueOutcome::Queued, EnqueueOutcome::Full]);
    assert_eq!(fixture.length() as i64, TRIGGER_QUEUE_MAX);
    assert!(fixture.finish(&fixture.claim_one()));
    assert_eq!(fixture.enqueue(&[trigger("x"), trigger("y")]), [EnqueueOutcome::Queued, EnqueueOutcome::Full]);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let fixture = Fixture::new();
    fill(&fixture, rules::BYTES, TRIGGER_QUEUE_BYTES_MAX - 1);
    let event = Event { payload: "1".repeat(100_000).into(), ..trigger("").event };
    let large = |id: &str| Trigger { event: event.clone(), ..trigger(id) };
    assert_eq!(fixture.enqueue(&[large("1"), large("2")]), [EnqueueOutcome::Queued, EnqueueOutcome::Full]);
    let claimed = fixture.claim_one();
    assert_eq!(claimed.trigger, large("1"), "a long call is stored in parts");
    assert!(fixture.finish(&claimed));
    assert_eq!(fixture.enqueue(&[large("3")]), [EnqueueOutcome::Queued], "its bytes are free again");
}

#[test]
fn the_number_of_calls_that_are_noted_as_made_is_bounded() {
    let fixture = Fixture::new();
    fixture.enqueue(&[trigger("1"), trigger("2")]);
    let claimed = fixture.claim(10);
    let notes = rules::QueueKeys::of("bot").notes(fixture.now().plus(LEASE_MS).score());
    fixture.change(Mutation::AddField(notes, rules::ENTRIES.into(), TRIGGER_DONE_MAX - 1));
    assert!(claimed.iter().all(|claimed| fixture.finish(claimed)));
    assert_eq!(fixture.length(), 0);
    assert_eq!(fixture.enqueue(&[trigger("1"), trigger("2")]), [EnqueueOutcome::Known, EnqueueOutcome::Queued]);
}

#[test]
fn queues_of_two_functions_do_not_mix() {
    let fixture = Fixture::new();
    let other = Trigger { function: "other".into(), ..trigger("1") };
    assert_eq!(fixture.enqueue(&[trigger("1"), other]), [EnqueueOutcome::Queued, EnqueueOutcome::Queued]);
    assert_eq!(fixture.claim(10).len(), 1);
    assert_eq!(block_on(claim(&fixture.store, "other", (10, LEASE_MS), fixture.now())).unwrap().calls.len(), 1);
}

fn dropped(id: &str, reason: DropReason) -> DroppedTrigger {
    DroppedTrigger { id: id.into(), reason }
}

#[test]
fn an_entry_that_cannot_be_read_is_removed() {
    let overwrite = |field: &'static str, text: &'static str| {
        move |key: Key| Mutation::SetFields(key, vec![(field.into(), text.into())])
    };
    let changes: [Box<dyn Fn(Key) -> Mutation>; 4] = [
        Box::new(overwrite("0000", "{")),
        Box::new(overwrite(rules::ATTEMPTS, "many")),
        Box::new(|key| Mutation::Set(key, b"another type".to_vec(), None)),
        Box::new(Mutation::Delete),
    ];
    for change in changes {
        let fixture = Fixture::new();
        fixture.enqueue(&[trigger("1"), trigger("2")]);
        fixture.change(change(fixture.entry("1")));
        let claim = fixture.claim_all(10);
        assert_eq!(claim.dropped, [dropped("1", DropReason::Unreadable)]);
        assert_eq!((claim.calls.len(), claim.calls[0].trigger.id.as_str(), fixture.length()), (1, "2", 1));
    }
}

#[test]
fn a_call_that_kills_its_host_is_given_up_after_all_attempts() {
    let fixture = Fixture::new();
    fixture.enqueue(&[trigger("1")]);
    for attempt in 1..=TRIGGER_ATTEMPTS_MAX {
        assert_eq!(fixture.claim_one().attempt, attempt);
        fixture.clock.advance(LEASE_MS);
    }
    let claim = fixture.claim_all(10);
    assert_eq!((claim.calls, claim.dropped), (vec![], vec![dropped("1", DropReason::AttemptsUsedUp)]));
    assert_eq!(fixture.length(), 0);
}

#[test]
fn the_longest_names_make_valid_keys() {
    let fixture = Fixture::new();
    let id = change_id(ConversationId::from_u128(u128::MAX), Seq(u64::MAX));
    assert_eq!(id.len(), 57);
    let long = Trigger { function: "f".repeat(64), id, ..trigger("") };
    assert_eq!(fixture.enqueue(&[long]), [EnqueueOutcome::Queued]);
}

#[test]
fn everything_expires_when_the_function_is_called_no_more() {
    let fixture = Fixture::new();
    fixture.enqueue(&[trigger("1")]);
    let is_host = |key: &Key| key.space == Space::Host && matches!(key.owner, Owner::Shard(_));
    assert!(fixture.store.entries().keys().all(is_host));
    assert!(matches!(fixture.store.dump().values().next(), Some(StoredValue::Hash(_))));
    fixture.clock.advance(crate::limits::TRIGGER_ENTRY_TTL_MS);
    assert!(fixture.store.dump().is_empty());
}
