//! Which transactions show that a user is active, and what removing a user takes.
//!
//! A user's counters are removed in two steps. First the user becomes uncached, so that nobody adds to a counter any
//! more. Then the counters that the positions name are deleted in chunks, so that a counter that was written before the
//! first step is deleted as well. A user who comes back between the steps is followed from then on, and that ends the
//! second step: the counters are being filled again, although the total is not written yet.

use std::collections::BTreeSet;

use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{ACTIVITY_SHARDS, FILL_CHUNK};
use crate::port::{Check, Mutation, Text, Transaction};
use crate::spread;
use crate::time::Timestamp;

/// The item of the ordered set of a shard.
const ACTIVE: &str = "active";

/// The users whom these transactions show to be active: they write a heartbeat, a follower, or counters that do not
/// expire.
pub fn active_users(transactions: &[Transaction]) -> BTreeSet<UserId> {
    let shows_activity = |mutation: &Mutation| match mutation {
        Mutation::Set(key, ..) => matches!(key.space, Space::Online | Space::Followed | Space::UnreadTotal),
        _ => false,
    };
    let active = transactions.iter().filter_map(|transaction| match transaction.owner {
        Owner::User(user) if transaction.mutations.iter().any(shows_activity) => Some(user),
        _ => None,
    });
    active.collect()
}

/// The ordered set of the users of a shard, by the time of their last activity.
pub(super) fn active(shard: u32) -> Key {
    Key::of_host(Owner::Shard(shard), ACTIVE.to_owned())
}

/// The shard in which a user's activity is noted.
pub(super) fn shard_of(user: UserId) -> u32 {
    match spread::shard(&user.to_string(), ACTIVITY_SHARDS) {
        Owner::Shard(shard) => shard,
        _ => 0,
    }
}

/// Notes that these users of one shard are active at this time.
pub(super) fn note(shard: u32, users: &[UserId], now: Timestamp) -> Transaction {
    users.iter().fold(Transaction::new(Owner::Shard(shard)), |transaction, user| {
        transaction.mutate(Mutation::OrderedPut(active(shard), (*user).into(), now.score()))
    })
}

/// A user whose last activity is long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdleEntry {
    pub(super) shard: u32,
    pub(super) member: String,
    pub(super) score: i64,
}

impl IdleEntry {
    /// Removes the entry, unless the user became active again.
    pub(super) fn remove(&self) -> Transaction {
        self.unchanged().mutate(Mutation::OrderedRemove(active(self.shard), self.member.clone().into()))
    }

    /// Looks at the user again much later, as if there had been an activity now.
    pub(super) fn postpone(&self, now: Timestamp) -> Transaction {
        self.unchanged().mutate(Mutation::OrderedPut(active(self.shard), self.member.clone().into(), now.score()))
    }

    fn unchanged(&self) -> Transaction {
        let check = Check::ScoreEquals(active(self.shard), self.member.clone().into(), Some(self.score));
        Transaction::new(Owner::Shard(self.shard)).check(check)
    }
}

/// Removes the presence record of a user without a device, and makes the user uncached. The transaction is refused if
/// the user has come back.
pub(super) fn forget(user: UserId) -> Transaction {
    let key = |space| Key::of_user(space, user);
    let gone = [Space::Presence, Space::Devices, Space::UnreadTotal, Space::UnreadRead, Space::UnreadLease];
    let still_away = Transaction::new(Owner::User(user))
        .check(Check::Absent(key(Space::Online)))
        .check(Check::Absent(key(Space::Followed)));
    gone.into_iter().fold(still_away, |transaction, space| transaction.mutate(Mutation::Delete(key(space))))
}

/// Removes the counters of these conversations, and the positions that name them. The transactions are refused if the
/// user has come back.
pub(super) fn forget_counters(user: UserId, conversations: &[ConversationId]) -> Vec<Transaction> {
    let each = conversations.chunks(FILL_CHUNK).map(|chunk| {
        let uncached = Check::Absent(Key::of_user(Space::UnreadTotal, user));
        let still_away = Check::Absent(Key::of_user(Space::Followed, user));
        let names: Vec<Text> = chunk.iter().map(|conversation| (*conversation).into()).collect();
        let positions = Mutation::DeleteFields(Key::of_user(Space::UnreadSequence, user), names);
        let transaction = Transaction::new(Owner::User(user)).check(uncached).check(still_away).mutate(positions);
        chunk.iter().fold(transaction, |transaction, conversation| {
            transaction.mutate(Mutation::Delete(Key::unread_conversation(user, *conversation)))
        })
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_u128(7);

    fn set(space: Space) -> Transaction {
        Transaction::new(Owner::User(USER)).mutate(Mutation::Set(Key::of_user(space, USER), Vec::new(), None))
    }

    #[test]
    fn heartbeats_followers_and_filled_counters_show_activity_and_messages_do_not() {
        for space in [Space::Online, Space::Followed, Space::UnreadTotal] {
            assert_eq!(active_users(&[set(space)]), BTreeSet::from([USER]), "{space}");
        }
        let total = Key::of_user(Space::UnreadTotal, USER);
        let counted =
            Transaction::new(Owner::User(USER)).mutate(Mutation::Add { key: total, delta: 1, floor: Some(0) });
        assert!(active_users(&[counted, set(Space::UnreadLease)]).is_empty());
    }

    #[test]
    fn a_user_who_has_come_back_is_not_forgotten() {
        let transaction = forget(USER);
        let absent = |space| Check::Absent(Key::of_user(space, USER));
        assert_eq!(transaction.checks, [absent(Space::Online), absent(Space::Followed)]);
        let ids: Vec<ConversationId> = (0..1_250).map(ConversationId::from_u128).collect();
        let counters = forget_counters(USER, &ids);
        assert_eq!(counters.iter().map(|each| each.mutations.len()).collect::<Vec<_>>(), [501, 501, 251]);
        assert!(counters.iter().all(|each| each.checks == [absent(Space::UnreadTotal), absent(Space::Followed)]));
    }

    #[test]
    fn users_are_spread_over_all_shards() {
        let shards: BTreeSet<u32> = (0..2_000).map(|number| shard_of(UserId::from_u128(number))).collect();
        assert_eq!(shards.len(), ACTIVITY_SHARDS as usize);
    }
}
