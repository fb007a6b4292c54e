//! The background tasks of a host (heartbeats, sweeps, recovery of announcements, verification, comparison of
//! positions), and how a connection opens and closes.

use roost_core::consistency::{self, Subjects};
use roost_core::error::Error;
use roost_core::event::PresenceView;
use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::{HEARTBEAT_INTERVAL_MS, PENDING_AFTER_MS, SWEEP_NOTE_INTERVAL_MS};
use roost_core::port::{KeyValue, PendingQuery, PubSub, Query, Records, Value};
use roost_core::{messaging, presence, unread};

use super::executor::{Group, complete_now};
use super::oracle::{counters, presence as presence_oracle};
use super::plan::SKEW_MS_MAX;
use super::planted_bug::PlantedBug;
use super::port::Port;
use super::sessions::{Frame, InboxItem, Session, Wire, fill, pump};
use std::sync::Arc;

use super::votes;
use super::world::World;

/// The request of a client to open a connection.
pub(crate) struct Opening {
    pub(crate) user: UserId,
    pub(crate) connection: ConnectionId,
    /// The position to resume from, or `None` for a first connection.
    pub(crate) since: Option<Position>,
    pub(crate) wire: Wire,
}

/// Starts a host with empty memory.
pub(crate) fn boot(world: &Arc<World>, index: usize) {
    world.kernel.note("boot", [index as u64, 0], || format!("h{index} starts"));
    world.host(index).up = true;
    let port = Port { world: world.clone(), host: index };
    let group = Group::Host(index);
    world.kernel.spawn(group, pump(port.clone()));
    world.kernel.spawn(group, run_heartbeats(port.clone()));
    world.kernel.spawn(group, run_sweeps(port.clone()));
    world.kernel.spawn(group, run_recovery(port.clone()));
    world.kernel.spawn(group, votes::run_outbox(port.clone()));
    world.kernel.spawn(group, run_verification(port.clone()));
    world.kernel.spawn(group, run_position_checks(port));
}

/// Opens a connection. It takes the position first and everything else afterwards, so that no event falls in between.
pub(crate) async fn open(port: Port, opening: Opening) -> Result<Vec<PresenceView>, Error> {
    let Opening { user, connection, since, wire } = opening;
    let world = port.world.clone();
    // Joining the bus is a call like any other: everything published after it returns reaches this host.
    port.publish(Vec::new()).await?;
    world.host(port.host).joined.insert(user);
    // A position from before an interruption can belong to a feed that no longer exists, and there was no session yet
    // that the interruption could have resynchronised.
    let (position, frames) = loop {
        let interruptions_before = world.host(port.host).interruptions;
        let found = start_position(&port, user, since.as_ref()).await?;
        if world.host(port.host).interruptions == interruptions_before {
            break found;
        }
    };
    let mut session = Session { user, position, wire, presence_events: 0 };
    frames.into_iter().for_each(|frame| session.take(frame));
    {
        let mut host = world.host(port.host);
        host.sessions.insert(connection.clone(), session);
        // Another connection of the user may have closed meanwhile and left the bus as if it had been the last one.
        host.joined.insert(user);
    }
    let hello = send_hello(&port, user, &connection).await;
    if hello.is_err() {
        world.close_session(port.host, &connection);
    }
    hello
}

/// The start position of a connection, and its first frames.
async fn start_position(port: &Port, user: UserId, since: Option<&Position>) -> Result<(Position, Vec<Frame>), Error> {
    let (position, start_position) = port.follow(user).await?;
    if let Some(since) = since {
        return Ok((since.clone(), fill(port, user, since).await?));
    }
    Ok((position.clone(), vec![Frame::Resync(position, start_position)]))
}

async fn send_hello(port: &Port, user: UserId, connection: &ConnectionId) -> Result<Vec<PresenceView>, Error> {
    let world = &port.world;
    let (began_ms, online_until) = (world.kernel.now_ms(), presence_oracle::online_until(world));
    let views = presence::connected(port, user, connection).await?;
    if world.host(port.host).sessions.contains_key(connection) {
        presence_oracle::heartbeat(world, user, connection, began_ms);
    }
    presence_oracle::answered(world, user, began_ms, &online_until, &views);
    let answer_bounds = counters::answer_bounds(world, user);
    let totals = unread::totals(port, user).await?;
    counters::answered(world, user, &answer_bounds, &totals.value);
    Ok(views)
}

/// Closes a connection and reports the disconnect.
pub(crate) async fn close(port: &Port, user: UserId, connection: &ConnectionId) {
    port.world.close_session(port.host, connection);
    presence_oracle::disconnecting(&port.world, user, connection);
    // If the disconnect cannot be reported, the device's deadline takes effect.
    presence::disconnect(port, user, connection).await.ok();
}

async fn run_heartbeats(port: Port) {
    loop {
        port.world.kernel.pause(HEARTBEAT_INTERVAL_MS).await;
        close_cut_connections(&port).await;
        // Heartbeats that were missed are tried again until they succeed.
        let mut pause_ms = 500;
        while send_heartbeats(&port).await.is_err() {
            port.world.kernel.pause(pause_ms).await;
            pause_ms = (2 * pause_ms).min(4_000);
            close_cut_connections(&port).await;
        }
    }
}

/// Closes connections whose client went away without a close frame.
async fn close_cut_connections(port: &Port) {
    let gone: Vec<_> = {
        let host = port.world.host(port.host);
        let cut = host.sessions.iter().filter(|(_, session)| session.wire.is_cut());
        cut.map(|(connection, session)| (session.user, connection.clone())).collect()
    };
    for (user, connection) in gone {
        close(port, user, &connection).await;
    }
}

async fn send_heartbeats(port: &Port) -> Result<(), Error> {
    let heartbeats: Vec<_> = {
        let host = port.world.host(port.host);
        let live = host.sessions.iter().filter(|(_, session)| !session.wire.is_cut());
        live.map(|(connection, session)| (session.user, connection.clone())).collect()
    };
    if heartbeats.is_empty() {
        return Ok(());
    }
    let began_ms = port.world.kernel.now_ms();
    presence::heartbeat(port, &heartbeats).await?;
    for (user, connection) in &heartbeats {
        // A connection that was closed meanwhile stays online for the grace period only.
        if port.world.host(port.host).sessions.contains_key(connection) {
            presence_oracle::heartbeat(&port.world, *user, connection, began_ms);
        }
    }
    Ok(())
}

async fn run_sweeps(port: Port) {
    let mut shards: Vec<u32> = port.world.users.iter().filter_map(|user| shard_of(*user)).collect();
    shards.sort_unstable();
    shards.dedup();
    loop {
        let span_ms = port.world.kernel.draw(|rng| rng.between(1_500, 6_000));
        port.world.kernel.pause(span_ms).await;
        for shard in &shards {
            if needs_sweep(&port, *shard) {
                presence::sweep(&port, *shard).await.ok();
            }
        }
    }
}

fn shard_of(user: UserId) -> Option<u32> {
    match Owner::presence_shard(user) {
        Owner::Shard(shard) => Some(shard),
        Owner::User(_) | Owner::Conversation(_) | Owner::Message { .. } => None,
    }
}

/// Skips sweeps that would find nothing and note nothing, and those that could not reach the store.
fn needs_sweep(port: &Port, shard: u32) -> bool {
    let world = &port.world;
    if world.store_is_away() || world.is_cut_off(port.host) {
        return false;
    }
    let key = |space| Key::new(space, Owner::Shard(shard));
    let maximum = world.now().plus(SKEW_MS_MAX).score();
    let range = Query::OrderedRange { key: key(Space::PresenceDue), minimum: i64::MIN, maximum, limit: 1 };
    let noted = Query::NamedFields(key(Space::PresenceSweep), ["swept_at".to_owned()].into());
    let Ok(values) = complete_now(world.store.read(vec![range, noted])) else { return false };
    let noted_ms = match values.get(1) {
        Some(Value::NamedFields(fields)) => fields.first().and_then(|text| text.as_deref()?.parse::<u64>().ok()),
        _ => None,
    };
    let is_noted = noted_ms.is_some_and(|at| at + SWEEP_NOTE_INTERVAL_MS > world.now().0);
    !is_noted || values.first() != Some(&Value::Ordered(Vec::new()))
}

async fn run_recovery(port: Port) {
    loop {
        port.world.kernel.pause(PENDING_AFTER_MS).await;
        let before = port.world.now().plus(SKEW_MS_MAX);
        if port.world.has_bug(PlantedBug::NeverRecover) {
            continue;
        }
        if is_pending(&port, PendingQuery::untried(before)) {
            messaging::recover(&port).await.ok();
        }
        if is_pending(&port, PendingQuery::tried(before)) {
            messaging::retry(&port).await.ok();
        }
    }
}

fn is_pending(port: &Port, query: PendingQuery) -> bool {
    complete_now(port.world.records.pending(query)).is_ok_and(|page| !page.items.is_empty())
}

/// A verification must never report a divergence, whatever happens at the same time.
async fn run_verification(port: Port) {
    let world = port.world.clone();
    loop {
        let span_ms = world.kernel.draw(|rng| rng.between(5_000, 60_000));
        world.kernel.pause(span_ms).await;
        for subjects in
            [Subjects::Users(world.users.clone()), Subjects::Conversations(world.records.conversation_ids())]
        {
            let Ok(report) = consistency::verify(&port, &subjects).await else { continue };
            if let (Some(finding), None) = (report.divergences.first(), world.planted_bug) {
                world.ground_truth().violate(3, || format!("a verification found {finding:?} where nothing is wrong"));
            }
        }
    }
}

async fn run_position_checks(port: Port) {
    loop {
        port.world.kernel.pause(HEARTBEAT_INTERVAL_MS).await;
        port.world.post(port.host, InboxItem::Check);
    }
}
