//! Once faults have stopped and time has passed: counters, last messages and presence agree with the records and with
//! who is there, nothing acknowledged is lost, and an empty store is rebuilt to the same.

use std::collections::BTreeSet;

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::{Key, Space};
use roost_core::port::{ChangeKind, ConversationQuery, KeyValue, Message, Query, Value};
use roost_core::presence::Viewer;
use roost_core::{last_message, messaging, presence, unread};

use crate::simulation::bus;
use crate::simulation::client::Client;
use crate::simulation::executor::at_once;
use crate::simulation::port::Port;
use crate::simulation::world::World;

/// Holds the world at rest against the records.
pub(crate) fn judge(port: &Port, clients: &[Client]) {
    let world = &port.world;
    nothing_lost(world);
    everybody_told(world);
    readers_told(world);
    for user in &world.users {
        warm_counters(world, *user);
        answers_without_records(port, *user);
        who_is_there(port, *user);
    }
    for conversation in world.records.conversation_ids() {
        cached_message(world, conversation);
    }
    for client in clients {
        super::views::judge(client);
    }
    bus::wipe(world);
    for user in &world.users {
        rebuilt(port, *user);
    }
}

/// Invariants 5 and 8: every acknowledged message is there, once; every acknowledged read position holds.
fn nothing_lost(world: &World) {
    let messages: Vec<Message> =
        world.records.conversation_ids().into_iter().flat_map(|id| world.records.messages_of(id)).collect();
    let stored: BTreeSet<MessageId> = messages.iter().map(|message| message.id).collect();
    let mut ledger = world.ledger();
    let lost: Vec<_> = ledger.acknowledged.keys().filter(|id| !stored.contains(id)).copied().collect();
    if !lost.is_empty() {
        ledger.violate(8, || format!("acknowledged and lost: {lost:?}"));
    }
    let mut contents = BTreeSet::new();
    for message in messages.iter().filter(|message| !message.deleted && message.edited_at.is_none()) {
        if !contents.insert(&message.content) {
            ledger.violate(5, || format!("{:?} was sent once and counts twice", message.content));
        }
    }
    let read = ledger.read.clone();
    for ((user, conversation), up_to) in read {
        if let Some(counter) = world.records.counters_of(user).get(&conversation)
            && counter.read < up_to
        {
            ledger.violate(8, || format!("{} had read {conversation} up to {up_to}: {counter:?}", world.short(user)));
        }
    }
}

/// Invariant 9: every message that stands was announced to every member that may see it.
fn everybody_told(world: &World) {
    let mut ledger = world.ledger();
    let mut untold = None;
    for (conversation, steps) in &ledger.steps {
        let standing: BTreeSet<MessageId> = world
            .records
            .messages_of(*conversation)
            .into_iter()
            .filter(|message| !message.deleted)
            .map(|message| message.id)
            .collect();
        for step in steps.iter().filter(|step| step.kind == ChangeKind::Sent && standing.contains(&step.message)) {
            for member in &step.members {
                let joined = world.records.counters_of(*member).get(conversation).map(|counter| counter.joined);
                let sees = joined.is_some_and(|joined| joined < step.seq);
                if sees && !ledger.announced.contains(&(*member, *conversation, step.seq)) {
                    untold = Some((*member, *conversation, step.seq));
                }
            }
        }
    }
    if let Some((user, conversation, seq)) = untold {
        ledger.violate(9, || format!("message {seq} of {conversation} was never announced to {}", world.short(user)));
    }
}

/// Invariant 9: when a read position moved, the reader's devices and the other members were told.
fn readers_told(world: &World) {
    let moved = world.ledger().moved_read.clone();
    for ((reader, conversation), moved) in moved {
        let members = world.records.members_of(conversation);
        let came_ms = |member| world.ledger().moved_ms.get(&(conversation, member)).copied().unwrap_or(0);
        // Whoever left and came back since reads on from where they came back.
        if !members.contains(&reader) || came_ms(reader) >= moved.moved_ms {
            continue;
        }
        for member in members {
            let came_later = came_ms(member) >= moved.moved_ms;
            let mut ledger = world.ledger();
            let told = came_later || ledger.told_of_reading(member, reader, conversation, moved);
            if !told {
                let (reader, member) = (world.short(reader), world.short(member));
                ledger.violate(9, || {
                    format!("{reader} read {conversation} up to {}, and {member} was never told", moved.up_to)
                });
            }
        }
    }
}

/// Invariant 3: a warm counter equals what the records say.
fn warm_counters(world: &World, user: UserId) {
    let truth = world.records.unread_of(user);
    let read =
        |key| at_once(world.store.read(vec![Query::Counter(key)])).ok().and_then(|values| values.first().cloned());
    let Some(Value::Counter(total)) = read(Key::of_user(Space::UnreadTotal, user)) else { return };
    let name = world.short(user);
    let wrong =
        truth.iter().find_map(|(conversation, count)| match read(Key::unread_conversation(user, *conversation)) {
            Some(Value::Counter(stored)) if stored.unsigned_abs() != *count => Some((*conversation, stored, *count)),
            _ => None,
        });
    let mut ledger = world.ledger();
    if let Some((conversation, stored, count)) = wrong {
        ledger.violate(3, || format!("{name} has {stored} unread in {conversation}, the records say {count}"));
    }
    let sum: u64 = truth.values().sum();
    if total.unsigned_abs() != sum {
        ledger.violate(3, || format!("{name} has {total} unread, the records say {sum}"));
    }
}

/// Invariants 3 and 4: the answer is the records', and once warm the store gives it alone, zero or not.
fn answers_without_records(port: &Port, user: UserId) {
    let world = &port.world;
    let name = world.short(user);
    let mut truth = world.records.unread_of(user);
    truth.retain(|_, count| *count > 0);
    for records_needed in [true, false] {
        let asked = world.records_asked();
        let answer = at_once(unread::totals(port, user));
        let mut ledger = world.ledger();
        if !records_needed && world.records_asked() != asked {
            ledger.violate(4, || format!("{name} is warm and yet the records were asked"));
        }
        match answer {
            Ok(answer) => {
                let mut totals = answer.value;
                totals.conversations.retain(|_, count| *count > 0);
                if totals.conversations != truth {
                    ledger.violate(3, || format!("{name} was answered {totals:?}, the records say {truth:?}"));
                }
            }
            Err(error) => ledger.violate(3, || format!("{name} was answered {error}")),
        }
    }
}

/// Invariant 7: whoever has a live device is online, everybody else is offline, and contacts were told.
fn who_is_there(port: &Port, user: UserId) {
    let world = &port.world;
    let there = world.hosts_up().into_iter().any(|index| {
        let host = world.host(index);
        host.sessions.values().any(|session| session.user == user && !session.wire.is_cut())
    });
    let answer = at_once(presence::query(port, Viewer::Service, &[user]));
    let name = world.short(user);
    let mut ledger = world.ledger();
    let standing = ledger.presence.entry(user).or_default().clone();
    match answer.ok().and_then(|views| views.first().copied()) {
        Some(view) if view.online == there => {}
        view => ledger.violate(7, || format!("{name} has a live device: {there}, and is answered as {view:?}")),
    }
    let status = standing.state.map(|(online, _)| online);
    if status.unwrap_or(false) != there || standing.announced != status {
        ledger.violate(7, || format!("{name} has a live device: {there}, and stands as {standing:?}"));
    }
}

/// Invariant 6: what is cached is the newest.
fn cached_message(world: &World, conversation: ConversationId) {
    let query = Query::Fields(Key::last_message(conversation));
    let Ok(values) = at_once(world.store.read(vec![query])) else { return };
    let Some(Value::Fields(fields)) = values.first() else { return };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    let cached = field("id").zip(field("content"));
    let truth = world.records.last_message_of(conversation).map(|message| (message.id.to_string(), message.content));
    if cached != truth {
        world.ledger().violate(6, || {
            format!("the last message of {conversation} is cached as {fields:?}, the records say {truth:?}")
        });
    }
}

/// Invariant 8: with an empty store every answer is what it was.
fn rebuilt(port: &Port, user: UserId) {
    answers_without_records(port, user);
    let world = &port.world;
    let page = at_once(messaging::inbox(port, user, ConversationQuery::Page { cursor: None, limit: 100 }));
    let truth = world.records.counters_of(user);
    let Ok(page) = page else {
        world.ledger().violate(8, || format!("no inbox after the loss of the store: {page:?}"));
        return;
    };
    for entry in page.value.conversations {
        let Some(counter) = truth.get(&entry.id) else { continue };
        let last = world.records.last_message_of(entry.id).filter(|message| message.seq > counter.joined);
        let same = at_once(last_message::get(port, user, entry.id)).ok().map(|last| last.value) == last;
        if entry.unread != counter.count || entry.last_message != last || !same {
            world.ledger().violate(8, || {
                format!("after the loss of the store {entry:?}, the records say {counter:?} and {last:?}")
            });
        }
    }
}
