//! The rule of a heartbeat: which transaction it needs, and whether contacts are told.
//!
//! A heartbeat never waits for an announcement. It is written in every state, so that no user appears offline because
//! the user's contacts cannot be read.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use super::record::{ANNOUNCED, LAST_SEEN, PresenceAnnouncement, PresenceRecord, Status};
use crate::ids::{ConnectionId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{FOLLOWED_TTL_MS, PRESENCE_TTL_MS};
use crate::port::{Check, Mutation, Text, Transaction};
use crate::time::Timestamp;

/// The connections of one user that sent a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat<'a> {
    pub(crate) user: UserId,
    /// Each connection once.
    pub(crate) connections: Vec<&'a ConnectionId>,
}

/// What a heartbeat writes and announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeartbeatDecision {
    /// The transaction in the user's partition.
    pub(crate) transaction: Transaction,
    /// To be announced after the transaction was committed.
    pub(crate) announcement: Option<PresenceAnnouncement>,
    /// The user still counts as offline after this transaction: decide once more.
    pub(crate) again: bool,
}

/// Groups heartbeats by user, in ascending order.
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

/// Renews the heartbeat and changes no state. Refused if the user is not online, or if this was not announced.
pub(crate) fn refresh(heartbeat: &Heartbeat<'_>, now: Timestamp) -> Transaction {
    let presence = Key::of_user(Space::Presence, heartbeat.user);
    let online = Check::FieldEquals(presence, ANNOUNCED.into(), Some(Status::Online.name().into()));
    Transaction { checks: vec![online], ..heartbeat_mutations(heartbeat, now, Vec::new()) }
}

/// Decides for a user whose refresh was refused.
pub(crate) fn decide(heartbeat: &Heartbeat<'_>, record: &PresenceRecord, now: Timestamp) -> HeartbeatDecision {
    if let Some(announcement) = record.unannounced(heartbeat.user) {
        return HeartbeatDecision {
            transaction: heartbeat_mutations(heartbeat, now, Vec::new()).check(record.unchanged(heartbeat.user)),
            announcement: Some(announcement),
            again: record.status == Status::Offline,
        };
    }
    match record.status {
        Status::Online => HeartbeatDecision { transaction: refresh(heartbeat, now), announcement: None, again: false },
        Status::Offline => come_online(heartbeat, record, now),
    }
}

fn come_online(heartbeat: &Heartbeat<'_>, record: &PresenceRecord, now: Timestamp) -> HeartbeatDecision {
    let announcement = PresenceAnnouncement {
        user: heartbeat.user,
        status: Status::Online,
        last_seen: Some(Timestamp::from_seconds(now.seconds())),
        generation: record.next_generation(now),
        repeated: false,
    };
    HeartbeatDecision {
        transaction: heartbeat_mutations(heartbeat, now, announcement.fields()).check(record.unchanged(heartbeat.user)),
        announcement: Some(announcement),
        again: false,
    }
}

/// Writes the deadlines of these users, with one transaction for each shard.
pub(crate) fn deadlines(heartbeats: &[Heartbeat<'_>], now: Timestamp) -> Vec<Transaction> {
    let deadline = now.plus(PRESENCE_TTL_MS).score();
    let mut transactions: Vec<Transaction> = Vec::new();
    for heartbeat in heartbeats {
        let key = Key::presence_due(heartbeat.user);
        let owner = key.owner;
        let put = Mutation::OrderedPut(key, heartbeat.user.into(), deadline);
        // A linear search is enough, because there are few shards.
        match transactions.iter_mut().find(|transaction| transaction.owner == owner) {
            Some(transaction) => transaction.mutations.push(put),
            None => transactions.push(Transaction::new(owner).mutate(put)),
        }
    }
    transactions
}

/// The mutations of a heartbeat, with further fields for the presence hash.
fn heartbeat_mutations(heartbeat: &Heartbeat<'_>, now: Timestamp, mut fields: Vec<(Text, Text)>) -> Transaction {
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
        // Whoever is connected may resume: the events of the next minutes are worth keeping.
        Mutation::Set(Key::followed(heartbeat.user), Vec::new(), Some(FOLLOWED_TTL_MS)),
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
        PresenceRecord { status, announced: Some(announced), generation: Some(41), ..PresenceRecord::UNKNOWN }
    }

    fn sets_status(transaction: &Transaction) -> bool {
        transaction.mutations.iter().any(|mutation| {
            matches!(mutation, Mutation::SetFields(_, fields) if fields.iter().any(|(name, _)| name == STATUS))
        })
    }

    fn renews_online_key(transaction: &Transaction) -> bool {
        matches!(transaction.mutations.first(), Some(Mutation::Set(key, _, Some(PRESENCE_TTL_MS))) if key.space == Space::Online)
    }

    #[test]
    fn every_heartbeat_renews_the_key_by_which_events_are_kept() {
        let followed = Mutation::Set(Key::followed(USER), Vec::new(), Some(FOLLOWED_TTL_MS));
        let decided = decide(&heartbeat(), &record(Status::Offline, Status::Online), NOW).transaction;
        for transaction in [refresh(&heartbeat(), NOW), decided] {
            assert!(transaction.mutations.contains(&followed), "{transaction:?}");
        }
    }

    #[test]
    fn connections_of_one_user_share_a_heartbeat() {
        let other = UserId::from_u128(3);
        let connection = |text: &str| text.parse::<ConnectionId>().unwrap();
        let heartbeats =
            [(USER, "b"), (other, "c"), (USER, "a"), (USER, "a")].map(|(user, text)| (user, connection(text)));
        let heartbeats = by_user(&heartbeats);
        assert_eq!(heartbeats.len(), 2);
        assert_eq!(heartbeats[1].connections, [&connection("b"), &connection("a")]);
    }

    #[test]
    fn coming_online_takes_the_next_generation_and_is_announced() {
        let decision = decide(&heartbeat(), &record(Status::Offline, Status::Offline), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Online, 42));
        assert_eq!(announcement.last_seen, Some(Timestamp(1_790_000_000_000)));
        assert!(sets_status(&decision.transaction) && renews_online_key(&decision.transaction));
        assert_eq!(decision.transaction.checks, [record(Status::Offline, Status::Offline).unchanged(USER)]);
        assert!(!decision.again);
    }

    #[test]
    fn an_unannounced_offline_is_announced_before_the_user_comes_online() {
        let decision = decide(&heartbeat(), &record(Status::Offline, Status::Online), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Offline, 41));
        assert!(!sets_status(&decision.transaction));
        assert!(renews_online_key(&decision.transaction), "the heartbeat is written nevertheless");
        assert!(decision.again);
    }

    #[test]
    fn an_unannounced_online_is_announced_again_with_its_generation() {
        let decision = decide(&heartbeat(), &record(Status::Online, Status::Offline), NOW);
        let announcement = decision.announcement.unwrap();
        assert_eq!((announcement.status, announcement.generation), (Status::Online, 41));
        assert!(!sets_status(&decision.transaction) && !decision.again);
    }

    #[test]
    fn a_user_whom_another_heartbeat_brought_online_is_not_announced_again() {
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

    #[test]
    fn a_refresh_requires_that_the_user_is_announced_as_online() {
        let presence = Key::of_user(Space::Presence, USER);
        let online = Check::FieldEquals(presence, ANNOUNCED.into(), Some("online".into()));
        assert_eq!(refresh(&heartbeat(), NOW).checks, [online]);
    }
}
