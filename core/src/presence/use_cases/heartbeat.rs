//! Heartbeats: one round trip as long as no state changes. Users whose state changes are handled together as well.

use std::collections::BTreeSet;

use super::announce::announce;
use super::{cut_off, disconnect, query, validate_length};
use crate::error::{Error, FirstFailure};
use crate::event::PresenceView;
use crate::ids::{ConnectionId, UserId};
use crate::key::Owner;
use crate::limits::TRIES_MAX;
use crate::port::{Outcome, StoreError, Transaction, Value, World};
use crate::presence::rules::heartbeat::{self as rule, Heartbeat};
use crate::presence::rules::record::PresenceRecord;
use crate::store_calls::{commit_all, read_each};
use crate::time::Timestamp;

/// Handles a new connection: writes its heartbeat, and returns the presence of the user's contacts.
pub async fn connected<W: World>(
    world: &W,
    user: UserId,
    connection: &ConnectionId,
) -> Result<Vec<PresenceView>, Error> {
    write_heartbeats(world, &[(user, connection.clone())]).await?;
    disconnect::prune(world, user).await?;
    query::of_contacts(world, user).await
}

/// Writes the heartbeats of these connections; at most [`crate::limits::LIST_MAX`]. If the store is unavailable, this
/// is noted in the records, so that no other host takes the users offline.
///
/// Heartbeats are written even if contacts cannot be told at present. The error then means that an announcement is
/// still due.
///
/// # Errors
/// The first failure; the heartbeats of other users were written nevertheless, unless their partition failed, too.
pub async fn heartbeat<W: World>(world: &W, heartbeats: &[(UserId, ConnectionId)]) -> Result<(), Error> {
    let written = write_heartbeats(world, heartbeats).await;
    cut_off::note_after(world, &written).await;
    written
}

/// As [`heartbeat`], without the note.
pub(super) async fn write_heartbeats<W: World>(world: &W, heartbeats: &[(UserId, ConnectionId)]) -> Result<(), Error> {
    validate_length("connections", heartbeats.len())?;
    let mut failures = FirstFailure::default();
    let mut pending = refresh(world, rule::by_user(heartbeats), &mut failures).await?;
    for _ in 0..TRIES_MAX {
        if pending.is_empty() {
            return failures.report();
        }
        pending = advance(world, pending, &mut failures).await?;
    }
    Err(Error::Contended)
}

/// Renews the heartbeats of users who are online. Returns the users who are not.
async fn refresh<'a, W: World>(
    world: &W,
    heartbeats: Vec<Heartbeat<'a>>,
    failures: &mut FirstFailure,
) -> Result<Vec<Heartbeat<'a>>, Error> {
    if heartbeats.is_empty() {
        return Ok(heartbeats);
    }
    let now = world.now();
    let transactions = heartbeats.iter().map(|heartbeat| rule::refresh(heartbeat, now)).collect();
    let written = commit(world, &heartbeats, (transactions, now), failures).await?;
    let mut refused = Vec::new();
    for (heartbeat, outcome) in heartbeats.into_iter().zip(written.outcomes) {
        match outcome {
            Outcome::Committed(_) => {}
            // A user must not come online without a deadline, because no sweep would find the user.
            Outcome::Refused(_) if written.failed_shards.contains(&Owner::presence_shard(heartbeat.user)) => {}
            Outcome::Refused(_) => refused.push(heartbeat),
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    Ok(refused)
}

/// Makes one transition or announcement for each of these users. Returns the users who need another one. A record that
/// cannot be read is the failure of its user alone.
async fn advance<'a, W: World>(
    world: &W,
    heartbeats: Vec<Heartbeat<'a>>,
    failures: &mut FirstFailure,
) -> Result<Vec<Heartbeat<'a>>, Error> {
    let queries = heartbeats.iter().map(|heartbeat| PresenceRecord::query(heartbeat.user)).collect();
    let answers = read_each(world, queries, 1).await?;
    let now = world.now();
    let mut readable = Vec::with_capacity(heartbeats.len());
    let mut transactions = Vec::with_capacity(heartbeats.len());
    let mut decisions = Vec::with_capacity(heartbeats.len());
    for (heartbeat, answer) in heartbeats.into_iter().zip(answers) {
        match parse_record(answer) {
            Ok(record) => {
                let decision = rule::decide(&heartbeat, &record, now);
                transactions.push(decision.transaction);
                decisions.push((decision.announcement, decision.again));
                readable.push(heartbeat);
            }
            Err(error) => failures.keep(error),
        }
    }
    let written = commit(world, &readable, (transactions, now), failures).await?;
    let mut announcements = Vec::new();
    let mut unfinished = Vec::new();
    for ((heartbeat, (announcement, again)), outcome) in readable.into_iter().zip(decisions).zip(written.outcomes) {
        match outcome {
            Outcome::Committed(_) => {
                announcements.extend(announcement);
                unfinished.extend(again.then_some(heartbeat));
            }
            Outcome::Refused(_) => unfinished.push(heartbeat),
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    announce(world, announcements).await?;
    Ok(unfinished)
}

fn parse_record(answer: Result<Vec<Value>, StoreError>) -> Result<PresenceRecord, StoreError> {
    PresenceRecord::parse(answer?.first().unwrap_or(&Value::Missing))
}

/// The outcomes of the users' transactions, and the shards whose deadlines could not be written.
struct HeartbeatOutcomes {
    outcomes: std::vec::IntoIter<Outcome>,
    failed_shards: BTreeSet<Owner>,
}

/// Commits the transactions together with the users' deadlines. Every write of a heartbeat includes the deadlines, so
/// that a host that pauses between two writes brings no user online whom no sweep would find.
async fn commit<W: World>(
    world: &W,
    heartbeats: &[Heartbeat<'_>],
    (transactions, now): (Vec<Transaction>, Timestamp),
    failures: &mut FirstFailure,
) -> Result<HeartbeatOutcomes, Error> {
    let mut all = rule::deadlines(heartbeats, now);
    let shards: Vec<Owner> = all.iter().map(|transaction| transaction.owner).collect();
    all.extend(transactions);
    let mut outcomes = commit_all(world, all).await?.into_iter();
    let mut failed_shards = BTreeSet::new();
    for (shard, outcome) in shards.into_iter().zip(outcomes.by_ref()) {
        if let Outcome::Failed(error) = outcome {
            failures.keep(error);
            failed_shards.insert(shard);
        }
    }
    Ok(HeartbeatOutcomes { outcomes, failed_shards })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, Space};
    use crate::port::KeyValue;
    use crate::presence::rules::record::Status;
    use crate::testing::{FakeWorld, block_on};

    /// Another program overwrites the record between the heartbeat that was refused and the look at the record.
    #[test]
    fn a_record_of_another_type_delays_no_other_transition() {
        let world = FakeWorld::new();
        let connection: ConnectionId = "device".parse().unwrap();
        let users = [1, 2, 3].map(UserId::from_u128);
        world.store.overwrite(Key::of_user(Space::Presence, users[1]));

        let heartbeats = users.map(|user| (user, connection.clone()));
        let mut failures = FirstFailure::default();
        let unfinished = block_on(advance(&world, rule::by_user(&heartbeats), &mut failures)).unwrap();
        assert!(unfinished.is_empty(), "{unfinished:?}");
        assert_eq!(failures.report().unwrap_err().code(), "internal");
        for user in [users[0], users[2]] {
            let answer = block_on(world.read(vec![PresenceRecord::query(user)]));
            let record = parse_record(answer).unwrap();
            assert_eq!((record.status, record.announced), (Status::Online, Some(Status::Online)), "{user}");
        }
    }
}
