//! Invariant 9 at rest: every client that is connected shows what the records say and knows who is there.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, MessageId, Seq};

use crate::simulation::client::Client;

/// Holds a client's picture against the records.
pub(crate) fn judge(client: &Client) {
    client.drain();
    let world = &client.world;
    let state = client.state();
    let Some(link) = &state.link else { return };
    if state.waiting.is_some() {
        world.ledger().violate(9, || format!("{} was told to resynchronise and never could", client.name));
    }
    let published = world.ledger().feeds.get(&client.user).map_or(0, Vec::len);
    if state.place != published {
        world.ledger().violate(9, || {
            format!("{} got {} of {published} events of its user and no resync", client.name, state.place)
        });
    }
    let truth = visible(client);
    let mut shown = state.view.messages.clone();
    let standings = world.records.counters_of(client.user);
    shown.retain(|(id, seq), _| standings.get(id).is_some_and(|counter| counter.joined < *seq));
    if shown != truth {
        let differs = |place| shown.get(place) != truth.get(place);
        let places: Vec<_> = shown.keys().chain(truth.keys()).filter(|place| differs(place)).collect();
        world.ledger().violate(9, || format!("{} shows other messages than the records: {places:?}", client.name));
    }
    presence(client, &state.view.presence, link.since_ms);
}

type Messages = BTreeMap<(ConversationId, Seq), (MessageId, String)>;

fn visible(client: &Client) -> Messages {
    let records = &client.world.records;
    let standings = records.counters_of(client.user).into_values();
    let messages = standings.flat_map(|counter| {
        let all = records.messages_of(counter.conversation).into_iter();
        all.filter(move |message| message.seq > counter.joined && !message.deleted)
    });
    messages.map(|message| ((message.conversation, message.seq), (message.id, message.content))).collect()
}

/// Presence events may be lost without a word; where none was, the client knows who is there.
fn presence(client: &Client, shown: &BTreeMap<roost_core::ids::UserId, (bool, u64)>, connected_ms: u64) {
    let world = &client.world;
    if world.plan.lose > 0 {
        return;
    }
    let mut ledger = world.ledger();
    for user in &world.users {
        // Whoever came into sight in the millisecond of the connecting may have come just after it.
        let visible = ledger.visible_since_ms.get(&(*user, client.user)).is_some_and(|ms| *ms < connected_ms);
        let online = ledger.presence.get(user).and_then(|standing| standing.state).is_some_and(|(online, _)| online);
        let known = shown.get(user).copied().unwrap_or_default();
        if visible && known.0 != online {
            let name = world.short(*user);
            ledger.violate(7, || format!("{} shows {name} as {known:?}, online is {online}", client.name));
        }
    }
}
