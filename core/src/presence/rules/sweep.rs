//! The rule of a sweep: what happens to a user whose deadline has passed.
//!
//! The user's `online` key decides, and the transition checks that it is still missing. A heartbeat that comes first
//! wins; a later one finds the user offline and makes a newer transition.

use super::record::{PresenceAnnouncement, PresenceRecord, Status};
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Mutation, Transaction};
use crate::time::Timestamp;

/// An entry of the ordered set of deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueEntry {
    /// The shard whose set holds the entry.
    pub(crate) shard: u32,
    /// The member of the set: a user id as text.
    pub(crate) member: String,
    /// The deadline as it was read.
    pub(crate) score: i64,
}

impl DueEntry {
    /// Removes the entry, unless its deadline has changed.
    pub(crate) fn remove(self) -> Transaction {
        let key = self.key();
        let member = self.member.clone().into();
        self.unchanged().mutate(Mutation::OrderedRemove(key, member))
    }

    /// Postpones the entry, unless its deadline has changed.
    pub(crate) fn postpone(self, until: Timestamp) -> Transaction {
        let key = self.key();
        let member = self.member.clone().into();
        self.unchanged().mutate(Mutation::OrderedPut(key, member, until.score()))
    }

    /// The key of the set that holds the entry.
    pub(crate) const fn key(&self) -> Key {
        Key::new(Space::PresenceDue, Owner::Shard(self.shard))
    }

    fn unchanged(self) -> Transaction {
        let key = self.key();
        Transaction::new(key.owner).check(Check::ScoreEquals(key, self.member.into(), Some(self.score)))
    }
}

/// What happens to a user whose deadline has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "each decision is taken apart at once, and none is kept")]
pub(crate) enum SweepDecision {
    /// The user is connected, or in the grace period, at least until this time.
    Keep(Timestamp),
    /// The user goes offline, and contacts have to be told.
    GoOffline(Transaction, PresenceAnnouncement),
    /// The user is offline, and contacts were told.
    RemoveEntry,
}

/// Decides about a user whose earlier transitions were all announced. `online_ms` is the remaining time to live of the
/// user's `online` key; `None` if the key is missing.
pub(crate) fn decide(user: UserId, record: &PresenceRecord, online_ms: Option<u64>, now: Timestamp) -> SweepDecision {
    match (online_ms, record.status) {
        (Some(ttl_ms), _) => SweepDecision::Keep(now.plus(ttl_ms.max(1))),
        (None, Status::Offline) => SweepDecision::RemoveEntry,
        (None, Status::Online) => {
            let announcement = PresenceAnnouncement {
                user,
                status: Status::Offline,
                last_seen: record.last_seen,
                generation: record.next_generation(now),
                repeated: false,
            };
            SweepDecision::GoOffline(go_offline(record, &announcement), announcement)
        }
    }
}

fn go_offline(record: &PresenceRecord, announcement: &PresenceAnnouncement) -> Transaction {
    let key = |space| Key::of_user(space, announcement.user);
    Transaction::new(Owner::User(announcement.user))
        .check(Check::Absent(key(Space::Online)))
        .check(record.unchanged(announcement.user))
        .mutate(Mutation::SetFields(key(Space::Presence), announcement.fields()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const USER: UserId = UserId::from_u128(7);

    fn record(status: Status) -> PresenceRecord {
        let last_seen = Some(Timestamp(940_000));
        PresenceRecord { status, announced: Some(status), generation: Some(41), last_seen, ..PresenceRecord::UNKNOWN }
    }

    #[test]
    fn a_user_with_an_online_key_is_read_again_when_it_expires() {
        let decision = decide(USER, &record(Status::Online), Some(8_000), NOW);
        assert_eq!(decision, SweepDecision::Keep(Timestamp(1_008_000)));
    }

    #[test]
    fn going_offline_loses_against_any_heartbeat() {
        let decision = decide(USER, &record(Status::Online), None, NOW);
        let SweepDecision::GoOffline(transaction, announcement) = decision else { panic!("{decision:?}") };
        let online = Key::of_user(Space::Online, USER);
        assert!(transaction.checks.contains(&Check::Absent(online)));
        assert!(transaction.checks.contains(&record(Status::Online).unchanged(USER)));
        assert_eq!((announcement.status, announcement.generation), (Status::Offline, 42));
        assert_eq!(announcement.last_seen, Some(Timestamp(940_000)));
    }

    #[test]
    fn the_entry_of_a_user_who_is_offline_is_only_removed() {
        assert_eq!(decide(USER, &record(Status::Offline), None, NOW), SweepDecision::RemoveEntry);
        assert_eq!(decide(USER, &PresenceRecord::UNKNOWN, None, NOW), SweepDecision::RemoveEntry);
    }

    #[test]
    fn an_entry_whose_deadline_changed_is_left_alone() {
        let due = DueEntry { shard: 3, member: USER.to_string(), score: 17 };
        let unchanged = Check::ScoreEquals(due.key(), USER.to_string().into(), Some(17));
        assert_eq!(due.clone().remove().checks, std::slice::from_ref(&unchanged));
        assert_eq!(due.postpone(NOW).checks, [unchanged]);
    }
}
