//! Invariant 9 at every client: durable events arrive in the order of publication, each once and none left out, or the
//! client is told to resynchronise; new messages of a conversation arrive by sequence, none missing.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{ChangeKind, Delivery};

use super::counters::News;
use crate::simulation::ledger::Ledger;
use crate::simulation::view::View;
use crate::simulation::world::World;

/// A client got a durable event; `place` is where it stands in everything ever published to its user.
pub(crate) fn received(world: &World, user: UserId, device: &str, place: &mut usize, delivery: &Delivery) {
    let mut ledger = world.ledger();
    let expected = ledger.feeds.get(&user).and_then(|feed| feed.get(*place)).cloned();
    let fits = expected.as_ref().is_some_and(|told| {
        Some(&told.position) == delivery.position.as_ref()
            && told.name == delivery.name
            && told.payload == delivery.payload
    });
    *place += 1;
    if !fits {
        ledger.violate(9, || format!("{device} got {delivery:?} and not {expected:?}, without a resync"));
    }
}

/// A client without a gap in its feed got a new message.
pub(crate) fn new_message(world: &World, user: UserId, device: &str, view: &mut View, news: &News) {
    let before = view.newest.insert(news.conversation, news.seq);
    let Some(before) = before else { return };
    let mut ledger = world.ledger();
    if news.seq <= before {
        ledger.violate(9, || format!("{device} got message {} of {} after {before}", news.seq, news.conversation));
    }
    if let Some(missing) = missing(&ledger, user, news.conversation, before, news.seq) {
        ledger.violate(9, || format!("{device} got message {} and never {missing}", news.seq));
    }
}

fn missing(ledger: &Ledger, user: UserId, conversation: ConversationId, after: Seq, before: Seq) -> Option<Seq> {
    let steps = ledger.steps.get(&conversation)?;
    let between = steps.iter().filter(|step| step.seq > after && step.seq < before);
    let deleted = |message| steps.iter().any(|step| step.kind == ChangeKind::Deleted && step.message == message);
    // Somebody who left and came back does not see what was said meanwhile.
    let stayed = between.clone().all(|step| step.members.contains(&user))
        && !ledger.moved_ms.contains_key(&(conversation, user));
    let mut owed = between.filter(|step| step.kind == ChangeKind::Sent && !deleted(step.message));
    if stayed { owed.next().map(|step| step.seq) } else { None }
}
