//! A change and the events for named users never diverge: if a vote is counted, each member of the conversation
//! receives its event once; if it is not counted, nobody receives it. The loss of the whole store may take the events
//! with the votes.

use std::collections::BTreeMap;

use roost_core::ids::UserId;
use roost_core::key::Space;
use roost_core::port::{Mutation, Transaction};

use crate::simulation::ground_truth::Violation;
use crate::simulation::votes::{EVENT, ITEM};
use crate::simulation::world::World;

/// Records the votes that a transaction has counted.
pub(crate) fn committed(world: &World, transaction: &Transaction) {
    for mutation in &transaction.mutations {
        let Mutation::AddField(key, vote, _) = mutation else { continue };
        if key.space == Space::App && key.item.as_deref() == Some(ITEM) {
            let now_ms = world.kernel.now_ms();
            if let Some(cast) = world.ground_truth().votes.get_mut(vote.as_ref()) {
                cast.counted_ms = Some(now_ms);
            }
        }
    }
}

/// Compares the feeds of all users with the votes, after everything has come to rest.
pub(crate) fn check(world: &World) {
    let now_ms = world.kernel.now_ms();
    let mut ground_truth = world.ground_truth();
    let mut received: BTreeMap<(String, UserId), u32> = BTreeMap::new();
    for (user, feed) in &ground_truth.feeds {
        for event in feed.iter().filter(|event| &*event.name == EVENT) {
            *received.entry((event.payload.to_string(), *user)).or_default() += 1;
        }
    }
    let mut wrong = None;
    for (vote, cast) in &ground_truth.votes {
        for user in &cast.notified {
            let times = received.get(&(vote.clone(), *user)).copied().unwrap_or_default();
            let fits = match cast.counted_ms {
                None => times == 0,
                // The events may be lost with the store, or with the receipt be delivered again. A user whom nobody
                // follows receives nothing that is kept.
                Some(counted_ms) => {
                    let is_owed = ground_truth.is_owed(*user, counted_ms, now_ms);
                    times == 1 || (times == 0 && !is_owed) || ground_truth.wiped_since(counted_ms)
                }
            };
            if !fits {
                wrong = Some((vote.clone(), *user, times, cast.counted_ms));
            }
        }
    }
    if let Some((vote, user, times, counted_ms)) = wrong {
        let user = world.label(user);
        ground_truth.violate(Violation::ADDRESSED, || {
            format!("{user} was notified {times} times of vote {vote}, which was counted at {counted_ms:?} ms")
        });
    }
}
