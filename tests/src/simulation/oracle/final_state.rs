//! The final state, after faults have stopped and time has passed: counters, last messages and presence agree with the
//! records and with the connected devices, no acknowledged write is lost, and an empty store is rebuilt to the same
//! state.

use std::collections::BTreeSet;

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Space};
use roost_core::port::{ChangeKind, ConversationQuery, KeyValue, Message, Query, Value};
use roost_core::presence::Viewer;
use roost_core::{last_message, messaging, presence, unread};

use crate::simulation::bus;
use crate::simulation::client::Client;
use crate::simulation::executor::complete_now;
use crate::simulation::port::Port;
use crate::simulation::world::World;

/// Compares the final state of the world with the records.
pub(crate) fn check(port: &Port, clients: &[Client]) {
    let world = &port.world;
    nothing_acknowledged_was_lost(world);
    messages_were_announced(world);
    read_updates_were_sent(world);
    presence_was_shown(world);
    for user in &world.users {
        cached_counters(world, *user);
        answers_without_records(port, *user);
        presence_matches(port, *user);
    }
    for conversation in world.records.conversation_ids() {
        cached_message(world, conversation);
    }
    super::addressed::check(world);
    for client in clients {
        super::views::check(client);
        super::screen::check(client);
    }
    bus::wipe(world);
    for user in &world.users {
        empty_store_is_rebuilt(port, *user);
    }
}

/// Invariants 5 and 8: every acknowledged message is stored exactly once, and every acknowledged read position holds.
fn nothing_acknowledged_was_lost(world: &World) {
    let messages: Vec<Message> =
        world.records.conversation_ids().into_iter().flat_map(|id| world.records.messages_of(id)).collect();
    let stored: BTreeSet<MessageId> = messages.iter().map(|message| message.id).collect();
    let mut ground_truth = world.ground_truth();
    let lost: Vec<_> = ground_truth.acknowledged.keys().filter(|id| !stored.contains(id)).copied().collect();
    if !lost.is_empty() {
        ground_truth.violate(8, || format!("acknowledged and lost: {lost:?}"));
    }
    let mut contents = BTreeSet::new();
    for message in messages.iter().filter(|message| !message.deleted && message.edited_at.is_none()) {
        if !contents.insert(&message.content) {
            ground_truth.violate(5, || format!("{:?} was sent once and is stored twice", message.content));
        }
    }
    let read = ground_truth.read.clone();
    for ((user, conversation), up_to) in read {
        if let Some(counter) = world.records.counters_of(user).get(&conversation)
            && counter.read < up_to
        {
            ground_truth
                .violate(8, || format!("{} had read {conversation} up to {up_to}: {counter:?}", world.label(user)));
        }
    }
}

/// Invariant 9: every message that still exists was announced to every member who may see it and was followed.
fn messages_were_announced(world: &World) {
    let now_ms = world.kernel.now_ms();
    let mut ground_truth = world.ground_truth();
    let mut unnotified = None;
    for (conversation, changes) in &ground_truth.changes {
        let existing: BTreeSet<MessageId> = world
            .records
            .messages_of(*conversation)
            .into_iter()
            .filter(|message| !message.deleted)
            .map(|message| message.id)
            .collect();
        for change in
            changes.iter().filter(|change| change.kind == ChangeKind::Sent && existing.contains(&change.message))
        {
            for member in &change.members {
                let joined = world.records.counters_of(*member).get(conversation).map(|counter| counter.joined);
                let sees = joined.is_some_and(|joined| joined < change.seq)
                    && ground_truth.is_owed(*member, change.stored_ms, now_ms);
                if sees && !ground_truth.announced.contains(&(*member, *conversation, change.seq)) {
                    unnotified = Some((*member, *conversation, change.seq));
                }
            }
        }
    }
    if let Some((user, conversation, seq)) = unnotified {
        ground_truth
            .violate(9, || format!("message {seq} of {conversation} was never announced to {}", world.label(user)));
    }
}

/// Invariant 9: when a read position moved, the reader's devices and the other members were notified, as far as they
/// were followed; not across a block.
fn read_updates_were_sent(world: &World) {
    let moved = world.ground_truth().moved_read.clone();
    for ((reader, conversation), moved) in moved {
        let members = world.records.members_of(conversation);
        let came_ms = |member| world.ground_truth().moved_ms.get(&(conversation, member)).copied().unwrap_or(0);
        // A member who left and came back has a new read position.
        if !members.contains(&reader) || came_ms(reader) >= moved.moved_ms {
            continue;
        }
        for member in members {
            let came_later = came_ms(member) >= moved.moved_ms;
            let now_ms = world.kernel.now_ms();
            let mut ground_truth = world.ground_truth();
            let is_owed = ground_truth.is_owed(member, moved.moved_ms, now_ms)
                && !ground_truth.blocked.contains(&(reader, member));
            let notified =
                came_later || !is_owed || ground_truth.was_notified_of_read(member, reader, conversation, moved);
            if !notified {
                let (reader, member) = (world.label(reader), world.label(member));
                ground_truth.violate(9, || {
                    format!("{reader} read {conversation} up to {}, and {member} was never notified", moved.up_to)
                });
            }
        }
    }
}

/// Invariant 7: whoever has become able to see a user was told the user's presence since then, if the user has one.
fn presence_was_shown(world: &World) {
    let mut ground_truth = world.ground_truth();
    let unpublished = ground_truth.visible_since_ms.iter().find(|(pair, since_ms)| {
        let has_presence = ground_truth.presence.get(&pair.0).is_some_and(|observed| observed.state.is_some());
        let published_ms = ground_truth.presence_published_ms.get(*pair);
        has_presence && published_ms.is_none_or(|published_ms| published_ms < *since_ms)
    });
    let unpublished = unpublished.map(|(pair, since_ms)| (*pair, *since_ms));
    if let Some(((seen, viewer), since_ms)) = unpublished {
        let (seen, viewer) = (world.label(seen), world.label(viewer));
        ground_truth.violate(7, || format!("{viewer} may see {seen} since {since_ms} ms, and was not told since then"));
    }
}

/// Invariant 3: a cached counter equals the records.
fn cached_counters(world: &World, user: UserId) {
    let truth = world.records.unread_of(user);
    let read =
        |key| complete_now(world.store.read(vec![Query::Counter(key)])).ok().and_then(|values| values.first().cloned());
    let Some(Value::Counter(total)) = read(Key::of_user(Space::UnreadTotal, user)) else { return };
    let name = world.label(user);
    let wrong =
        truth.iter().find_map(|(conversation, count)| match read(Key::unread_conversation(user, *conversation)) {
            Some(Value::Counter(stored)) if stored.unsigned_abs() != *count => Some((*conversation, stored, *count)),
            _ => None,
        });
    let mut ground_truth = world.ground_truth();
    if let Some((conversation, stored, count)) = wrong {
        ground_truth.violate(3, || format!("{name} has {stored} unread in {conversation}, the records have {count}"));
    }
    let sum: u64 = truth.values().sum();
    if total.unsigned_abs() != sum {
        ground_truth.violate(3, || format!("{name} has {total} unread, the records have {sum}"));
    }
}

/// Invariants 3 and 4: the answer equals the records, and once the user is cached the store answers alone, whether the
/// count is zero or not.
fn answers_without_records(port: &Port, user: UserId) {
    let world = &port.world;
    let name = world.label(user);
    let mut truth = world.records.unread_of(user);
    truth.retain(|_, count| *count > 0);
    for records_needed in [true, false] {
        let asked = world.records_asked();
        let answer = complete_now(unread::totals(port, user));
        let mut ground_truth = world.ground_truth();
        if !records_needed && world.records_asked() != asked {
            ground_truth.violate(4, || format!("{name} is cached and yet the records were asked"));
        }
        match answer {
            Ok(answer) => {
                let mut totals = answer.value;
                totals.conversations.retain(|_, count| *count > 0);
                if totals.conversations != truth {
                    ground_truth.violate(3, || format!("{name} was answered {totals:?}, the records have {truth:?}"));
                }
            }
            Err(error) => ground_truth.violate(3, || format!("{name} was answered {error}")),
        }
    }
}

/// Invariant 7: a user with a live device is online, every other user is offline, and contacts were notified.
fn presence_matches(port: &Port, user: UserId) {
    let world = &port.world;
    let online = world.hosts_up().into_iter().any(|index| {
        let host = world.host(index);
        host.sessions.values().any(|session| session.user == user && !session.wire.is_cut())
    });
    let answer = complete_now(presence::query(port, Viewer::Service, &[user]));
    let name = world.label(user);
    let mut ground_truth = world.ground_truth();
    let observed = ground_truth.presence.entry(user).or_default().clone();
    match answer.ok().and_then(|views| views.first().copied()) {
        Some(view) if view.online == online => {}
        view => ground_truth.violate(7, || format!("{name} has a live device: {online}, and is answered as {view:?}")),
    }
    let status = observed.state.map(|(online, _)| online);
    if status.unwrap_or(false) != online || observed.announced != status {
        ground_truth.violate(7, || format!("{name} has a live device: {online}, and is stored as {observed:?}"));
    }
}

/// Invariant 6: the cached last message is the newest.
fn cached_message(world: &World, conversation: ConversationId) {
    let query = Query::Fields(Key::last_message(conversation));
    let Ok(values) = complete_now(world.store.read(vec![query])) else { return };
    let Some(Value::Fields(fields)) = values.first() else { return };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    let cached = field("id").zip(field("content"));
    let truth = world.records.last_message_of(conversation).map(|message| (message.id.to_string(), message.content));
    if cached != truth {
        world.ground_truth().violate(6, || {
            format!("the last message of {conversation} is cached as {fields:?}, the records have {truth:?}")
        });
    }
}

/// Invariant 8: with an empty store, every answer is the same as before.
fn empty_store_is_rebuilt(port: &Port, user: UserId) {
    answers_without_records(port, user);
    let world = &port.world;
    let page = complete_now(messaging::inbox(port, user, ConversationQuery::Page { cursor: None, limit: 100 }));
    let truth = world.records.counters_of(user);
    let Ok(page) = page else {
        world.ground_truth().violate(8, || format!("no inbox after the loss of the store: {page:?}"));
        return;
    };
    for entry in page.value.conversations {
        let Some(counter) = truth.get(&entry.id) else { continue };
        let last = world.records.last_message_of(entry.id).filter(|message| message.seq > counter.joined);
        let same = complete_now(last_message::get(port, user, entry.id)).ok().map(|last| last.value) == last;
        if entry.unread != counter.count || entry.last_message != last || !same {
            world.ground_truth().violate(8, || {
                format!("after the loss of the store {entry:?}, the records have {counter:?} and {last:?}")
            });
        }
    }
}
