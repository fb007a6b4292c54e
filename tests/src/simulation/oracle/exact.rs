//! Invariant 3 at every moment: a stored counter is exactly what the records said at the stored position. Whatever the
//! order of messages, deletions and reading is, a transaction that moves the position moves the counter with it.

use std::collections::BTreeSet;

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::key::{Key, Space};
use roost_core::port::{KeyValue, Mutation, Query, Transaction, Value};

use crate::simulation::executor::complete_now;
use crate::simulation::world::World;

/// Checks the counters that a transaction has changed.
pub(crate) fn committed(world: &World, user: UserId, transaction: &Transaction) {
    for conversation in touched(transaction) {
        let Some((count, seq, read)) = stored(world, user, conversation) else { continue };
        let mut ground_truth = world.ground_truth();
        let exact = ground_truth.unread_at(user, conversation, read, seq);
        if u64::try_from(count) != Ok(exact) {
            ground_truth.violate(3, || {
                format!(
                    "{} has {count} unread in {conversation} at {seq}, read up to {read}; at that position there were \
                     {exact}",
                    world.label(user)
                )
            });
        }
    }
}

/// The conversations whose counters or positions the transaction has set.
fn touched(transaction: &Transaction) -> BTreeSet<ConversationId> {
    let mut names: Vec<&str> = Vec::new();
    for mutation in &transaction.mutations {
        match mutation {
            Mutation::SetFields(key, fields) if is_position(key) => {
                names.extend(fields.iter().map(|(name, _)| &**name))
            }
            mutation if mutation.key().space == Space::UnreadConversation => {
                names.extend(mutation.key().item.as_deref());
            }
            _ => {}
        }
    }
    names.into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn is_position(key: &Key) -> bool {
    matches!(key.space, Space::UnreadSequence | Space::UnreadRead)
}

/// The stored counter with its position; `None` if a part is missing.
fn stored(world: &World, user: UserId, conversation: ConversationId) -> Option<(i64, Seq, Seq)> {
    let position = |space| Query::NamedFields(Key::of_user(space, user), [conversation.to_string()].into());
    let queries = vec![
        Query::Counter(Key::unread_conversation(user, conversation)),
        position(Space::UnreadSequence),
        position(Space::UnreadRead),
    ];
    let values = complete_now(world.store.read(queries)).ok()?;
    let [Value::Counter(count), Value::NamedFields(seq), Value::NamedFields(read)] = values.as_slice() else {
        return None;
    };
    let number = |fields: &[Option<String>]| fields.first()?.as_deref()?.parse().ok().map(Seq);
    Some((*count, number(seq)?, number(read)?))
}
