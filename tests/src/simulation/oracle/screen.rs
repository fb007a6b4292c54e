//! Invariant 10 in the final state: a client that starts from `hello` and applies every event shows the same
//! conversations, members, counters, read positions, contacts, blocks and presence as the records hold. And during a
//! run: the counters in an event are those that its transaction leaves in the store.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::ids::{ConversationId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Event, KeyValue, Query, Transaction, Value};

use crate::simulation::client::Client;
use crate::simulation::executor::complete_now;
use crate::simulation::view::{ShownConversation, View};
use crate::simulation::world::World;

/// The counters in an event.
#[derive(serde::Deserialize)]
struct PublishedCounters {
    conversation: ConversationId,
    /// `None` for a conversation that the user has left.
    unread: Option<u64>,
    total: u64,
}

/// Whether an event has the total, and the counter of a conversation if the user is still a member.
pub(crate) fn has_counters(event: &Event) -> bool {
    matches!(event.name.as_ref(), "unread.update" | "conversation.removed")
}

/// Compares the counters that a transaction with these results has published with those that it has left in the store.
/// The clients of this simulation add up their counters; a client that does not know all conversations takes the total
/// from these events.
pub(crate) fn committed(world: &World, transaction: &Transaction, results: &[i64]) {
    let Owner::User(user) = transaction.owner else { return };
    let events = transaction.completed_publications(results);
    for event in events.iter().filter(|event| has_counters(event)) {
        let Ok(published) = serde_json::from_str::<PublishedCounters>(&event.payload) else {
            world.ground_truth().violate(10, || format!("{} has no counters: {}", event.name, event.payload));
            continue;
        };
        let total = stored(world, Key::of_user(Space::UnreadTotal, user));
        let counter = Key::unread_conversation(user, published.conversation);
        let unread = published.unread.and_then(|_| stored(world, counter));
        if total != Some(published.total) || unread != published.unread {
            let name = world.label(user);
            world.ground_truth().violate(10, || {
                format!("{name} received {} {}, the store has {unread:?} and {total:?}", event.name, event.payload)
            });
        }
    }
}

fn stored(world: &World, counter: Key) -> Option<u64> {
    match complete_now(world.store.read(vec![Query::Counter(counter)])).ok()?.first()? {
        Value::Counter(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}

/// Compares what a client shows with the records.
pub(crate) fn check(client: &Client) {
    let state = client.state();
    if state.link.is_none() || state.waiting.is_some() {
        return;
    }
    let (world, user, view) = (&client.world, client.user, &state.view);
    let wrong = conversations(world, user, view)
        .or_else(|| counters(world, user, view))
        .or_else(|| contacts(world, user, view))
        .or_else(|| hidden(world, user, view));
    if let Some(wrong) = wrong {
        world.ground_truth().violate(10, || format!("{} {wrong}", client.name));
    }
}

fn conversations(world: &World, user: UserId, view: &View) -> Option<String> {
    let truth: BTreeSet<ConversationId> = world.records.conversations_of(user).into_iter().collect();
    let shown: BTreeSet<ConversationId> = view.conversations.keys().copied().collect();
    if shown != truth {
        let differs: Vec<_> = shown.symmetric_difference(&truth).collect();
        return Some(format!("shows other conversations than the records: {differs:?}"));
    }
    view.conversations.iter().find_map(|(id, shown)| members(world, user, *id, shown))
}

fn members(world: &World, user: UserId, id: ConversationId, shown: &ShownConversation) -> Option<String> {
    let truth: BTreeSet<UserId> = world.records.members_of(id).into_iter().collect();
    if shown.members != truth || shown.member_count != truth.len() as u64 {
        return Some(format!("shows {shown:?} in {id}, the members are {truth:?}"));
    }
    let ground_truth = world.ground_truth();
    // Nobody is told what somebody reads whom they have blocked, or who has blocked them.
    let others = truth.iter().filter(|other| !ground_truth.blocked.contains(&(user, **other)));
    let reads: BTreeMap<UserId, _> =
        others.filter_map(|other| Some((*other, world.records.counters_of(*other).get(&id)?.read))).collect();
    let wrong = reads.iter().find(|(other, read)| shown.reads.get(other) != Some(read));
    wrong.map(|(other, read)| {
        format!("shows {:?} in {id}, and {} has read up to {read}", shown.reads, world.label(*other))
    })
}

fn counters(world: &World, user: UserId, view: &View) -> Option<String> {
    let truth = world.records.counters_of(user);
    for (id, counter) in &truth {
        let shown = view.counters.get(id).copied().unwrap_or_default();
        if shown.unread != counter.count {
            return Some(format!("shows {shown:?} in {id}, the records have {counter:?}"));
        }
        if shown.read != counter.read {
            return Some(format!("shows {shown:?} as read in {id}, the records have {counter:?}"));
        }
    }
    let total: u64 = truth.values().map(|counter| counter.count).sum();
    (view.total() != total)
        .then(|| format!("shows {} unread in all conversations, the records have {total}", view.total()))
}

fn contacts(world: &World, user: UserId, view: &View) -> Option<String> {
    let truth: BTreeSet<UserId> = world.records.contacts_of(user).into_iter().collect();
    if view.contacts != truth {
        return Some(format!("shows the contacts {:?}, the records have {truth:?}", view.contacts));
    }
    let blocked: BTreeSet<UserId> = world.records.blocks_of(user).into_iter().collect();
    (view.blocked != blocked).then(|| format!("shows {:?} as blocked, the records have {blocked:?}", view.blocked))
}

/// Whoever may not see a user does not show the user as online. Presence events can be lost without notice.
fn hidden(world: &World, user: UserId, view: &View) -> Option<String> {
    if world.plan.lose > 0 {
        return None;
    }
    let visible = world.records.audience_of(user);
    let online = view.presence.iter().filter(|(_, (online, _))| *online);
    let mut wrong = online.filter(|(other, _)| **other != user && !visible.contains(other));
    wrong.next().map(|(other, known)| format!("shows {} as {known:?}, and may not see them", world.label(*other)))
}
