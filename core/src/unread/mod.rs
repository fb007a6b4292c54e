//! Unread counters: exact, never negative, rebuilt from the records whenever they are missing.
//!
//! A user is *warm* while `unread:total` exists and *cold* otherwise; a missing counter is never taken for zero.
//! `unread:seq` says up to where each conversation has been counted **and announced** to the user: whoever moves that
//! position publishes, in the same transaction, everything it passes. So a snapshot from the records can overtake
//! an announcement that is under way without swallowing it, and a repetition counts and tells nothing twice.

mod fill;
pub(crate) mod rule;
mod settle;
mod standing;

use std::collections::BTreeMap;

pub(crate) use fill::fill;
pub(crate) use settle::{Cold, Target, settle, steps};
pub(crate) use standing::{Standing, read_one};

use crate::drive;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{LEASE_WAIT_MS, TRIES_MAX};
use crate::port::{Check, Mutation, Outcome, Query, RecordsError, Transaction, Value, World};

/// Everything unread of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum over the conversations.
    pub total: u64,
    /// Every conversation that has been counted, those without unread messages among them.
    pub conversations: BTreeMap<ConversationId, u64>,
}

/// The user's counters, from the store alone when it is warm; one round trip.
///
/// Counters that do not add up (a store that evicts can lose one) are dropped and rebuilt.
pub async fn totals<W: World>(world: &W, user: UserId) -> Result<Totals, Error> {
    for attempt in 0..TRIES_MAX {
        match read_totals(world, user).await? {
            Some(totals) => {
                let outcome = if attempt == 0 { "hit" } else { "miss" };
                world.count("cache", &[("cache", "unread"), ("outcome", outcome)], 1);
                return Ok(totals);
            }
            None => warm_up(world, user).await?,
        }
    }
    Err(Error::Contended)
}

/// The user's counter of one conversation; one round trip when warm.
pub async fn of_conversation<W: World>(world: &W, user: UserId, conversation: ConversationId) -> Result<u64, Error> {
    let mut settled = false;
    for attempt in 0..TRIES_MAX {
        let standing = read_one(world, user, conversation).await?;
        if let (Some(_), Some(_), Some(count)) = (standing.total, standing.seq, standing.count) {
            let outcome = if attempt == 0 { "hit" } else { "miss" };
            world.count("cache", &[("cache", "unread"), ("outcome", outcome)], 1);
            return Ok(count.unsigned_abs());
        }
        match standing.total {
            None => warm_up(world, user).await?,
            Some(_) if settled => return Err(RecordsError::NotAMember.into()),
            Some(_) => {
                settle(world, vec![Target::any(user, conversation)], Cold::Fill).await?;
                settled = true;
            }
        }
    }
    Err(Error::Contended)
}

/// Forgets the cached counters; the next read rebuilds them. What has been announced stays known, so that nothing is
/// announced twice.
pub async fn forget<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    let total = Key::of_user(Space::UnreadTotal, user);
    let positions = Key::of_user(Space::UnreadSequence, user);
    for _ in 0..TRIES_MAX {
        let mut values =
            world.read(vec![Query::Counter(total.clone()), Query::Fields(positions.clone())]).await?.into_iter();
        let Some(found) = drive::counter(values.next())? else { return Ok(()) };
        let mut transaction = Transaction::new(Owner::User(user))
            .check(Check::Equals(total.clone(), found.to_string().into_bytes()))
            .mutate(Mutation::Delete(total.clone()))
            .mutate(Mutation::Delete(Key::of_user(Space::UnreadRead, user)));
        for (name, _) in drive::fields(values.next())? {
            let counter = Key { space: Space::UnreadConversation, owner: Owner::User(user), item: Some(name) };
            transaction = transaction.mutate(Mutation::Delete(counter));
        }
        match drive::commit_one(world, transaction).await? {
            Outcome::Committed(_) => return Ok(()),
            Outcome::Refused(_) => {}
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

/// Fills a cold user, or lets some time pass while another does.
async fn warm_up<W: World>(world: &W, user: UserId) -> Result<(), Error> {
    if !fill(world, &[user]).await?.is_empty() {
        world.wait(LEASE_WAIT_MS).await;
    }
    Ok(())
}

async fn read_totals<W: World>(world: &W, user: UserId) -> Result<Option<Totals>, Error> {
    let queries = vec![
        Query::Counter(Key::of_user(Space::UnreadTotal, user)),
        Query::IndexedCounters { index: Key::of_user(Space::UnreadSequence, user), space: Space::UnreadConversation },
    ];
    let mut values = world.read(queries).await?.into_iter();
    let Some(total) = drive::counter(values.next())? else { return Ok(None) };
    let Some(Value::Counters(counters)) = values.next() else { return Err(drive::unexpected("counters").into()) };
    let sum: i64 = counters.iter().map(|(_, count)| *count).sum();
    if sum != total || counters.iter().any(|(_, count)| *count < 0) {
        world.count("repair", &[("what", "unread")], 1);
        forget(world, user).await?;
        return Ok(None);
    }
    let conversations =
        counters.into_iter().filter_map(|(item, count)| Some((item.parse().ok()?, count.unsigned_abs()))).collect();
    Ok(Some(Totals { total: total.unsigned_abs(), conversations }))
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
