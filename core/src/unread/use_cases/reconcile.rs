//! Reconciles the counters of many users with the records: takes snapshots, repeats after lost races, and fills
//! uncached users where that is asked for.

use std::collections::BTreeSet;

use super::amend::amend;
use super::counter_state::read_states;
use super::fill::fill;
use super::missed_events::{MemberSnapshot, missed_events};
use crate::error::{Error, FirstFailure};
use crate::ids::{ConversationId, Seq, UserId};
use crate::insertion::CollectByInsertion as _;
use crate::key::Key;
use crate::limits::{LIST_MAX, TRIES_MAX};
use crate::port::{Counter, Outcome, Query, StoreError, Transaction, UnreadRequest, Value, World};
use crate::store_calls;
use crate::unread::rules::{self, CounterState, Reconciliation, is_added};

/// A user's conversation and the change that must have been counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) user: UserId,
    pub(crate) conversation: ConversationId,
    /// Nothing is left to do once this change has been counted; `None`: the latest snapshot decides.
    pub(crate) counted: Option<Seq>,
    /// Whether clients are shown the conversation even if they should know it, because an earlier attempt to show it,
    /// or to tell what changed meanwhile, may have failed half-way.
    pub(crate) is_repeated: bool,
}

impl Target {
    /// Reconciles with the latest snapshot.
    pub(crate) const fn latest(user: UserId, conversation: ConversationId) -> Self {
        Self { user, conversation, counted: None, is_repeated: false }
    }

    /// As [`Target::latest`], and shows the conversation once more.
    pub(crate) const fn repeated(user: UserId, conversation: ConversationId) -> Self {
        Self { is_repeated: true, ..Self::latest(user, conversation) }
    }

    /// Reconciles until at least this change has been counted.
    pub(crate) const fn counted(user: UserId, conversation: ConversationId, seq: Seq) -> Self {
        Self { user, conversation, counted: Some(seq), is_repeated: false }
    }
}

/// What to do with a user who is uncached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncached {
    /// Fill all their counters, because somebody asks for them.
    Fill,
    /// Fill all counters of those who are followed, because an event has to be published to them. The others are owed
    /// nothing: whoever fills their counters later takes the state of that time.
    ///
    /// Whoever takes the lease of a user makes the user followed in the same step. So a user whom another caller fills,
    /// or has filled since the user was found uncached, is looked at again: that caller may have read the records
    /// before the change.
    FillFollowed,
}

/// Reconciles every target, and publishes to each user the changes between the old and the new position. A user whose
/// counters cannot be read or filled does not stop the others.
///
/// # Errors
/// The first error, after every other target was reconciled; immediately if the store or the records are unavailable.
pub(crate) async fn reconcile<W: World>(world: &W, mut targets: Vec<Target>, uncached: Uncached) -> Result<(), Error> {
    let mut failures = FirstFailure::default();
    for attempt in 0..TRIES_MAX {
        let Partition { cached, uncached: unfilled } = partition(world, &targets, &mut failures).await?;
        let mut refused = Vec::new();
        for outcome in apply(world, cached, &mut failures).await? {
            match outcome {
                (_, Outcome::Committed(_)) => {}
                (target, Outcome::Refused(_)) => refused.push(target),
                (_, Outcome::Failed(error @ StoreError::Unavailable { .. })) => return Err(error.into()),
                (_, Outcome::Failed(error)) => failures.keep(error),
            }
        }
        let unfilled = match uncached {
            Uncached::Fill => unfilled,
            Uncached::FillFollowed => followed(world, unfilled).await?,
        };
        targets = fill_all(world, unfilled, &mut failures).await?;
        let waiting = !targets.is_empty();
        targets.extend(refused);
        if targets.is_empty() {
            return failures.report();
        }
        if waiting {
            world.wait(rules::lease_wait_ms(attempt)).await;
        }
    }
    Err(Error::Contended)
}

/// The targets of which something is left to do.
#[derive(Default)]
struct Partition {
    cached: Vec<(Target, CounterState)>,
    uncached: Vec<Target>,
}

/// Drops the targets whose change is counted already, and those whose state cannot be read. Separates cached users from
/// uncached ones.
async fn partition<W: World>(world: &W, targets: &[Target], failures: &mut FirstFailure) -> Result<Partition, Error> {
    let states = read_states(world, targets.iter().map(|target| (target.user, target.conversation))).await?;
    let mut partition = Partition::default();
    for (target, state) in targets.iter().zip(states) {
        match state {
            Err(error) => failures.keep(error),
            Ok(state) if state.total.is_none() => partition.uncached.push(*target),
            Ok(state) if target.counted.is_none_or(|counted| state.seq.is_none_or(|seq| seq < counted)) => {
                partition.cached.push((*target, state));
            }
            Ok(_) => {}
        }
    }
    Ok(partition)
}

/// Keeps the targets whose user is followed. One round trip for each 1,024 users.
async fn followed<W: World>(world: &W, targets: Vec<Target>) -> Result<Vec<Target>, Error> {
    let queries = targets.iter().map(|target| Query::Presence(Key::followed(target.user))).collect();
    let values = store_calls::read_all(world, queries, 1).await?;
    let followed = targets.into_iter().zip(values).filter(|(_, value)| *value == Value::Presence(true));
    Ok(followed.map(|(target, _)| target).collect())
}

/// Fills uncached users. Returns the targets of those whom another caller is filling, and the repeated ones of those
/// who are filled now: a fill shows nobody a conversation once more. A user who cannot be filled does not stop the
/// others.
async fn fill_all<W: World>(
    world: &W,
    targets: Vec<Target>,
    failures: &mut FirstFailure,
) -> Result<Vec<Target>, Error> {
    let users: BTreeSet<_> = targets.iter().map(|target| target.user).collect_by_insertion();
    let users: Vec<_> = users.into_iter().collect();
    let (mut filled, mut waiting) = (BTreeSet::new(), BTreeSet::new());
    for chunk in users.chunks(LIST_MAX) {
        let failed = match fill(world, chunk).await {
            Ok(outcome) => {
                filled.extend(outcome.filled);
                waiting.extend(outcome.waiting);
                outcome.failure.report()
            }
            Err(error) => Err(error),
        };
        failures.keep_lasting(failed)?;
    }
    let is_left =
        |target: &Target| waiting.contains(&target.user) || (target.is_repeated && filled.contains(&target.user));
    Ok(targets.into_iter().filter(is_left).collect())
}

/// Tries each target once. A stale snapshot counts as a lost race.
async fn apply<W: World>(
    world: &W,
    cached: Vec<(Target, CounterState)>,
    failures: &mut FirstFailure,
) -> Result<Vec<(Target, Outcome)>, Error> {
    let mut snapshots = Vec::with_capacity(cached.len());
    for chunk in cached.chunks(LIST_MAX) {
        let requests =
            chunk.iter().map(|(target, _)| UnreadRequest::named(target.user, vec![target.conversation])).collect();
        snapshots.extend(world.unread(requests).await?.into_iter().map(|s| s.counters.into_iter().next()));
    }
    let stored = cached.iter().zip(&snapshots);
    let snapshot = |((target, state), counter): (&(Target, CounterState), &Option<Counter>)| {
        let (position, counter) = (state.seq, (*counter)?);
        let is_added = target.is_repeated || is_added(position, &counter);
        Some(MemberSnapshot { user: target.user, position, counter, is_added })
    };
    let missed = missed_events(world, stored.filter_map(snapshot).collect()).await?;
    let mut outcomes = Vec::new();
    let mut tried: Vec<Target> = Vec::new();
    let mut notified = Vec::new();
    let mut unrepeated = BTreeSet::new();
    let mut transactions: Vec<Transaction> = Vec::new();
    for ((target, state), snapshot) in cached.into_iter().zip(snapshots) {
        match rules::reconcile(target.user, target.conversation, &state, snapshot.as_ref(), &missed) {
            Reconciliation::InAgreement => {
                if let Some(counter) = snapshot.filter(|_| target.is_repeated) {
                    notified.push((target.user, target.conversation));
                    tried.push(target);
                    transactions.push(rules::repeat(target.user, &state, &counter, &missed));
                }
            }
            Reconciliation::Stale => outcomes.push((target, Outcome::Refused(0))),
            Reconciliation::Apply(transaction) => {
                if snapshot.is_some_and(|counter| is_added(state.seq, &counter)) {
                    notified.push((target.user, target.conversation));
                } else if target.is_repeated && snapshot.is_some() {
                    unrepeated.insert(target);
                }
                tried.push(target);
                transactions.push(transaction);
            }
        }
    }
    let committed: Vec<(Target, Outcome)> =
        tried.into_iter().zip(store_calls::commit_all(world, transactions).await?).collect();
    let done = committed.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Committed(_)));
    let done: BTreeSet<_> = done.map(|(target, _)| (target.user, target.conversation)).collect_by_insertion();
    notified.retain(|notified| done.contains(notified));
    failures.keep_lasting(amend(world, notified, &missed.added).await)?;
    outcomes.extend(committed.into_iter().map(|(target, outcome)| match outcome {
        // The user is up to date now; the conversation is shown once more by the next attempt.
        Outcome::Committed(_) if unrepeated.contains(&target) => (target, Outcome::Refused(0)),
        outcome => (target, outcome),
    }));
    Ok(outcomes)
}
