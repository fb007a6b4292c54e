//! Deletes the cached counters of a user: in one transaction, or in chunks under the lease, the total first.

use super::decimal;
use super::fill::{NO_CONVERSATION, release, renew};
use crate::ids::{ConversationId, UserId};
use crate::key::{Key, Owner, Space};
use crate::limits::{FILL_CHUNK, LEASE_TTL_MS};
use crate::port::{Check, Mutation, Transaction};

/// How the counters of a user are deleted. The steps are carried out one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForgetPlan {
    /// Deletes the total, unless it has changed. From then on the user is uncached.
    pub(crate) first: Transaction,
    /// Delete the counters of many conversations. They do not depend on each other, and are refused once another caller
    /// holds the lease: whoever fills the counters replaces or deletes what is left of them.
    pub(crate) chunks: Vec<Transaction>,
    /// Gives the lease back, if the first step took it.
    pub(crate) last: Option<Transaction>,
}

/// Deletes the total, which must still be `total`, and the counters of these conversations. The positions remain: they
/// say what the user's clients know.
pub(crate) fn forget(user: UserId, total: i64, conversations: &[ConversationId], token: &[u8]) -> ForgetPlan {
    let key = Key::of_user(Space::UnreadTotal, user);
    let first = Transaction::new(Owner::User(user))
        .check(Check::Equals(key.clone(), decimal(total)))
        .mutate(Mutation::Delete(key));
    if conversations.is_empty() {
        let positions = Key::of_user(Space::UnreadSequence, user);
        let marked = first.mutate(Mutation::SetFields(positions, vec![(NO_CONVERSATION.into(), "0".into())]));
        return ForgetPlan { first: marked, chunks: Vec::new(), last: None };
    }
    if conversations.len() <= FILL_CHUNK {
        return ForgetPlan { first: delete_counters(first, user, conversations), chunks: Vec::new(), last: None };
    }
    let lease = Mutation::Set(Key::of_user(Space::UnreadLease, user), token.to_vec(), Some(LEASE_TTL_MS));
    let chunks = conversations.chunks(FILL_CHUNK);
    ForgetPlan {
        first: first.mutate(lease),
        chunks: chunks.map(|chunk| delete_counters(renew(user, token), user, chunk)).collect(),
        last: Some(release(user, token)),
    }
}

fn delete_counters(transaction: Transaction, user: UserId, conversations: &[ConversationId]) -> Transaction {
    let counters = conversations.iter().map(|conversation| Key::unread_conversation(user, *conversation));
    counters.fold(transaction, |all, counter| all.mutate(Mutation::Delete(counter)))
}
