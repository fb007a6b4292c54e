//! Unread counters: exact, never negative, rebuilt from the records whenever they are missing.
//!
//! A user is *warm* while `unread:total` exists and *cold* otherwise; a missing counter is never taken for zero.
//! `unread:seq` says up to where each conversation has been counted **and announced** to the user: whoever moves that
//! position publishes, in the same transaction, everything it passes. So a snapshot from the records can overtake
//! an announcement that is under way without swallowing it, and a repetition counts and tells nothing twice.

mod answer;
mod counter_state;
mod fill;
pub(crate) mod rule;
mod settle;

use std::collections::BTreeMap;

pub(crate) use answer::{count_look, recorded, warm_totals};
pub use answer::{of_conversation, totals};
pub(crate) use counter_state::{CounterState, read_one, read_states};
pub(crate) use fill::fill;
pub(crate) use settle::{Cold, Target, settle, steps};

use crate::drive;
use crate::error::Error;
use crate::ids::{ConversationId, Seq, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::TRIES_MAX;
use crate::port::{Check, Mutation, Outcome, Query, Transaction, World};

/// Everything unread of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum over the conversations.
    pub total: u64,
    /// Every conversation that has been counted, those without unread messages among them.
    pub conversations: BTreeMap<ConversationId, u64>,
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
