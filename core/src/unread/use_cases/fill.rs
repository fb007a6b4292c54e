//! Fills cold users' counters from the records: one caller at a time (a lease), everybody else waits for it.

use std::collections::BTreeMap;

use super::encoded_changes::steps;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::LEASE_TTL_MS;
use crate::port::{Check, Mutation, Outcome, Query, Transaction, UnreadRequest, World};
use crate::unread::rules;
use crate::{store_answers, store_calls};

/// Fills those that nobody else is filling. Answers the others: they are warm soon, or already.
///
/// At most [`crate::limits::LIST_MAX`] users.
pub(crate) async fn fill<W: World>(world: &W, users: &[UserId]) -> Result<Vec<UserId>, Error> {
    let token = world.now().to_string().into_bytes();
    let (mine, mut waiting) = lease(world, users, &token).await?;
    if mine.is_empty() {
        return Ok(waiting);
    }
    let positions = positions(world, &mine).await?;
    let requests = mine.iter().map(|user| UnreadRequest { user: *user, conversations: None }).collect();
    let snapshots = world.unread(requests).await?;
    let untold = snapshots.iter().zip(&positions).flat_map(|(snapshot, known)| {
        snapshot.counters.iter().map(|counter| (known.get(&counter.conversation).copied(), *counter))
    });
    let steps = steps(world, untold.collect()).await?;
    let transactions = snapshots
        .iter()
        .zip(&positions)
        .map(|(snapshot, known)| rules::fill(&token, known, snapshot, &steps))
        .collect();
    for (user, outcome) in mine.into_iter().zip(store_calls::commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => world.count("fill", &[("cache", "unread")], 1),
            Outcome::Refused(_) => waiting.push(user),
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Ok(waiting)
}

/// Takes the lease of those that are cold and free; answers the taken and the others.
///
/// The lease holds a token: whoever outlives it has lost the right to fill, even if nobody else took it.
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
    let mut mine = Vec::new();
    let mut others = Vec::new();
    for (user, outcome) in users.iter().zip(store_calls::commit_all(world, transactions).await?) {
        match outcome {
            Outcome::Committed(_) => mine.push(*user),
            Outcome::Refused(_) => others.push(*user),
            Outcome::Failed(error) => return Err(error.into()),
        }
    }
    Ok((mine, others))
}

/// Up to where each conversation had been announced before the counters were forgotten.
async fn positions<W: World>(world: &W, users: &[UserId]) -> Result<Vec<BTreeMap<ConversationId, Seq>>, Error> {
    let queries = users.iter().map(|user| Query::Fields(Key::of_user(Space::UnreadSequence, *user))).collect();
    let values = store_calls::read_all(world, queries, 1).await?;
    let parsed = values.into_iter().map(|value| {
        let fields = store_answers::fields(Some(value))?.into_iter();
        let named = fields.filter_map(|(name, text)| Some((name.parse().ok()?, text)));
        named.map(|(conversation, text)| Ok((conversation, store_answers::seq(&text)?))).collect::<Result<_, Error>>()
    });
    parsed.collect()
}
