//! The rule of a host that is cut off from the store while other hosts reach it: it is nobody's departure.
//!
//! The heartbeats of such a host fail. It notes in the records, which all hosts share, until when nobody departs, and
//! renews the note as long as heartbeats fail. Sweeps read the note before they take users offline whose heartbeats
//! have stopped. A user who left is not held: the disconnect of the last device shortens the deadline.

use super::record::{PresenceRecord, lose_device};
use super::sweep::DueEntry;
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::limits::{
    CUT_OFF_HOLD_LEFT_MS, CUT_OFF_HOLD_MS, CUT_OFF_MS_MAX, CUT_OFF_RETRY_MS, PRESENCE_GRACE_MS, PRESENCE_TTL_MS,
};
use crate::port::{Answer, Check, Document, DocumentKey, DocumentPut, RecordsError, Transaction};
use crate::time::Timestamp;

/// The document that holds the note of all hosts that are cut off: a time in milliseconds.
pub(crate) fn document() -> DocumentKey {
    DocumentKey::new(Owner::Shard(0), "departures_held_until")
}

/// What hosts that are cut off have noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutOffNote {
    /// The version of the document; `None` if it does not exist.
    version: Option<u64>,
    /// Until when nobody departs, as it was noted.
    held_until: Option<Timestamp>,
}

impl CutOffNote {
    /// Parses the document.
    pub(crate) fn parse(document: Option<&Document>) -> Self {
        let held_until = document.and_then(|document| document.json.parse().ok()).map(Timestamp);
        Self { version: document.map(|document| document.version), held_until }
    }

    /// The time before which nobody departs; `None` if no host is cut off. A time that is too far ahead was noted by a
    /// clock that is wrong.
    fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.held_until.filter(|until| *until > now && *until <= now.plus(2 * CUT_OFF_HOLD_MS))
    }

    /// What a host notes whose heartbeats fail; `None` if the note lasts long enough.
    pub(crate) fn renew(&self, now: Timestamp) -> Option<DocumentPut> {
        let lasts = self.held_until(now).is_some_and(|until| until >= now.plus(CUT_OFF_HOLD_LEFT_MS));
        (!lasts).then(|| DocumentPut::new(document(), now.plus(CUT_OFF_HOLD_MS).0.to_string(), self.version))
    }
}

/// The time before which users do not depart who may be connected to a host that is cut off; `None` if they may depart
/// now.
///
/// If the records do not answer, the users wait: their departure could not be announced, because the records know their
/// contacts. In records without documents no host can note anything.
pub(crate) fn held_until(note: &Answer<CutOffNote>, now: Timestamp) -> Option<Timestamp> {
    match note {
        Ok(note) => note.held_until(now),
        Err(RecordsError::Unavailable { .. }) => Some(now.plus(CUT_OFF_RETRY_MS)),
        Err(_) => None,
    }
}

/// Whether a user whose deadline has passed may be connected to a host that is cut off.
///
/// A heartbeat sets the deadline to [`PRESENCE_TTL_MS`] after `last_seen`, and sweeps postpone it. Only the disconnect
/// of the last device sets it earlier: to the end of the grace period. The grace period is also the tolerance for whole
/// seconds and for clocks that differ, so a user who disconnects long after a heartbeat counts as one who may be
/// connected. So does a user who has lost another device before.
pub(crate) fn may_be_connected(due: &DueEntry, record: &PresenceRecord, now: Timestamp) -> bool {
    let is_recent = |at: Timestamp| now <= at.plus(CUT_OFF_MS_MAX);
    let Some(last_seen) = record.last_seen.filter(|at| is_recent(*at)) else { return false };
    let has_left = due.score <= last_seen.plus(PRESENCE_TTL_MS - PRESENCE_GRACE_MS).score();
    !has_left || record.device_lost_at.is_some_and(is_recent)
}

/// What is written about a user whose departure is held: the entry is due at the end of the hold, and the device is
/// noted as lost, unless it was before, so that the disconnect of another device is not the departure of the user.
pub(crate) fn hold(
    (user, due, record): (UserId, DueEntry, &PresenceRecord),
    until: Timestamp,
    now: Timestamp,
) -> Vec<Transaction> {
    let mut transactions = vec![due.postpone(until)];
    if record.device_lost_at <= record.last_seen {
        let offline = Check::Absent(Key::of_user(Space::Online, user));
        transactions.push(Transaction::new(Owner::User(user)).check(offline).mutate(lose_device(user, now)));
    }
    transactions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DEPARTURE_HOLD_MS, HEARTBEAT_INTERVAL_MS};
    use crate::port::Mutation;
    use crate::presence::rules::record::Status;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);
    const USER: UserId = UserId::from_u128(7);

    fn note(held_until: Timestamp) -> CutOffNote {
        CutOffNote::parse(Some(&Document { version: 3, json: held_until.0.to_string() }))
    }

    #[test]
    fn a_note_holds_until_its_time() {
        let until = NOW.plus(CUT_OFF_HOLD_MS);
        for now in [NOW, NOW.plus(CUT_OFF_HOLD_MS - 1)] {
            assert_eq!(held_until(&Ok(note(until)), now), Some(until));
        }
        assert_eq!(held_until(&Ok(note(until)), until), None);
        assert_eq!(held_until(&Ok(CutOffNote::parse(None)), NOW), None);
        let unreadable = Document { version: 3, json: "\"tomorrow\"".into() };
        assert_eq!(held_until(&Ok(CutOffNote::parse(Some(&unreadable))), NOW), None);
    }

    #[test]
    fn a_time_from_a_clock_that_is_far_ahead_is_not_believed() {
        let latest = NOW.plus(2 * CUT_OFF_HOLD_MS);
        assert_eq!(held_until(&Ok(note(latest)), NOW), Some(latest));
        assert_eq!(held_until(&Ok(note(latest.plus(1))), NOW), None);
        let put = note(latest.plus(1)).renew(NOW).unwrap();
        assert_eq!((put.json, put.expected), (NOW.plus(CUT_OFF_HOLD_MS).0.to_string(), Some(3)), "it is replaced");
    }

    #[test]
    fn a_note_is_renewed_before_it_ends() {
        let until = NOW.plus(CUT_OFF_HOLD_MS).0.to_string();
        let first = CutOffNote::parse(None).renew(NOW).unwrap();
        assert_eq!((first.key, first.json, first.expected), (document(), until.clone(), None));
        assert_eq!(note(NOW.plus(CUT_OFF_HOLD_LEFT_MS)).renew(NOW), None);
        let renewed = note(NOW.plus(CUT_OFF_HOLD_LEFT_MS - 1)).renew(NOW).unwrap();
        assert_eq!((renewed.json, renewed.expected), (until, Some(3)));
    }

    #[test]
    fn departures_wait_for_records_that_do_not_answer_and_for_no_others() {
        let unavailable = Err(RecordsError::Unavailable { retry_after_ms: 1 });
        assert_eq!(held_until(&unavailable, NOW), Some(NOW.plus(CUT_OFF_RETRY_MS)));
        let without_documents = Err(RecordsError::Forbidden("this backend keeps no documents".into()));
        assert_eq!(held_until(&without_documents, NOW), None);
    }

    fn record(last_seen: Timestamp, device_lost_at: Option<Timestamp>) -> PresenceRecord {
        let (online, generation) = (Some(Status::Online), Some(41));
        PresenceRecord {
            status: Status::Online,
            announced: online,
            generation,
            last_seen: Some(last_seen),
            device_lost_at,
        }
    }

    fn due(deadline: Timestamp) -> DueEntry {
        DueEntry { shard: 3, member: USER.to_string(), score: deadline.score() }
    }

    /// Whether a user may be connected who was last seen at [`NOW`] and had this deadline.
    fn may_be_connected_after(deadline_ms: u64, device_lost_at: Option<Timestamp>) -> bool {
        let deadline = NOW.plus(deadline_ms);
        may_be_connected(&due(deadline), &record(NOW, device_lost_at), deadline)
    }

    #[test]
    fn a_user_whose_heartbeats_stopped_may_be_connected() {
        // With the whole second of `last_seen`, and postponed by a sweep with a clock that is behind.
        for deadline_ms in [PRESENCE_TTL_MS, PRESENCE_TTL_MS + 999, PRESENCE_TTL_MS - 5_000] {
            assert!(may_be_connected_after(deadline_ms, None), "{deadline_ms}");
        }
        assert!(may_be_connected_after(PRESENCE_TTL_MS + DEPARTURE_HOLD_MS, None), "held before");
    }

    #[test]
    fn a_user_who_left_is_not_connected() {
        for since_heartbeat_ms in [0, HEARTBEAT_INTERVAL_MS, 30_999] {
            assert!(!may_be_connected_after(since_heartbeat_ms + PRESENCE_GRACE_MS, None), "{since_heartbeat_ms}");
        }
    }

    #[test]
    fn a_user_with_a_lost_device_may_be_connected_with_it() {
        let lost = |ago_ms: u64| Some(NOW.plus(PRESENCE_GRACE_MS).minus(ago_ms));
        assert!(may_be_connected_after(PRESENCE_GRACE_MS, lost(CUT_OFF_MS_MAX)));
        assert!(!may_be_connected_after(PRESENCE_GRACE_MS, lost(CUT_OFF_MS_MAX + 1)));
    }

    #[test]
    fn nobody_is_held_for_longer_than_the_bound() {
        let last = NOW.plus(CUT_OFF_MS_MAX);
        assert!(may_be_connected(&due(last), &record(NOW, None), last));
        assert!(!may_be_connected(&due(last), &record(NOW, Some(last)), last.plus(1)));
        assert!(!may_be_connected(&due(NOW), &PresenceRecord::UNKNOWN, NOW));
    }

    #[test]
    fn a_device_is_noted_as_lost_once_after_a_heartbeat() {
        let until = NOW.plus(CUT_OFF_HOLD_MS);
        let held =
            |device_lost_at| hold((USER, due(NOW), &record(NOW, device_lost_at)), until, NOW.plus(PRESENCE_TTL_MS));
        for before in [None, Some(NOW.minus(1_000))] {
            let [postponed, lost] = &held(before)[..] else { panic!("two transactions") };
            assert_eq!(*postponed, due(NOW).postpone(until));
            assert_eq!(lost.checks, [Check::Absent(Key::of_user(Space::Online, USER))]);
            assert!(matches!(&lost.mutations[..], [Mutation::SetFields(key, _)] if key.space == Space::Presence));
        }
        assert_eq!(held(Some(NOW.plus(1_000))), [due(NOW).postpone(until)]);
    }
}
