//! Keeps the ledger informed of memberships and of who may see whom; judges nothing.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::Created;

use crate::simulation::world::World;

/// A conversation is there now.
pub(crate) fn created(world: &World, created: &Created) {
    if !created.repeated {
        for member in &created.conversation.members {
            moved(world, created.conversation.id, *member);
        }
    }
}

/// Somebody's membership may have changed.
pub(crate) fn moved(world: &World, conversation: ConversationId, user: UserId) {
    let now_ms = world.kernel.now_ms();
    world.ledger().moved_ms.insert((conversation, user), now_ms);
}

/// Two people's contact or block may have changed.
pub(crate) fn met(world: &World, one: UserId, other: UserId) {
    let visible = world.records.audience_of(one).contains(&other);
    let now_ms = world.kernel.now_ms();
    let mut ledger = world.ledger();
    for pair in [(one, other), (other, one)] {
        if visible {
            ledger.visible_since_ms.entry(pair).or_insert(now_ms);
        } else {
            ledger.visible_since_ms.remove(&pair);
        }
    }
}
