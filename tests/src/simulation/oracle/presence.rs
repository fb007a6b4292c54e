//! Invariant 7 during a run: no user with a live device goes offline, nobody shortly after an outage of the store, and
//! nobody who is connected to a host that is cut off alone; generations only grow, and each one means one state and is
//! announced to every user who may see it before the next one.
//!
//! The tolerances follow from the bound on clock differences: a device's own deadline can be early by the difference of
//! two clocks, and after a loss of the store, a first generation can lag by as much. `online:<user>` follows the
//! store's clock alone and needs no tolerance.

use std::collections::BTreeSet;

use roost_core::event::PresenceView;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::{CUT_OFF_MS_MAX, HEARTBEAT_INTERVAL_MS, PRESENCE_GRACE_MS, PRESENCE_TTL_MS, SWEEP_GAP_MS};
use roost_core::port::{Delivery, KeyValue, Query, Transaction, Value};

use crate::simulation::executor::complete_now;
use crate::simulation::ground_truth::{GroundTruth, ObservedPresence};
use crate::simulation::plan::SKEW_MS_MAX;
use crate::simulation::world::World;

const CLOCKS_APART_MS: u64 = 2 * SKEW_MS_MAX;
/// After an outage of this length nobody departs for a while, whichever clocks the sweeps before and after it had.
const OUTAGE_MS_MIN: u64 = SWEEP_GAP_MS + CLOCKS_APART_MS + 1;
/// For so long after the last heartbeat could have expired, a cut of one host is certainly nobody's departure.
const CUT_MS_MAX: u64 = CUT_OFF_MS_MAX - 2 * PRESENCE_TTL_MS;

/// Checks the state after a transaction.
pub(crate) fn committed(world: &World, transaction: &Transaction) {
    let touched = transaction.mutations.iter().any(|mutation| mutation.key().space == Space::Presence);
    if let (Owner::User(user), true) = (transaction.owner, touched) {
        let names = ["status", "generation", "announced"].map(str::to_owned);
        let query = Query::NamedFields(Key::of_user(Space::Presence, user), names.into());
        let Ok(values) = complete_now(world.store.read(vec![query])) else { return };
        let Some(Value::NamedFields(fields)) = values.first() else { return };
        let [status, generation, announced] = fields.as_slice() else { return };
        let online = |field: &Option<String>| field.as_deref() == Some("online");
        let notified = announced.as_ref().filter(|text| !text.is_empty()).map(|_| online(announced));
        let generation = generation.as_deref().and_then(|text| text.parse().ok());
        let state = generation.map(|generation| (online(status), generation));
        presence_changed(world, user, state, notified);
    }
}

fn presence_changed(world: &World, user: UserId, state: Option<(bool, u64)>, announced: Option<bool>) {
    let now_ms = world.kernel.now_ms();
    let mut ground_truth = world.ground_truth();
    let before = ground_truth.presence.entry(user).or_default().clone();
    if before.state == state && before.announced == announced {
        return;
    }
    if is_counted_on(&before, state, announced) {
        let observed = ground_truth.presence.entry(user).or_default();
        observed.state = state;
        observed.highest = observed.highest.max(state.map_or(0, |(_, generation)| generation));
        if let Some((online, generation)) = state {
            one_meaning(&mut ground_truth, &world.label(user), user, generation, online);
        }
        return;
    }
    let name = world.label(user);
    if announced.is_some_and(|notified| state.is_none_or(|(online, _)| online != notified)) {
        ground_truth.violate(7, || format!("{name} counts as announced, {announced:?}, and is {state:?}"));
    }
    // Every user who could see a state all the time must be notified of it before the next one, and before it counts as
    // announced.
    let claimed = state.filter(|_| announced.is_some() && before.announced != announced);
    if before.state != state {
        transition(world, &mut ground_truth, user, &before, state);
        before.state.inspect(|(_, generation)| check_announced(world, &mut ground_truth, user, &before, *generation));
    } else if let Some((_, generation)) = claimed {
        check_announced(world, &mut ground_truth, user, &before, generation);
    }
    let observed = ground_truth.presence.entry(user).or_default();
    observed.announced = announced;
    if observed.state != state {
        observed.state = state;
        observed.since_ms = now_ms;
        observed.notified.clear();
        observed.highest = observed.highest.max(state.map_or(0, |(_, generation)| generation));
    }
}

/// Whether only the generation has grown, of a state that was announced: who sees the user has changed.
fn is_counted_on(before: &ObservedPresence, state: Option<(bool, u64)>, announced: Option<bool>) -> bool {
    let (Some((was, old)), Some((is, new))) = (before.state, state) else { return false };
    was == is && new > old && before.announced == Some(is) && announced == before.announced
}

fn transition(
    world: &World,
    ground_truth: &mut GroundTruth,
    user: UserId,
    before: &ObservedPresence,
    state: Option<(bool, u64)>,
) {
    let name = world.label(user);
    let Some((online, generation)) = state else { return };
    let newer = match before.state {
        Some((_, old)) => generation > old,
        None => generation + CLOCKS_APART_MS > before.highest,
    };
    if !newer {
        ground_truth.violate(7, || {
            format!("a transition of {name} without a newer generation: {:?} became {state:?}", before.state)
        });
    }
    if before.state.is_some_and(|(was, _)| was == online) {
        ground_truth.violate(7, || format!("{name} became what they were: {:?} became {state:?}", before.state));
    }
    let (now_ms, online_until_ms) = (world.kernel.now_ms(), ground_truth.online_until_ms(user));
    if !online && before.state.is_some() && online_until_ms > now_ms {
        ground_truth.violate(7, || format!("{name} went offline with a device that lives until {online_until_ms} ms"));
    }
    if !online && before.state.is_some() {
        check_outage(world, ground_truth, &name);
        check_cut_off(world, ground_truth, user, &name);
    }
    one_meaning(ground_truth, &name, user, generation, online);
}

/// Nobody departs before a whole interval of heartbeats has passed since the store answered again. Sweeps do not notice
/// an outage before the first of them, and none that ended with the loss of their notes.
fn check_outage(world: &World, ground_truth: &mut GroundTruth, name: &str) {
    let (now_ms, (since_ms, back_ms)) = (world.kernel.now_ms(), world.last_store_outage_ms());
    let is_noticed = world.was_swept_before_outage() && !ground_truth.wiped_since(since_ms);
    let is_long = back_ms.saturating_sub(since_ms) >= OUTAGE_MS_MIN;
    if is_noticed && is_long && (back_ms..back_ms + HEARTBEAT_INTERVAL_MS).contains(&now_ms) {
        ground_truth.violate(7, || {
            format!("{name} went offline {} ms after an outage of {} ms", now_ms - back_ms, back_ms - since_ms)
        });
    }
}

/// Nobody departs who is connected to a host that is cut off from the store alone, as long as such a cut is nobody's
/// departure. Where other calls fail or take seconds, the host may not get around to noting the cut in time.
fn check_cut_off(world: &World, ground_truth: &mut GroundTruth, user: UserId, name: &str) {
    if !world.plan.cuts_one_host {
        return;
    }
    let now_ms = world.kernel.now_ms();
    let devices = ground_truth.presence.entry(user).or_default().devices.clone();
    for index in world.hosts_up().into_iter().filter(|index| world.is_cut_off(*index)) {
        let host = world.host(index);
        let is_connected = |connection: &ConnectionId| {
            host.sessions.get(connection).is_some_and(|session| session.user == user && !session.wire.is_cut())
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) = devices.iter().partition(|(connection, _)| is_connected(connection));
        let is_held = here.iter().any(|(_, until_ms)| now_ms < **until_ms + CUT_MS_MAX);
        // Nobody knows that a device is connected to this host if another one of the user takes its place meanwhile.
        let is_alone = elsewhere.iter().all(|(_, until_ms)| **until_ms <= host.cut_off_since_ms);
        if is_held && is_alone {
            let since_ms = now_ms - host.cut_off_since_ms;
            ground_truth.violate(7, || format!("{name} went offline {since_ms} ms after h{index} was cut off alone"));
            return;
        }
    }
}

fn one_meaning(ground_truth: &mut GroundTruth, name: &str, user: UserId, generation: u64, online: bool) {
    // After a loss of the store, a first generation can lag and equal an old one.
    let meaning = *ground_truth.generations.entry((user, generation)).or_insert(online);
    if meaning != online && ground_truth.wiped_ms.is_none() {
        ground_truth.violate(7, || format!("generation {generation} of {name} means both online and offline"));
    }
}

fn check_announced(
    world: &World,
    ground_truth: &mut GroundTruth,
    user: UserId,
    observed: &ObservedPresence,
    generation: u64,
) {
    // A user who became a contact in this millisecond may have done so after the audience was read.
    let unnotified: BTreeSet<String> = ground_truth
        .visible_since_ms
        .iter()
        .filter(|((seen, _), since_ms)| *seen == user && **since_ms < observed.since_ms)
        .filter(|((_, viewer), _)| !observed.notified.contains(viewer))
        .map(|((_, viewer), _)| world.label(*viewer))
        .collect();
    if !unnotified.is_empty() {
        let name = world.label(user);
        ground_truth.violate(7, || format!("generation {generation} of {name} was never announced to {unnotified:?}"));
    }
}

/// The payload of an event about presence.
#[derive(serde::Deserialize)]
struct PresenceEvent {
    user: UserId,
    last_seen: Option<String>,
    generation: u64,
}

/// Whether the user of this payload is online, and the last transition was announced.
pub(crate) fn is_announced_online(world: &World, payload: &str) -> bool {
    let Ok(PresenceEvent { user, .. }) = serde_json::from_str(payload) else { return false };
    world.ground_truth().presence.get(&user).is_some_and(|observed| observed.announced == Some(true))
}

/// Records a published ephemeral event.
pub(crate) fn published(world: &World, to: UserId, delivery: &Delivery) {
    let online = match delivery.name.as_ref() {
        "user.online" => true,
        "user.offline" => false,
        _ => return,
    };
    let Ok(payload) = serde_json::from_str::<PresenceEvent>(&delivery.payload) else { return };
    if payload.last_seen.is_none() {
        // The user is hidden from whoever receives this, and nothing is said about the state.
        return;
    }
    let (name, now_ms) = (world.label(payload.user), world.kernel.now_ms());
    let mut ground_truth = world.ground_truth();
    ground_truth.presence_published_ms.insert((payload.user, to), now_ms);
    one_meaning(&mut ground_truth, &name, payload.user, payload.generation, online);
    let observed = ground_truth.presence.entry(payload.user).or_default();
    if observed.state == Some((online, payload.generation)) {
        observed.notified.insert(to);
    }
}

/// Records an acknowledged heartbeat: the device is online for its lifetime from the start of the call.
pub(crate) fn heartbeat(world: &World, user: UserId, connection: &ConnectionId, began_ms: u64) {
    let mut ground_truth = world.ground_truth();
    if ground_truth.wiped_since(began_ms) {
        return;
    }
    let until_ms = began_ms + PRESENCE_TTL_MS - CLOCKS_APART_MS;
    let until = ground_truth.presence.entry(user).or_default().devices.entry(connection.clone()).or_default();
    *until = until_ms.max(*until);
}

/// Records the start of a disconnect: from now on only the grace period is certain.
pub(crate) fn disconnecting(world: &World, user: UserId, connection: &ConnectionId) {
    let grace_ms = world.kernel.now_ms() + PRESENCE_GRACE_MS;
    let mut ground_truth = world.ground_truth();
    if let Some(until_ms) = ground_truth.presence.entry(user).or_default().devices.get_mut(connection) {
        *until_ms = grace_ms.min(*until_ms);
    }
}

/// The users who are certainly online now, and until when.
pub(crate) fn online_until(world: &World) -> Vec<(UserId, u64)> {
    let ground_truth = world.ground_truth();
    world.users.iter().map(|user| (*user, ground_truth.online_until_ms(*user))).collect()
}

/// Checks a presence answer against the users who were certainly online from the request to the answer.
pub(crate) fn answered(
    world: &World,
    viewer: UserId,
    asked_ms: u64,
    online_until: &[(UserId, u64)],
    views: &[PresenceView],
) {
    let now_ms = world.kernel.now_ms();
    let mut ground_truth = world.ground_truth();
    if ground_truth.wiped_since(asked_ms) {
        return;
    }
    for view in views.iter().filter(|view| !view.online) {
        let visible = view.user == viewer
            || ground_truth.visible_since_ms.get(&(view.user, viewer)).is_some_and(|since_ms| *since_ms <= asked_ms);
        let lived = online_until.iter().any(|(user, until_ms)| *user == view.user && *until_ms > now_ms);
        if visible && lived && ground_truth.online_until_ms(view.user) > now_ms {
            let name = world.label(view.user);
            ground_truth.violate(7, || format!("{name} was answered offline with a live device"));
        }
    }
}
