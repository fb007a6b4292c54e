//! Which transactions a full store refuses: those that could make it larger.
//!
//! What the host writes for itself counts like everything else, with one exception: a full store must not keep the host
//! from ending what has begun, because that is what makes room again.

use roost_core::key::{Key, Space};
use roost_core::port::{Check, Mutation, Text, Transaction};

/// Whether a transaction could make the store larger.
pub(super) fn may_grow(transaction: &Transaction) -> bool {
    let is_of_host = |mutation: &Mutation| mutation.key().space == Space::Host;
    let is_allowed =
        |mutation: &Mutation| adds_nothing(mutation) || (is_of_host(mutation) && ends_something(transaction, mutation));
    !transaction.mutations.iter().all(is_allowed) || transaction.publications.iter().any(|event| event.durable)
}

const fn adds_nothing(mutation: &Mutation) -> bool {
    matches!(
        mutation,
        Mutation::Delete(_)
            | Mutation::DeleteFields(_, _)
            | Mutation::OrderedRemove(_, _)
            | Mutation::Expire(_, _)
            | Mutation::Persist(_)
    )
}

/// Whether a mutation of one of the host's own keys belongs to the end of something that has begun. New entries of the
/// outbox, their marks, and new calls in the queue of a function do not.
fn ends_something(transaction: &Transaction, mutation: &Mutation) -> bool {
    match mutation {
        // A note without content that something has ended: a receipt, a void, a call that was made.
        Mutation::Set(_, value, Some(_)) => value.is_empty(),
        // The claim or the release of a slot, which replaces the record that was read before.
        Mutation::SetFields(key, _) => transaction.checks.iter().any(|check| compares_field(check, key)),
        // A claim of a mark or of a call, which moves what is there.
        Mutation::OrderedPut(key, member, _) => transaction.checks.iter().any(|check| has_member(check, key, member)),
        // Sizes and attempts.
        Mutation::AddField(_, _, _) => true,
        _ => false,
    }
}

fn compares_field(check: &Check, of: &Key) -> bool {
    matches!(check, Check::FieldEquals(key, _, _) if key == of)
}

fn has_member(check: &Check, of: &Key, expected: &Text) -> bool {
    matches!(check, Check::ScoreEquals(key, member, Some(_)) if key == of && member == expected)
}
