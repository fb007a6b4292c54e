//! The rule of a sweep: what becomes of a user whose deadline has passed.
//!
//! The user's `online` key decides, and the transition checks that it is still missing: a heartbeat that comes
//! first wins, one that comes after finds the user offline and makes a newer transition.

use super::record::{Announcement, PresenceRecord, Status};
use crate::ids::UserId;
use crate::key::{Key, Owner, Space};
use crate::port::{Check, Mutation, Transaction};
use crate::time::Timestamp;

/// An entry among the deadlines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The set it stands in.
    pub(crate) shard: u32,
    /// The user as text.
    pub(crate) member: String,
    /// The deadline as it was read.
    pub(crate) score: i64,
}

impl Due {
    /// Takes the entry out, unless it moved.
    pub(crate) fn remove(self) -> Transaction {
        let key = self.key();
        let member = self.member.clone().into();
        self.unmoved().mutate(Mutation::OrderedRemove(key, member))
    }

    /// Puts the entry later, unless it moved.
    pub(crate) fn postpone(self, until: Timestamp) -> Transaction {
        let key = self.key();
        let member = self.member.clone().into();
        self.unmoved().mutate(Mutation::OrderedPut(key, member, until.score()))
    }

    /// Its set.
    pub(crate) const fn key(&self) -> Key {
        Key::new(Space::PresenceDue, Owner::Shard(self.shard))
    }

    fn unmoved(self) -> Transaction {
        let key = self.key();
        Transaction::new(key.owner).check(Check::ScoreEquals(key, self.member.into(), Some(self.score)))
    }
}

/// What becomes of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Alive, or in grace, until then at least.
    Keep(Timestamp),
    /// Gone, and contacts have to be told.
    Depart(Transaction, Announcement),
    /// Gone, and contacts know.
    Forget,
}

/// Decides about a user whose earlier transitions are all announced. `online_ms` is the life left of the
/// user's `online` key; `None`: there is none.
pub(crate) fn decide(user: UserId, record: &PresenceRecord, online_ms: Option<u64>, now: Timestamp) -> Verdict {
    match (online_ms, record.status) {
        (Some(life_ms), _) => Verdict::Keep(now.plus(life_ms.max(1))),
        (None, Status::Offline) => Verdict::Forget,
        (None, Status::Online) => {
            let announcement = Announcement {
                user,
                status: Status::Offline,
                last_seen: record.last_seen,
                generation: record.next_generation(now),
                repeated: false,
            };
            Verdict::Depart(depart(record, &announcement), announcement)
        }
    }
}

fn depart(record: &PresenceRecord, announcement: &Announcement) -> Transaction {
    let key = |space| Key::of_user(space, announcement.user);
    Transaction::new(Owner::User(announcement.user))
        .check(Check::Absent(key(Space::Online)))
        .check(record.unmoved(announcement.user))
        .mutate(Mutation::SetFields(key(Space::Presence), announcement.fields()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const USER: UserId = UserId::from_u128(7);

    fn record(status: Status) -> PresenceRecord {
        PresenceRecord { status, announced: Some(status), generation: Some(41), last_seen: Some(Timestamp(940_000)) }
    }

    #[test]
    fn a_user_with_a_sign_of_life_is_looked_at_when_it_ends() {
        let verdict = decide(USER, &record(Status::Online), Some(8_000), NOW);
        assert_eq!(verdict, Verdict::Keep(Timestamp(1_008_000)));
    }

    #[test]
    fn a_departure_loses_against_any_beat() {
        let verdict = decide(USER, &record(Status::Online), None, NOW);
        let Verdict::Depart(transaction, announcement) = verdict else { panic!("{verdict:?}") };
        let online = Key::of_user(Space::Online, USER);
        assert!(transaction.checks.contains(&Check::Absent(online)));
        assert!(transaction.checks.contains(&record(Status::Online).unmoved(USER)));
        assert_eq!((announcement.status, announcement.generation), (Status::Offline, 42));
        assert_eq!(announcement.last_seen, Some(Timestamp(940_000)));
    }

    #[test]
    fn who_is_offline_already_is_only_forgotten() {
        assert_eq!(decide(USER, &record(Status::Offline), None, NOW), Verdict::Forget);
        assert_eq!(decide(USER, &PresenceRecord::UNKNOWN, None, NOW), Verdict::Forget);
    }

    #[test]
    fn an_entry_that_moved_is_left_alone() {
        let due = Due { shard: 3, member: USER.to_string(), score: 17 };
        let unmoved = Check::ScoreEquals(due.key(), USER.to_string().into(), Some(17));
        assert_eq!(due.clone().remove().checks, std::slice::from_ref(&unmoved));
        assert_eq!(due.postpone(NOW).checks, [unmoved]);
    }
}
