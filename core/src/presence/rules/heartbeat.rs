//! The rule of a heartbeat: which transaction a sign of life becomes, and whether contacts are told.
//!
//! A sign of life is never held back by an announcement: it is written whatever the state, so that nobody
//! appears offline because contacts cannot be asked for.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use super::record::{ANNOUNCED, Announcement, LAST_SEEN, PresenceRecord, Status};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::PRESENCE_TTL_MS;
use crate::port::{Check, Mutation, Text, Transaction};
use crate::time::Timestamp;

/// One user's connections that gave a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat<'a> {
    pub(crate) user: UserId,
    /// Each once.
    pub(crate) connections: Vec<&'a ConnectionId>,
}

/// What a heartbeat comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// In the user's partition.
    pub(crate) transaction: Transaction,
    /// To go out once the transaction happened.
    pub(crate) announcement: Option<Announcement>,
    /// The user still counts as offline afterwards: decide once more.
    pub(crate) again: bool,
}

/// By user, in ascending order.
pub(crate) fn by_user(heartbeats: &[(UserId, ConnectionId)]) -> Vec<Heartbeat<'_>> {
    if let [(user, connection)] = heartbeats {
        return vec![Heartbeat { user: *user, connections: vec![connection] }];
    }
    let mut users: BTreeMap<UserId, Vec<&ConnectionId>> = BTreeMap::new();
    for (user, connection) in heartbeats {
        let connections = users.entry(*user).or_default();
        if !connections.contains(&connection) {
            connections.push(connection);
        }
    }
    users.into_iter().map(|(user, connections)| Heartbeat { user, connections }).collect()
}

/// Nothing changes but the signs of life. Refused when the user is not online, or contacts do not know.
pub(crate) fn refresh(heartbeat: &Heartbeat<'_>, now: Timestamp) -> Transaction {
    let presence = Key::of_user(Space::Presence, heartbeat.user);
    let online = Check::FieldEquals(presence, ANNOUNCED.into(), Some(Status::Online.name().into()));
    Transaction { checks: vec![online], ..signs_of_life(heartbeat, now, Vec::new()) }
}

/// For a user whose refresh was refused.
pub(crate) fn decide(heartbeat: &Heartbeat<'_>, record: &PresenceRecord, now: Timestamp) -> Decision {
    if let Some(announcement) = record.unannounced(heartbeat.user) {
        return Decision {
            transaction: signs_of_life(heartbeat, now, Vec::new()).check(record.unmoved(heartbeat.user)),
            announcement: Some(announcement),
            again: record.status == Status::Offline,
        };
    }
    match record.status {
        Status::Online => Decision { transaction: refresh(heartbeat, now), announcement: None, again: false },
        Status::Offline => arrive(heartbeat, record, now),
    }
}

fn arrive(heartbeat: &Heartbeat<'_>, record: &PresenceRecord, now: Timestamp) -> Decision {
    let announcement = Announcement {
        user: heartbeat.user,
        status: Status::Online,
        last_seen: Some(Timestamp::from_seconds(now.seconds())),
        generation: record.next_generation(now),
        repeated: false,
    };
    Decision {
        transaction: signs_of_life(heartbeat, now, announcement.fields()).check(record.unmoved(heartbeat.user)),
        announcement: Some(announcement),
        again: false,
    }
}

/// The deadlines of these users, one transaction for each shard.
pub(crate) fn deadlines(heartbeats: &[Heartbeat<'_>], now: Timestamp) -> Vec<Transaction> {
    let deadline = now.plus(PRESENCE_TTL_MS).score();
    let mut transactions: Vec<Transaction> = Vec::new();
    for heartbeat in heartbeats {
        let key = Key::presence_due(heartbeat.user);
        let owner = key.owner;
        let put = Mutation::OrderedPut(key, heartbeat.user.into(), deadline);
        // There are few shards.
        match transactions.iter_mut().find(|transaction| transaction.owner == owner) {
            Some(transaction) => transaction.mutations.push(put),
            None => transactions.push(Transaction::new(owner).mutate(put)),
        }
    }
    transactions
}

fn signs_of_life(heartbeat: &Heartbeat<'_>, now: Timestamp, mut fields: Vec<(Text, Text)>) -> Transaction {
    let key = |space| Key::of_user(space, heartbeat.user);
    let deadline = Text::from(now.plus(PRESENCE_TTL_MS).0.to_string());
    let names = heartbeat.connections.iter().map(|connection| connection.as_str().to_owned().into());
    let devices = names.zip(repeat_n(deadline, heartbeat.connections.len())).collect();
    let second = now.seconds().to_string();
    fields.push((LAST_SEEN.into(), second.clone().into()));
    let mutations = vec![
        Mutation::Set(key(Space::Online), second.into(), Some(PRESENCE_TTL_MS)),
        Mutation::SetFields(key(Space::Presence), fields),
        Mutation::SetFields(key(Space::Devices), devices),
        Mutation::Expire(key(Space::Devices), PRESENCE_TTL_MS),
    ];
    Transaction { mutations, ..Transaction::new(Owner::User(heartbeat.user)) }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::presence::rules::record::STATUS;

    const NOW: Timestamp = Timestamp(1_790_000_000_500);
    const USER: UserId = UserId::from_u128(7);

    static CONNECTION: LazyLock<ConnectionId> = LazyLock::new(|| "a".parse().unwrap());

    fn heartbeat() -> Heartbeat<'static> {
        Heartbeat { user: USER, connections: vec![&CONNECTION] }
    }

    fn record(status: Status, announced: Status) -> PresenceRecord {
        PresenceRecord { status, announced: Some(announced), generation: Some(41), last_seen: None }
    }

    fn sets_status(transaction: &Transaction) -> bool {
        transaction.mutations.iter().any(|mutation| {
            matches!(mutation, Mutation::SetFields(_, fields) if fields.iter().any(|(name, _)| name == STATUS))
        })
    }

    fn gives_a_sign(transaction: &Transaction) -> bool {
        matches!(transaction.mutations.first(), Some(Mutation::Set(key, _, Some(PRESENCE_TTL_MS))) if key.space == Space::Online)
    }

    #[test]
    fn connections_of_one_user_share_a_beat() {
        let other = UserId::from_u128(3);
        let connection = |text: &str| text.parse::<ConnectionId>().unwrap();
        let signs = [(USER, "b"), (other, "c"), (USER, "a"), (USER, "a")].map(|(user, text)| (user, connection(text)));
        let heartbeats = by_user(&signs);
        assert_eq!(heartbeats.len(), 2);
        assert_eq!(heartbeats[1].connections, [&connection("b"), &connection("a")]);
    }

    #[test]
    fn an_arrival_takes_the_next_generation_and_is_announced() {
        let decision = decide(&heartbeat(), &record(Status::Offline, Status::Offline), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Online, 42));
        assert_eq!(announcement.last_seen, Some(Timestamp(1_790_000_000_000)));
        assert!(sets_status(&decision.transaction) && gives_a_sign(&decision.transaction));
        assert_eq!(decision.transaction.checks, [record(Status::Offline, Status::Offline).unmoved(USER)]);
        assert!(!decision.again);
    }

    #[test]
    fn an_offline_that_nobody_was_told_goes_out_before_the_arrival() {
        let decision = decide(&heartbeat(), &record(Status::Offline, Status::Online), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Offline, 41));
        assert!(!sets_status(&decision.transaction));
        assert!(gives_a_sign(&decision.transaction), "the device lives all the same");
        assert!(decision.again);
    }

    #[test]
    fn an_online_that_nobody_was_told_is_repeated_under_its_generation() {
        let decision = decide(&heartbeat(), &record(Status::Online, Status::Offline), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Online, 41));
        assert!(!sets_status(&decision.transaction) && !decision.again);
    }

    #[test]
    fn a_user_whom_another_beat_brought_online_makes_no_noise() {
        let decision = decide(&heartbeat(), &record(Status::Online, Status::Online), NOW);
        assert_eq!(decision.announcement, None);
        assert_eq!(decision.transaction, refresh(&heartbeat(), NOW));
    }

    #[test]
    fn deadlines_share_one_transaction_per_shard() {
        let heartbeats: Vec<Heartbeat<'_>> =
            (0..500).map(|n| Heartbeat { user: UserId::from_u128(n), ..heartbeat() }).collect();
        let transactions = deadlines(&heartbeats, NOW);
        assert!(transactions.len() <= 16);
        assert_eq!(transactions.iter().map(|t| t.mutations.len()).sum::<usize>(), 500);
    }
}
