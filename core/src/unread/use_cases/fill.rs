//! Fills the counters of uncached users from the records. A lease lets one caller at a time do this for a user; other
//! callers wait for it.

use std::collections::BTreeMap;

use super::encoded_changes::encoded_changes;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::LEASE_TTL_MS;
use crate::port::{Check, Mutation, Outcome, Query, Transaction, UnreadRequest, World};
use crate::unread::rules;
use crate::{store_answers, store_calls};

/// Fills the users whose lease is free. Returns the others: their counters exist already or will exist soon.
///
/// At most [`crate::limits::LIST_MAX`] users.
pub(crate) async fn fill<W: World>(world: &W, users: &[UserId]) -> Result<Vec<UserId>, Error> {
    let token = world.now().to_string().into_bytes();
    let (leased, mut waiting) = lease(world, users, &token).await?;
    if leased.is_empty() {
        return Ok(waiting);
    }
    let positions = positions(world, &leased).await?;
    let requests = leased.iter().map(|user| UnreadRequest { user: *user, conversations: None }).collect();
    let snapshots = world.unread(requests).await?;
    let stored = snapshots.iter().zip(&positions).flat_map(|(snapshot, positions)| {
        snapshot.counters.iter().map(|counter| (positions.get(&counter.conversation).copied(), *counter))
    });
    let changes = encoded_changes(world, stored.collect()).await?;
    let transactions = snapshots
        .iter()
        .zip(&positions)
        .map(|(snapshot, positions)| rules::fill(&token, positions, snapshot, &changes))
        .collect();
    for (user, outcome) in leased.into_iter().zip(store_calls::commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => world.count("fill", &[("cache", "unread")], 1),
            Outcome::Refused(_) => waiting.push(user),
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Ok(waiting)
}

/// Takes the lease of every user that is uncached and has none. Returns the users whose lease was taken, and the others.
///
/// The lease holds a token. A caller whose lease has expired may no longer fill, even if no other caller took the lease.
async fn lease<W: World>(world: &W, users: &[UserId], token: &[u8]) -> Result<(Vec<UserId>, Vec<UserId>), Error> {
    let transactions = users
        .iter()
        .map(|user| {
            let lease = Key::of_user(Space::UnreadLease, *user);
            Transaction::new(Owner::User(*user))
                .check(Check::Absent(Key::of_user(Space::UnreadTotal, *user)))
                .check(Check::Absent(lease.clone()))
                .mutate(Mutation::Set(lease, token.to_vec(), Some(LEASE_TTL_MS)))
        })
        .collect();
    let mut leased = Vec::new();
    let mut others = Vec::new();
    for (user, outcome) in users.iter().zip(store_calls::commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => leased.push(*user),
            Outcome::Refused(_) => others.push(*user),
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Ok((leased, others))
}

/// For each user and conversation, the sequence number up to which changes were published before the counters were
/// deleted.
async fn positions<W: World>(world: &W, users: &[UserId]) -> Result<Vec<BTreeMap<ConversationId, Seq>>, Error> {
    let queries = users.iter().map(|user| Query::Fields(Key::of_user(Space::UnreadSequence, *user))).collect();
    let values = store_calls::read_all(world, queries, 1).await?;
    values.into_iter().map(|value| Ok(store_answers::positions(Some(value))?)).collect()
}
