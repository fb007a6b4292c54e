//! Brings many users' states in line with the records: snapshots, races, cold users.

use std::collections::BTreeSet;

use super::counter_state::read_states;
use super::encoded_changes::steps;
use super::fill::fill;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::limits::{LEASE_WAIT_MS, LIST_MAX, TRIES_MAX};
use crate::port::{Outcome, Transaction, UnreadRequest, World};
use crate::store_calls;
use crate::unread::rules::{self, CounterState, Settlement};

/// A user's conversation and what must have been counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Whose.
    pub(crate) user: UserId,
    /// Where.
    pub(crate) conversation: ConversationId,
    /// Nothing is to do once this has been counted; `None`: the records decide.
    pub(crate) counted: Option<Seq>,
}

impl Target {
    /// Whatever the records say now.
    pub(crate) const fn any(user: UserId, conversation: ConversationId) -> Self {
        Self { user, conversation, counted: None }
    }

    /// At least this change.
    pub(crate) const fn counted(user: UserId, conversation: ConversationId, seq: Seq) -> Self {
        Self { user, conversation, counted: Some(seq) }
    }
}

/// What to do about a user without counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cold {
    /// Fill them all: somebody has to be told something.
    Fill,
    /// Nothing: whoever fills them later takes the present state.
    Leave,
}

/// Brings every target in line, telling each user whatever its position passes.
pub(crate) async fn settle<W: World>(world: &W, mut targets: Vec<Target>, cold: Cold) -> Result<(), Error> {
    let mut failure = None;
    for _ in 0..TRIES_MAX {
        let (warm, unfilled) = sort(world, &targets).await?;
        targets = match cold {
            Cold::Leave => Vec::new(),
            Cold::Fill => fill_all(world, unfilled).await?,
        };
        let waiting = !targets.is_empty();
        for outcome in apply(world, warm).await? {
            match outcome {
                (_, Outcome::Committed(_)) => {}
                (target, Outcome::Refused(_)) => targets.push(target),
                (_, Outcome::Failed(error)) => failure = Some(error),
            }
        }
        if targets.is_empty() {
            return failure.map_or(Ok(()), |error| Err(error.into()));
        }
        if waiting {
            world.wait(LEASE_WAIT_MS).await;
        }
    }
    Err(Error::Contended)
}

/// Drops what is counted already; parts warm from cold.
async fn sort<W: World>(world: &W, targets: &[Target]) -> Result<(Vec<(Target, CounterState)>, Vec<Target>), Error> {
    let states = read_states(world, targets.iter().map(|target| (target.user, target.conversation))).await?;
    let mut warm = Vec::new();
    let mut cold = Vec::new();
    for (target, state) in targets.iter().zip(states) {
        if state.total.is_none() {
            cold.push(*target);
        } else if target.counted.is_none_or(|wanted| state.seq.is_none_or(|seq| seq < wanted)) {
            warm.push((*target, state));
        }
    }
    Ok((warm, cold))
}

/// Fills cold users; answers the targets of those that somebody else is filling.
async fn fill_all<W: World>(world: &W, targets: Vec<Target>) -> Result<Vec<Target>, Error> {
    let users: BTreeSet<_> = targets.iter().map(|target| target.user).collect();
    let users: Vec<_> = users.into_iter().collect();
    let mut waiting = BTreeSet::new();
    for chunk in users.chunks(LIST_MAX) {
        waiting.extend(fill(world, chunk).await?);
    }
    Ok(targets.into_iter().filter(|target| waiting.contains(&target.user)).collect())
}

/// Tries each warm target once. A stale snapshot counts as a lost race.
async fn apply<W: World>(world: &W, warm: Vec<(Target, CounterState)>) -> Result<Vec<(Target, Outcome)>, Error> {
    let mut snapshots = Vec::with_capacity(warm.len());
    for chunk in warm.chunks(LIST_MAX) {
        let requests = chunk
            .iter()
            .map(|(target, _)| UnreadRequest { user: target.user, conversations: Some(vec![target.conversation]) })
            .collect();
        snapshots.extend(world.unread(requests).await?.into_iter().map(|s| s.counters.into_iter().next()));
    }
    let known = warm.iter().zip(&snapshots);
    let untold = known.filter_map(|((_, state), counter)| Some((state.seq, (*counter)?))).collect();
    let steps = steps(world, untold).await?;
    let mut outcomes = Vec::new();
    let mut tried: Vec<Target> = Vec::new();
    let mut transactions: Vec<Transaction> = Vec::new();
    for ((target, state), snapshot) in warm.into_iter().zip(snapshots) {
        match rules::settle(target.user, target.conversation, &state, snapshot.as_ref(), &steps) {
            Settlement::Settled => {}
            Settlement::Stale => outcomes.push((target, Outcome::Refused(0))),
            Settlement::Apply(transaction) => {
                tried.push(target);
                transactions.push(transaction);
            }
        }
    }
    outcomes.extend(tried.into_iter().zip(store_calls::commit_all(world, transactions).await?));
    Ok(outcomes)
}
