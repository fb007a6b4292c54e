//! Invariant 9 at every client: durable events arrive in order of publication, each exactly once, or the client is told
//! to resynchronise; new messages of a conversation arrive by sequence, without gaps.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{ChangeKind, Delivery};

use super::counters::MessageEvent;
use crate::simulation::ground_truth::GroundTruth;
use crate::simulation::view::View;
use crate::simulation::world::World;

/// Checks a durable event that a client received; `feed_index` is its index in all events published to the user.
pub(crate) fn received(world: &World, user: UserId, device: &str, feed_index: &mut usize, delivery: &Delivery) {
    let mut ground_truth = world.ground_truth();
    let expected = ground_truth.feeds.get(&user).and_then(|feed| feed.get(*feed_index)).cloned();
    let fits = expected.as_ref().is_some_and(|event| {
        Some(&event.position) == delivery.position.as_ref()
            && event.name == delivery.name
            && event.payload == delivery.payload
    });
    *feed_index += 1;
    if !fits {
        ground_truth.violate(9, || format!("{device} got {delivery:?} and not {expected:?}, without a resync"));
    }
}

/// Checks a new message that a client received without a gap in its feed.
pub(crate) fn new_message(world: &World, user: UserId, device: &str, view: &mut View, payload: &MessageEvent) {
    let before = view.newest.insert(payload.conversation, payload.seq);
    let Some(before) = before else { return };
    let mut ground_truth = world.ground_truth();
    if payload.seq <= before {
        ground_truth
            .violate(9, || format!("{device} got message {} of {} after {before}", payload.seq, payload.conversation));
    }
    if let Some(missing) = missing(&ground_truth, user, payload.conversation, before, payload.seq) {
        ground_truth.violate(9, || format!("{device} got message {} and never {missing}", payload.seq));
    }
}

fn missing(
    ground_truth: &GroundTruth,
    user: UserId,
    conversation: ConversationId,
    after: Seq,
    before: Seq,
) -> Option<Seq> {
    let changes = ground_truth.changes.get(&conversation)?;
    let between = changes.iter().filter(|change| change.seq > after && change.seq < before);
    let deleted =
        |message| changes.iter().any(|change| change.kind == ChangeKind::Deleted && change.message == message);
    // A member who left and came back does not see messages from in between.
    let remained = between.clone().all(|change| change.members.contains(&user))
        && !ground_truth.moved_ms.contains_key(&(conversation, user));
    let mut expected = between.filter(|change| change.kind == ChangeKind::Sent && !deleted(change.message));
    if remained { expected.next().map(|change| change.seq) } else { None }
}
