//! Invariant 7 while the world is moving: nobody with a live device goes offline, generations only grow, each stands
//! for one state and is announced to everybody who may see it before the next one.
//!
//! Tolerances follow from the bound on clocks: a device's own deadline may be early by the difference of two clocks,
//! and after the loss of the store a first generation may lag by as much. `online:<user>` lives by the store's clock
//! alone and needs none.

use std::collections::BTreeSet;

use roost_core::event::PresenceView;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::{PRESENCE_GRACE_MS, PRESENCE_TTL_MS};
use roost_core::port::{Delivery, KeyValue, Query, Transaction, Value};

use crate::simulation::executor::at_once;
use crate::simulation::ledger::{Ledger, Standing};
use crate::simulation::plan::SKEW_MS_MAX;
use crate::simulation::world::World;

const CLOCKS_APART_MS: u64 = 2 * SKEW_MS_MAX;

/// Looks at what a transaction left behind.
pub(crate) fn committed(world: &World, transaction: &Transaction) {
    let touched = transaction.mutations.iter().any(|mutation| mutation.key().space == Space::Presence);
    if let (Owner::User(user), true) = (transaction.owner, touched) {
        let names = ["status", "generation", "announced"].map(str::to_owned);
        let query = Query::NamedFields(Key::of_user(Space::Presence, user), names.into());
        let Ok(values) = at_once(world.store.read(vec![query])) else { return };
        let Some(Value::NamedFields(fields)) = values.first() else { return };
        let [status, generation, announced] = fields.as_slice() else { return };
        let online = |field: &Option<String>| field.as_deref() == Some("online");
        let told = announced.as_ref().filter(|text| !text.is_empty()).map(|_| online(announced));
        let generation = generation.as_deref().and_then(|text| text.parse().ok());
        let state = generation.map(|generation| (online(status), generation));
        moved(world, user, state, told);
    }
}

fn moved(world: &World, user: UserId, state: Option<(bool, u64)>, announced: Option<bool>) {
    let now_ms = world.kernel.now_ms();
    let mut ledger = world.ledger();
    let before = ledger.presence.entry(user).or_default().clone();
    if before.state == state && before.announced == announced {
        return;
    }
    let name = world.short(user);
    if announced.is_some_and(|told| state.is_none_or(|(online, _)| online != told)) {
        ledger.violate(7, || format!("{name} counts as announced, {announced:?}, and is {state:?}"));
    }
    // Everybody who could see a state all along was told of it before the next one, and before it counts as announced.
    let claimed = state.filter(|_| announced.is_some() && before.announced != announced);
    if before.state != state {
        transition(world, &mut ledger, user, &before, state);
        before.state.inspect(|(_, generation)| owed(world, &mut ledger, user, &before, *generation));
    } else if let Some((_, generation)) = claimed {
        owed(world, &mut ledger, user, &before, generation);
    }
    let standing = ledger.presence.entry(user).or_default();
    standing.announced = announced;
    if standing.state != state {
        standing.state = state;
        standing.since_ms = now_ms;
        standing.told.clear();
        standing.highest = standing.highest.max(state.map_or(0, |(_, generation)| generation));
    }
}

fn transition(world: &World, ledger: &mut Ledger, user: UserId, before: &Standing, state: Option<(bool, u64)>) {
    let name = world.short(user);
    let Some((online, generation)) = state else { return };
    let newer = match before.state {
        Some((_, old)) => generation > old,
        None => generation + CLOCKS_APART_MS > before.highest,
    };
    if !newer {
        ledger.violate(7, || {
            format!("a transition of {name} without a newer generation: {:?} became {state:?}", before.state)
        });
    }
    if before.state.is_some_and(|(was, _)| was == online) {
        ledger.violate(7, || format!("{name} became what they were: {:?} became {state:?}", before.state));
    }
    let (now_ms, alive_until_ms) = (world.kernel.now_ms(), ledger.alive_until_ms(user));
    if !online && before.state.is_some() && alive_until_ms > now_ms {
        ledger.violate(7, || format!("{name} went offline with a device that lives until {alive_until_ms} ms"));
    }
    one_meaning(ledger, &name, user, generation, online);
}

fn one_meaning(ledger: &mut Ledger, name: &str, user: UserId, generation: u64, online: bool) {
    // A first generation after the loss of the store may lag, and meet an old one.
    let meaning = *ledger.generations.entry((user, generation)).or_insert(online);
    if meaning != online && ledger.wiped_ms.is_none() {
        ledger.violate(7, || format!("generation {generation} of {name} means both online and offline"));
    }
}

fn owed(world: &World, ledger: &mut Ledger, user: UserId, standing: &Standing, generation: u64) {
    // Who became acquainted in the very millisecond may have done so after the audience was asked for.
    let untold: BTreeSet<String> = ledger
        .visible_since_ms
        .iter()
        .filter(|((seen, _), since_ms)| *seen == user && **since_ms < standing.since_ms)
        .filter(|((_, viewer), _)| !standing.told.contains(viewer))
        .map(|((_, viewer), _)| world.short(*viewer))
        .collect();
    if !untold.is_empty() {
        let name = world.short(user);
        ledger.violate(7, || format!("generation {generation} of {name} was never announced to {untold:?}"));
    }
}

/// An ephemeral event went out.
pub(crate) fn published(world: &World, to: UserId, delivery: &Delivery) {
    #[derive(serde::Deserialize)]
    struct News {
        user: UserId,
        generation: u64,
    }
    let online = match delivery.name.as_ref() {
        "user.online" => true,
        "user.offline" => false,
        _ => return,
    };
    let Ok(news) = serde_json::from_str::<News>(&delivery.payload) else { return };
    let name = world.short(news.user);
    let mut ledger = world.ledger();
    one_meaning(&mut ledger, &name, news.user, news.generation, online);
    let standing = ledger.presence.entry(news.user).or_default();
    if standing.state == Some((online, news.generation)) {
        standing.told.insert(to);
    }
}

/// A beat that began at that moment was acknowledged: the device lives for a while.
pub(crate) fn beat(world: &World, user: UserId, connection: &ConnectionId, began_ms: u64) {
    let mut ledger = world.ledger();
    if ledger.wiped_since(began_ms) {
        return;
    }
    let until_ms = began_ms + PRESENCE_TTL_MS - CLOCKS_APART_MS;
    let until = ledger.presence.entry(user).or_default().devices.entry(connection.clone()).or_default();
    *until = until_ms.max(*until);
}

/// A device begins to say goodbye: from now on only the grace is certain.
pub(crate) fn leaving(world: &World, user: UserId, connection: &ConnectionId) {
    let grace_ms = world.kernel.now_ms() + PRESENCE_GRACE_MS;
    let mut ledger = world.ledger();
    if let Some(until_ms) = ledger.presence.entry(user).or_default().devices.get_mut(connection) {
        *until_ms = grace_ms.min(*until_ms);
    }
}

/// Who is certain to be online now, and until when.
pub(crate) fn alive(world: &World) -> Vec<(UserId, u64)> {
    let ledger = world.ledger();
    world.users.iter().map(|user| (*user, ledger.alive_until_ms(*user))).collect()
}

/// Holds an answer about others against those who were certain to be online from the question to the answer.
pub(crate) fn answered(world: &World, viewer: UserId, asked_ms: u64, alive: &[(UserId, u64)], views: &[PresenceView]) {
    let now_ms = world.kernel.now_ms();
    let mut ledger = world.ledger();
    if ledger.wiped_since(asked_ms) {
        return;
    }
    for view in views.iter().filter(|view| !view.online) {
        let visible = view.user == viewer
            || ledger.visible_since_ms.get(&(view.user, viewer)).is_some_and(|since_ms| *since_ms <= asked_ms);
        let lived = alive.iter().any(|(user, until_ms)| *user == view.user && *until_ms > now_ms);
        if visible && lived && ledger.alive_until_ms(view.user) > now_ms {
            let name = world.short(view.user);
            ledger.violate(7, || format!("{name} was answered offline with a live device"));
        }
    }
}
