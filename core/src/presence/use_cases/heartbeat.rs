//! Signs of life: one round trip as long as nothing changes, bulk steps for the users of whom contacts must hear.

use std::collections::BTreeSet;

use super::announce::announce;
use super::{Failures, at_most_a_list, disconnect, query};
use crate::error::Error;
use crate::event::PresenceView;
use crate::ids::{ConnectionId, UserId};
use crate::key::Owner;
use crate::limits::TRIES_MAX;
use crate::port::{Outcome, Transaction, World};
use crate::presence::rules::heartbeat::{self as rule, Heartbeat};
use crate::presence::rules::record::PresenceRecord;
use crate::store_calls::{commit_all, read_all};
use crate::time::Timestamp;

/// A connection opened: it heartbeats, and is told of its user's contacts.
pub async fn connected<W: World>(
    world: &W,
    user: UserId,
    connection: &ConnectionId,
) -> Result<Vec<PresenceView>, Error> {
    heartbeat(world, &[(user, connection.clone())]).await?;
    disconnect::prune(world, user).await?;
    query::of_contacts(world, user).await
}

/// These connections gave a sign of life; at most [`crate::limits::LIST_MAX`].
///
/// Signs are written even where contacts cannot be told at present; the error then says that the
/// announcement is still due.
pub async fn heartbeat<W: World>(world: &W, heartbeats: &[(UserId, ConnectionId)]) -> Result<(), Error> {
    at_most_a_list("connections", heartbeats.len())?;
    let mut failures = Failures::default();
    let mut pending = refresh(world, rule::by_user(heartbeats), &mut failures).await?;
    for _ in 0..TRIES_MAX {
        if pending.is_empty() {
            return failures.report();
        }
        pending = advance(world, pending, &mut failures).await?;
    }
    Err(Error::Contended)
}

/// The fast path. Answers those who are not known to be online.
async fn refresh<'a, W: World>(
    world: &W,
    heartbeats: Vec<Heartbeat<'a>>,
    failures: &mut Failures,
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
            // Nobody comes online without a deadline among those that are swept.
            Outcome::Refused(_) if written.unswept.contains(&Owner::presence_shard(heartbeat.user)) => {}
            Outcome::Refused(_) => refused.push(heartbeat),
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    Ok(refused)
}

/// One step for each of these users. Answers those who need another.
async fn advance<'a, W: World>(
    world: &W,
    heartbeats: Vec<Heartbeat<'a>>,
    failures: &mut Failures,
) -> Result<Vec<Heartbeat<'a>>, Error> {
    let queries = heartbeats.iter().map(|heartbeat| PresenceRecord::query(heartbeat.user)).collect();
    let values = read_all(world, queries, 1).await?;
    let now = world.now();
    let mut transactions = Vec::with_capacity(heartbeats.len());
    let mut plans = Vec::with_capacity(heartbeats.len());
    for (heartbeat, value) in heartbeats.iter().zip(&values) {
        let decision = rule::decide(heartbeat, &PresenceRecord::answered(value)?, now);
        transactions.push(decision.transaction);
        plans.push((decision.announcement, decision.again));
    }
    let written = commit(world, &heartbeats, (transactions, now), failures).await?;
    let mut announcements = Vec::new();
    let mut unfinished = Vec::new();
    for ((heartbeat, (announcement, again)), outcome) in heartbeats.into_iter().zip(plans).zip(written.outcomes) {
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

/// What became of the users' transactions, and the shards that did not take their deadlines.
struct Written {
    outcomes: std::vec::IntoIter<Outcome>,
    unswept: BTreeSet<Owner>,
}

/// Every write of a heartbeat carries the users' deadlines along, so that a host that was held up between two steps
/// brings nobody online whom no sweep would find.
async fn commit<W: World>(
    world: &W,
    heartbeats: &[Heartbeat<'_>],
    (transactions, now): (Vec<Transaction>, Timestamp),
    failures: &mut Failures,
) -> Result<Written, Error> {
    let mut all = rule::deadlines(heartbeats, now);
    let shards: Vec<Owner> = all.iter().map(|transaction| transaction.owner).collect();
    all.extend(transactions);
    let mut outcomes = commit_all(world, all).await?.into_iter();
    let mut unswept = BTreeSet::new();
    for (shard, outcome) in shards.into_iter().zip(outcomes.by_ref()) {
        if let Outcome::Failed(error) = outcome {
            failures.keep(error);
            unswept.insert(shard);
        }
    }
    Ok(Written { outcomes, unswept })
}
