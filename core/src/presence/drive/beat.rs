//! Signs of life: one round trip as long as nothing changes, bulk steps for the users of whom contacts must hear.

use std::collections::BTreeSet;

use super::announce::announce;
use super::{Failures, at_most_a_list, leave, query};
use crate::drive::{commit_all, read_all};
use crate::error::Error;
use crate::event::PresenceView;
use crate::ids::{ConnectionId, UserId};
use crate::key::Owner;
use crate::limits::TRIES_MAX;
use crate::port::{Outcome, Transaction, World};
use crate::presence::beat::{self as rule, Beat};
use crate::presence::standing::Standing;
use crate::time::Timestamp;

/// A connection opened: it beats, and is told of its user's contacts.
pub async fn connected<W: World>(
    world: &W,
    user: UserId,
    connection: &ConnectionId,
) -> Result<Vec<PresenceView>, Error> {
    beat(world, &[(user, connection.clone())]).await?;
    leave::prune(world, user).await?;
    query::of_contacts(world, user).await
}

/// These connections gave a sign of life; at most [`crate::limits::LIST_MAX`].
///
/// Signs are written even where contacts cannot be told at present; the error then says that the
/// announcement is still due.
pub async fn beat<W: World>(world: &W, beats: &[(UserId, ConnectionId)]) -> Result<(), Error> {
    at_most_a_list("connections", beats.len())?;
    let mut failures = Failures::default();
    let mut pending = refresh(world, rule::by_user(beats), &mut failures).await?;
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
    beats: Vec<Beat<'a>>,
    failures: &mut Failures,
) -> Result<Vec<Beat<'a>>, Error> {
    if beats.is_empty() {
        return Ok(beats);
    }
    let now = world.now();
    let transactions = beats.iter().map(|beat| rule::refresh(beat, now)).collect();
    let written = commit(world, &beats, (transactions, now), failures).await?;
    let mut refused = Vec::new();
    for (beat, outcome) in beats.into_iter().zip(written.outcomes) {
        match outcome {
            Outcome::Committed(_) => {}
            // Nobody comes online without a deadline among those that are swept.
            Outcome::Refused(_) if written.unswept.contains(&Owner::presence_shard(beat.user)) => {}
            Outcome::Refused(_) => refused.push(beat),
            Outcome::Failed(error) => failures.keep(error),
        }
    }
    Ok(refused)
}

/// One step for each of these users. Answers those who need another.
async fn advance<'a, W: World>(
    world: &W,
    beats: Vec<Beat<'a>>,
    failures: &mut Failures,
) -> Result<Vec<Beat<'a>>, Error> {
    let queries = beats.iter().map(|beat| Standing::query(beat.user)).collect();
    let values = read_all(world, queries, 1).await?;
    let now = world.now();
    let mut transactions = Vec::with_capacity(beats.len());
    let mut plans = Vec::with_capacity(beats.len());
    for (beat, value) in beats.iter().zip(&values) {
        let decision = rule::decide(beat, &Standing::answered(value)?, now);
        transactions.push(decision.transaction);
        plans.push((decision.announcement, decision.again));
    }
    let written = commit(world, &beats, (transactions, now), failures).await?;
    let mut announcements = Vec::new();
    let mut unfinished = Vec::new();
    for ((beat, (announcement, again)), outcome) in beats.into_iter().zip(plans).zip(written.outcomes) {
        match outcome {
            Outcome::Committed(_) => {
                announcements.extend(announcement);
                unfinished.extend(again.then_some(beat));
            }
            Outcome::Refused(_) => unfinished.push(beat),
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

/// Every write of a beat carries the users' deadlines along, so that a host that was held up between two steps
/// brings nobody online whom no sweep would find.
async fn commit<W: World>(
    world: &W,
    beats: &[Beat<'_>],
    (transactions, now): (Vec<Transaction>, Timestamp),
    failures: &mut Failures,
) -> Result<Written, Error> {
    let mut all = rule::deadlines(beats, now);
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
