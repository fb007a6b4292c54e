//! Who may do the work of a slot: two hosts, hosts that die, answers that are lost, and clocks that are set.

use super::*;
use crate::testing::{FakeStore, ManualClock, block_on};

const EVERY_MS: u64 = 1_000;
const LEASE_MS: u64 = 3_500;

struct Fixture {
    store: FakeStore,
    clock: ManualClock,
    work: RepeatedWork,
}

impl Fixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        let work = RepeatedWork { name: "presence.sweep.3".into(), every_ms: EVERY_MS, lease_ms: LEASE_MS };
        let fixture = Self { store: FakeStore::new(clock.clone()), clock, work };
        fixture.next_slot();
        fixture
    }

    fn now(&self) -> Timestamp {
        use crate::port::Clock;
        self.clock.now()
    }

    /// Advances to the start of the next slot.
    fn next_slot(&self) {
        self.clock.advance(self.work.next_slot_in_ms(self.now()));
    }

    fn claim(&self, holder: &str) -> Option<ClaimedSlot> {
        block_on(claim(&self.store, &self.work, holder, self.now())).unwrap()
    }

    fn release(&self, slot: &ClaimedSlot, holder: &str) {
        block_on(release(&self.store, &self.work, slot, holder)).unwrap();
    }
}

#[test]
fn slots_have_equal_lengths_and_begin_at_different_times_for_different_work() {
    let work = |name: &str| RepeatedWork { name: name.into(), every_ms: EVERY_MS, lease_ms: 1 };
    let mut starts = std::collections::BTreeSet::new();
    for number in 0..16 {
        let work = work(&format!("work.{number}"));
        let now = Timestamp(1_790_000_000_123);
        let start = work.slot_start(now);
        assert!(start <= now && now.0 - start.0 < EVERY_MS);
        assert_eq!(work.slot_start(start.plus(EVERY_MS - 1)), start);
        assert_eq!(work.slot_start(start.plus(EVERY_MS)), start.plus(EVERY_MS));
        assert_eq!(now.plus(work.next_slot_in_ms(now)), start.plus(EVERY_MS));
        starts.insert(start.0 % EVERY_MS);
    }
    assert!(starts.len() > 10, "{starts:?}");
}

#[test]
fn a_slot_is_claimed_once_and_the_next_one_after_the_release() {
    let fixture = Fixture::new();
    let slot = fixture.claim("a").unwrap();
    assert_eq!((fixture.claim("b"), fixture.claim("a")), (None, None), "the slot is claimed");
    fixture.release(&slot, "a");
    assert_eq!(fixture.claim("b"), None, "a released slot is done");
    fixture.next_slot();
    assert!(fixture.claim("b").is_some());
}

#[test]
fn work_that_takes_longer_than_a_slot_is_not_begun_by_another_host() {
    let fixture = Fixture::new();
    let slot = fixture.claim("a").unwrap();
    fixture.next_slot();
    assert_eq!(fixture.claim("b"), None);
    fixture.release(&slot, "a");
    assert!(fixture.claim("b").is_some());
}

#[test]
fn a_host_that_dies_blocks_the_work_until_its_lease_ends() {
    let fixture = Fixture::new();
    fixture.claim("a").unwrap();
    let mut claimed_after = 0;
    while fixture.claim("b").is_none() {
        fixture.next_slot();
        claimed_after += EVERY_MS;
    }
    assert_eq!(claimed_after, 4_000, "the first slot after the lease");
}

#[test]
fn a_host_whose_claim_was_answered_by_an_error_is_not_blocked_by_it() {
    let fixture = Fixture::new();
    fixture.claim("a").unwrap();
    fixture.next_slot();
    assert!(fixture.claim("a").is_some(), "it knows that it is not at work");
}

#[test]
fn a_late_release_does_not_end_the_lease_of_another_host() {
    let fixture = Fixture::new();
    let late = fixture.claim("a").unwrap();
    fixture.clock.advance(LEASE_MS);
    fixture.next_slot();
    fixture.claim("b").unwrap();
    fixture.release(&late, "a");
    fixture.next_slot();
    assert_eq!(fixture.claim("a"), None);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_work() {
    let fixture = Fixture::new();
    fixture.clock.advance(3_600_000);
    let slot = fixture.claim("a").unwrap();
    fixture.release(&slot, "a");
    let back = Timestamp(fixture.now().0 - 3_600_000);
    fixture.clock.set(back);
    assert!(fixture.claim("b").is_some(), "a record from the future says nothing");
}

#[test]
fn two_hosts_whose_clocks_differ_slightly_do_not_repeat_a_slot() {
    let fixture = Fixture::new();
    let now = fixture.now();
    let claim_at =
        |holder: &str, at: Timestamp| block_on(claim(&fixture.store, &fixture.work, holder, at)).unwrap().is_some();
    let slot = fixture.claim("ahead").unwrap();
    fixture.release(&slot, "ahead");
    assert!(!claim_at("behind", now.minus(20)), "for this host it is still the slot before");
}

#[test]
fn a_record_that_makes_no_sense_is_replaced() {
    let fixture = Fixture::new();
    let key = fixture.work.key();
    let broken = Mutation::SetFields(key.clone(), vec![(SLOT.into(), "soon".into())]);
    block_on(fixture.store.commit(vec![Transaction::new(key.owner).mutate(broken)])).unwrap();
    assert!(fixture.claim("a").is_some());
    assert_eq!(fixture.claim("b"), None);
}

#[test]
fn the_record_expires_when_nobody_repeats_the_work_any_more() {
    let fixture = Fixture::new();
    let slot = fixture.claim("a").unwrap();
    fixture.release(&slot, "a");
    fixture.clock.advance(SLOT_RECORD_TTL_MS);
    assert!(fixture.store.dump().is_empty());
}
