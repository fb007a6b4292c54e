//! Records memberships and visibility in the ground truth; checks nothing.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::Created;

use crate::simulation::world::World;

/// Records a created conversation.
pub(crate) fn created(world: &World, created: &Created) {
    if !created.repeated {
        for member in &created.conversation.members {
            moved(world, created.conversation.id, *member);
        }
    }
}

/// Records that a membership may have changed.
pub(crate) fn moved(world: &World, conversation: ConversationId, user: UserId) {
    let now_ms = world.kernel.now_ms();
    world.ground_truth().moved_ms.insert((conversation, user), now_ms);
}

/// Records that the contact or block between two users may have changed.
pub(crate) fn contacts_changed(world: &World, one: UserId, other: UserId) {
    let visible = world.records.audience_of(one).contains(&other);
    let now_ms = world.kernel.now_ms();
    let mut ground_truth = world.ground_truth();
    for pair in [(one, other), (other, one)] {
        if visible {
            ground_truth.visible_since_ms.entry(pair).or_insert(now_ms);
        } else {
            ground_truth.visible_since_ms.remove(&pair);
        }
    }
}
