//! Invariant 9 in the final state: every connected client shows what the records hold, and the correct presence.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, MessageId, Seq};

use crate::simulation::client::Client;

/// Compares a client's view with the records.
pub(crate) fn check(client: &Client) {
    client.drain();
    let world = &client.world;
    let state = client.state();
    let Some(link) = &state.link else { return };
    if state.waiting.is_some() {
        world.ground_truth().violate(9, || format!("{} was told to resynchronise and never did", client.name));
    }
    let published = world.ground_truth().feeds.get(&client.user).map_or(0, Vec::len);
    if state.feed_index != published {
        world.ground_truth().violate(9, || {
            format!("{} got {} of {published} events of its user and no resync", client.name, state.feed_index)
        });
    }
    let truth = visible(client);
    let mut shown = state.view.messages.clone();
    let counters = world.records.counters_of(client.user);
    shown.retain(|(id, seq), _| counters.get(id).is_some_and(|counter| counter.joined < *seq));
    if shown != truth {
        let differs = |key| shown.get(key) != truth.get(key);
        let keys: Vec<_> = shown.keys().chain(truth.keys()).filter(|key| differs(key)).collect();
        world.ground_truth().violate(9, || format!("{} shows other messages than the records: {keys:?}", client.name));
    }
    presence(client, &state.view.presence, link.since_ms);
}

type Messages = BTreeMap<(ConversationId, Seq), (MessageId, String)>;

fn visible(client: &Client) -> Messages {
    let records = &client.world.records;
    let counters = records.counters_of(client.user).into_values();
    let messages = counters.flat_map(|counter| {
        let all = records.messages_of(counter.conversation).into_iter();
        all.filter(move |message| message.seq > counter.joined && !message.deleted)
    });
    messages.map(|message| ((message.conversation, message.seq), (message.id, message.content))).collect()
}

/// Presence events can be lost without notice. In runs without lost deliveries, the client shows the correct presence.
fn presence(client: &Client, shown: &BTreeMap<roost_core::ids::UserId, (bool, u64)>, connected_ms: u64) {
    let world = &client.world;
    if world.plan.lose > 0 {
        return;
    }
    let mut ground_truth = world.ground_truth();
    for user in &world.users {
        // A user who became visible in the millisecond of the connection may have done so just after it.
        let visible = ground_truth.visible_since_ms.get(&(*user, client.user)).is_some_and(|ms| *ms < connected_ms);
        let online =
            ground_truth.presence.get(user).and_then(|observed| observed.state).is_some_and(|(online, _)| online);
        let known = shown.get(user).copied().unwrap_or_default();
        if visible && known.0 != online {
            let name = world.label(*user);
            ground_truth.violate(7, || format!("{} shows {name} as {known:?}, online is {online}", client.name));
        }
    }
}
