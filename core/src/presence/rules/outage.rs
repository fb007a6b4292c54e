//! The rule of an outage of the store: for a while after it nobody departs, because nobody could send a heartbeat.
//!
//! Each sweep of a shard notes when it ran. A sweep that finds an old note knows that no host has reached the store
//! since: it holds departures until a whole interval of heartbeats has passed, and notes this for the sweeps of all
//! hosts. If only some hosts are cut off, the sweeps of the others go on; `cut_off` has the rule for this.

use crate::key::{Key, Owner, Space};
use crate::limits::{DEPARTURE_HOLD_MS, SWEEP_GAP_MS, SWEEP_NOTE_INTERVAL_MS};
use crate::port::{Check, Mutation, Query, StoreError, Text, Transaction, Value};
use crate::store_answers::unexpected;
use crate::time::Timestamp;

pub(crate) const SWEPT_AT: &str = "swept_at";
pub(crate) const HELD_UNTIL: &str = "held_until";

/// What the sweeps of a shard have noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SweepNote {
    shard: u32,
    /// When the last sweep ran, as it is stored; `None` if none has.
    swept_at: Option<String>,
    /// Until when nobody departs.
    held_until: Option<Timestamp>,
}

/// Whether a sweep may take users offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departures {
    /// Users whose deadline has passed may depart until this time. Later, the store may have been away since the
    /// deadlines were read.
    AllowedUntil(Timestamp),
    /// Nobody departs before this time.
    HeldUntil(Timestamp),
}

impl Departures {
    /// The time before which nobody departs; `None` if users may depart now.
    pub(crate) fn held_until(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::AllowedUntil(until) => (now > until).then(|| now.plus(DEPARTURE_HOLD_MS)),
            Self::HeldUntil(until) => Some(until),
        }
    }
}

impl SweepNote {
    /// The query for the note of a shard. It is asked together with the deadlines, so that both are from one instant.
    pub(crate) fn query(shard: u32) -> Query {
        Query::NamedFields(key(shard), [SWEPT_AT, HELD_UNTIL].map(str::to_owned).into())
    }

    /// Parses the answer to [`SweepNote::query`].
    pub(crate) fn parse(shard: u32, value: Option<Value>) -> Result<Self, StoreError> {
        let Some(Value::NamedFields(fields)) = value else { return Err(unexpected("the fields of a sweep's note")) };
        let Ok([swept_at, held_until]) = <[Option<String>; 2]>::try_from(fields) else {
            return Err(unexpected("two fields of a sweep's note"));
        };
        Ok(Self { shard, swept_at, held_until: held_until.and_then(|text| timestamp(&text)) })
    }

    /// Decides whether users may depart, and what is noted: nothing, if the last note is recent.
    ///
    /// Without a note nobody has swept the shard yet. That is an outage only if somebody is due already, because that
    /// takes several sweeps.
    pub(crate) fn decide(&self, is_anybody_due: bool, now: Timestamp) -> (Departures, Option<Transaction>) {
        let swept_at = self.swept_at.as_deref().and_then(timestamp);
        // A note from the future is from before the clock was set back, and says nothing.
        let was_away = swept_at.map_or(is_anybody_due, |at| at.0.abs_diff(now.0) > SWEEP_GAP_MS);
        if was_away {
            let until = now.plus(DEPARTURE_HOLD_MS);
            return (Departures::HeldUntil(until), Some(self.replace(now, Some(until))));
        }
        let departures = match self.held_until {
            Some(until) if until > now => Departures::HeldUntil(until),
            _ => Departures::AllowedUntil(now.plus(SWEEP_GAP_MS)),
        };
        let is_old = swept_at.is_none_or(|at| at.plus(SWEEP_NOTE_INTERVAL_MS) <= now);
        (departures, is_old.then(|| self.replace(now, None)))
    }

    /// Notes that a sweep ran, unless another sweep has noted it since.
    fn replace(&self, now: Timestamp, held_until: Option<Timestamp>) -> Transaction {
        let before = self.swept_at.clone().map(Text::from);
        let mut fields: Vec<(Text, Text)> = vec![(SWEPT_AT.into(), now.0.to_string().into())];
        fields.extend(held_until.map(|until| (HELD_UNTIL.into(), until.0.to_string().into())));
        Transaction::new(Owner::Shard(self.shard))
            .check(Check::FieldEquals(key(self.shard), SWEPT_AT.into(), before))
            .mutate(Mutation::SetFields(key(self.shard), fields))
    }
}

const fn key(shard: u32) -> Key {
    Key::new(Space::PresenceSweep, Owner::Shard(shard))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const ALLOWED: Departures = Departures::AllowedUntil(Timestamp(1_000_000 + SWEEP_GAP_MS));
    const HELD: Departures = Departures::HeldUntil(Timestamp(1_000_000 + DEPARTURE_HOLD_MS));

    fn note(swept_at: Option<&str>, held_until: Option<&str>) -> SweepNote {
        let fields = [swept_at, held_until].map(|field| field.map(str::to_owned)).into();
        SweepNote::parse(3, Some(Value::NamedFields(fields))).unwrap()
    }

    /// What is decided for a shard in which somebody is due, and whether it is noted.
    fn decide(swept_at: Option<u64>, held_until: Option<u64>) -> (Departures, bool) {
        let text = |number: Option<u64>| number.map(|number| number.to_string());
        let (departures, noted) = note(text(swept_at).as_deref(), text(held_until).as_deref()).decide(true, NOW);
        (departures, noted.is_some())
    }

    #[test]
    fn users_depart_while_sweeps_run() {
        assert_eq!(decide(Some(NOW.0 - SWEEP_NOTE_INTERVAL_MS + 1), None), (ALLOWED, false));
        assert_eq!(decide(Some(NOW.0 - SWEEP_NOTE_INTERVAL_MS), None), (ALLOWED, true));
        assert_eq!(decide(Some(NOW.0 - SWEEP_GAP_MS), None), (ALLOWED, true));
    }

    #[test]
    fn nobody_departs_after_a_gap_until_a_whole_interval_has_passed() {
        assert_eq!(decide(Some(NOW.0 - SWEEP_GAP_MS - 1), None), (HELD, true));
        assert_eq!(decide(Some(NOW.0), Some(NOW.0 + 1)), (Departures::HeldUntil(NOW.plus(1)), false));
        assert_eq!(decide(Some(NOW.0), Some(NOW.0)), (ALLOWED, false));
    }

    #[test]
    fn another_gap_prolongs_the_hold() {
        assert_eq!(decide(Some(NOW.0 - SWEEP_GAP_MS - 1), Some(NOW.0 + 1)), (HELD, true));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nobody_for_longer_than_an_outage() {
        assert_eq!(decide(Some(NOW.0 + 3_600_000), Some(NOW.0 + 3_630_000)), (HELD, true));
        assert_eq!(decide(Some(NOW.0 + 3), None), (ALLOWED, false), "two hosts with slightly different clocks");
    }

    #[test]
    fn a_shard_that_was_never_swept_is_held_only_if_somebody_is_due() {
        assert_eq!(decide(None, None), (HELD, true));
        let (departures, noted) = note(None, None).decide(false, NOW);
        assert_eq!((departures, noted.is_some()), (ALLOWED, true));
        assert_eq!(note(Some("yesterday"), None).decide(true, NOW).0, HELD);
    }

    #[test]
    fn a_note_replaces_only_the_one_that_was_read() {
        let key = key(3);
        for before in [None, Some("17")] {
            let (_, noted) = note(before, None).decide(true, NOW);
            let expected = Check::FieldEquals(key.clone(), SWEPT_AT.into(), before.map(Text::from));
            let noted = noted.unwrap();
            assert_eq!((noted.owner, noted.checks), (Owner::Shard(3), vec![expected]));
            let fields = vec![
                (SWEPT_AT.into(), NOW.0.to_string().into()),
                (HELD_UNTIL.into(), NOW.plus(DEPARTURE_HOLD_MS).0.to_string().into()),
            ];
            assert_eq!(noted.mutations, [Mutation::SetFields(key.clone(), fields)]);
        }
    }

    #[test]
    fn a_page_that_was_read_long_ago_takes_nobody_offline() {
        let until = NOW.plus(SWEEP_GAP_MS);
        assert_eq!(ALLOWED.held_until(until), None);
        assert_eq!(ALLOWED.held_until(until.plus(1)), Some(until.plus(1 + DEPARTURE_HOLD_MS)));
        assert_eq!(HELD.held_until(NOW), Some(NOW.plus(DEPARTURE_HOLD_MS)));
    }

    #[test]
    fn an_answer_of_another_type_is_an_error() {
        assert!(SweepNote::parse(3, Some(Value::Missing)).is_err() && SweepNote::parse(3, None).is_err());
        assert!(SweepNote::parse(3, Some(Value::NamedFields(vec![None]))).is_err());
    }
}
