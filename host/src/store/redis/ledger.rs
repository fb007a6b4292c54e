//! What the items of a function take in one slot, as the script that carries out transactions reports it, and what a
//! host knows about all slots.
//!
//! Rules only: `app_totals` exchanges what is known with the other hosts of a Cluster.

use std::collections::{BTreeMap, HashMap};

use roost_core::port::AppBound;

/// The state of a ledger at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LedgerState {
    /// What all items of the function take in the slot.
    pub(super) bytes: u64,
    /// The time on the clock of the server, in microseconds.
    pub(super) at_us: u64,
}

impl LedgerState {
    /// Reads the form that the script returns: `<bytes>@<microseconds>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (bytes, at_us) = text.split_once('@')?;
        Some(Self { bytes: bytes.parse().ok()?, at_us: at_us.parse().ok()? })
    }
}

/// What a host knows about the ledgers of one function.
#[derive(Debug, Default)]
pub(super) struct KnownLedgers {
    /// The sum over all slots that all hosts shared last.
    shared_sum: u64,
    /// What the slots below have beyond the part of the shared sum that is theirs.
    unshared: i64,
    slots: HashMap<u16, KnownLedger>,
}

/// What a host knows about the ledger of one slot.
#[derive(Debug, Default)]
struct KnownLedger {
    newest: LedgerState,
    /// The state that the shared sum contains. A transaction can change the ledger while the sum is on its way.
    shared: LedgerState,
}

impl KnownLedgers {
    /// The bound on the ledger of a slot: what the ledgers of all other slots leave. The second value says whether this
    /// slot is known. Otherwise what it has may be part of the sum, and the bound is too low by that.
    pub(super) fn bound_of(&self, slot: u16, bound: AppBound) -> (AppBound, bool) {
        let own = self.slots.get(&slot);
        let sum = self.shared_sum.saturating_add_signed(self.unshared);
        let others = sum.saturating_sub(own.map_or(0, |known| known.newest.bytes));
        (AppBound(bound.0.saturating_sub(others)), own.is_some())
    }

    /// Notes the state of a slot, unless a newer one is known.
    pub(super) fn note(&mut self, slot: u16, state: LedgerState) {
        let known = self.slots.entry(slot).or_default();
        if state.at_us >= known.newest.at_us {
            self.unshared += change(known.newest, state);
            known.newest = state;
        }
    }

    /// Notes the sum that all hosts together know after this host has shared these states.
    pub(super) fn note_sum(&mut self, sum: u64, shared: &BTreeMap<u16, LedgerState>) {
        self.shared_sum = sum;
        for (slot, state) in shared {
            self.note(*slot, *state);
            let known = self.slots.entry(*slot).or_default();
            if state.at_us >= known.shared.at_us {
                self.unshared -= change(known.shared, *state);
                known.shared = *state;
            }
        }
    }
}

fn change(from: LedgerState, to: LedgerState) -> i64 {
    to.bytes.cast_signed().saturating_sub(from.bytes.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: AppBound = AppBound(1_000);

    fn state(bytes: u64, at_us: u64) -> LedgerState {
        LedgerState { bytes, at_us }
    }

    #[test]
    fn a_state_is_read_from_the_text_of_the_script() {
        assert_eq!(LedgerState::parse("522@1790000000000000"), Some(state(522, 1_790_000_000_000_000)));
        for other in ["", "522", "@", "a@1", "1@b", "-1@1", "1@1@1"] {
            assert_eq!(LedgerState::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_slot_may_take_what_the_others_leave() {
        let mut known = KnownLedgers::default();
        assert_eq!(known.bound_of(7, BOUND), (BOUND, false));
        known.note(7, state(300, 1));
        known.note(8, state(200, 1));
        assert_eq!(known.bound_of(7, BOUND), (AppBound(800), true));
        assert_eq!(known.bound_of(9, BOUND), (AppBound(500), false));
        known.note_sum(900, &BTreeMap::from([(7, state(300, 1)), (8, state(200, 1))]));
        assert_eq!(known.bound_of(7, BOUND), (AppBound(400), true), "other hosts have added 400");
        known.note(7, state(0, 2));
        assert_eq!(known.bound_of(8, BOUND), (AppBound(600), true));
        known.note_sum(5_000, &BTreeMap::from([(7, state(0, 2))]));
        assert_eq!(known.bound_of(8, BOUND), (AppBound(0), true));
    }

    #[test]
    fn an_older_state_changes_nothing() {
        let mut known = KnownLedgers::default();
        known.note(7, state(300, 5));
        known.note(7, state(900, 4));
        assert_eq!(known.bound_of(8, BOUND).0, AppBound(700));
    }

    #[test]
    fn a_sum_that_was_shared_before_a_transaction_does_not_hide_it() {
        let mut known = KnownLedgers::default();
        known.note(7, state(300, 1));
        known.note(7, state(500, 2));
        known.note_sum(300, &BTreeMap::from([(7, state(300, 1))]));
        assert_eq!(known.bound_of(8, BOUND).0, AppBound(500));
        assert_eq!(known.bound_of(7, BOUND).0, BOUND);
        known.note_sum(500, &BTreeMap::from([(7, state(500, 2))]));
        assert_eq!(known.bound_of(8, BOUND).0, AppBound(500));
        assert_eq!(known.bound_of(7, BOUND).0, BOUND);
    }
}
