//! What a host does by itself: beats for its live connections, sweeps, recovers announcements, verifies, compares
//! positions; and how a connection opens and closes.

use roost_core::consistency::{self, Subjects};
use roost_core::error::Error;
use roost_core::event::PresenceView;
use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::{HEARTBEAT_INTERVAL_MS, PENDING_AFTER_MS};
use roost_core::port::{KeyValue, PubSub, Query, Records, Value};
use roost_core::{messaging, presence, unread};

use super::executor::{Group, at_once};
use super::hub::{Frame, Mail, Session, Wire, fill, pump};
use super::mistake::Mistake;
use super::oracle::{counters, presence as presence_oracle};
use super::plan::SKEW_MS_MAX;
use super::port::Port;
use std::sync::Arc;

use super::world::World;

/// A client that wants in.
pub(crate) struct Opening {
    pub(crate) user: UserId,
    pub(crate) connection: ConnectionId,
    /// Where it stood; `None`: it begins.
    pub(crate) since: Option<Position>,
    pub(crate) wire: Wire,
}

/// Starts a host with an empty memory.
pub(crate) fn boot(world: &Arc<World>, index: usize) {
    world.kernel.note("boot", [index as u64, 0], || format!("h{index} starts"));
    world.host(index).up = true;
    let port = Port { world: world.clone(), host: index };
    let group = Group::Host(index);
    world.kernel.spawn(group, pump(port.clone()));
    world.kernel.spawn(group, keep_beating(port.clone()));
    world.kernel.spawn(group, keep_sweeping(port.clone()));
    world.kernel.spawn(group, keep_recovering(port.clone()));
    world.kernel.spawn(group, keep_verifying(port.clone()));
    world.kernel.spawn(group, keep_checking(port));
}

/// Opens a connection: first the position, then everything else, so that nothing falls in between.
pub(crate) async fn open(port: Port, opening: Opening) -> Result<Vec<PresenceView>, Error> {
    let Opening { user, connection, since, wire } = opening;
    let world = port.world.clone();
    // Joining the bus is a call like any other: whatever is published after it returns reaches this host.
    port.publish(Vec::new()).await?;
    world.host(port.host).joined.insert(user);
    // A place that was looked up before an interruption may belong to a feed that is gone; there was no session yet that
    // the interruption could have sent back to its feed.
    let (position, frames) = loop {
        let heard = world.host(port.host).interruptions;
        let found = place(&port, user, since.as_ref()).await?;
        if world.host(port.host).interruptions == heard {
            break found;
        }
    };
    let mut session = Session { user, position, wire };
    frames.into_iter().for_each(|frame| session.take(frame));
    {
        let mut host = world.host(port.host);
        host.sessions.insert(connection.clone(), session);
        // Another connection of the user may have closed meanwhile, and left the bus as if it had been the last.
        host.joined.insert(user);
    }
    let greeted = greet(&port, user, &connection).await;
    if greeted.is_err() {
        world.close_session(port.host, &connection);
    }
    greeted
}

/// Where a connection begins, and what it is sent first.
async fn place(port: &Port, user: UserId, since: Option<&Position>) -> Result<(Position, Vec<Frame>), Error> {
    if let Some(since) = since {
        return Ok((since.clone(), fill(port, user, since).await?));
    }
    let (position, place) = port.positions(user).await?;
    Ok((position.clone(), vec![Frame::Resync(position, place)]))
}

async fn greet(port: &Port, user: UserId, connection: &ConnectionId) -> Result<Vec<PresenceView>, Error> {
    let world = &port.world;
    let (began_ms, alive) = (world.kernel.now_ms(), presence_oracle::alive(world));
    let views = presence::connected(port, user, connection).await?;
    if world.host(port.host).sessions.contains_key(connection) {
        presence_oracle::beat(world, user, connection, began_ms);
    }
    presence_oracle::answered(world, user, began_ms, &alive, &views);
    let certain = counters::certain(world, user);
    let totals = unread::totals(port, user).await?;
    counters::answered(world, user, &certain, &totals.value);
    Ok(views)
}

/// Closes a connection and says goodbye for it.
pub(crate) async fn close(port: &Port, user: UserId, connection: &ConnectionId) {
    port.world.close_session(port.host, connection);
    presence_oracle::leaving(&port.world, user, connection);
    // A goodbye that fails is none: the device's deadline does the rest.
    presence::disconnect(port, user, connection).await.ok();
}

async fn keep_beating(port: Port) {
    loop {
        port.world.kernel.pause(HEARTBEAT_INTERVAL_MS).await;
        bury(&port).await;
        for _ in 0..3 {
            if beat(&port).await.is_ok() {
                break;
            }
            port.world.kernel.pause(1_000).await;
        }
    }
}

/// Connections whose client went away without a word.
async fn bury(port: &Port) {
    let gone: Vec<_> = {
        let host = port.world.host(port.host);
        let cut = host.sessions.iter().filter(|(_, session)| session.wire.is_cut());
        cut.map(|(connection, session)| (session.user, connection.clone())).collect()
    };
    for (user, connection) in gone {
        close(port, user, &connection).await;
    }
}

async fn beat(port: &Port) -> Result<(), Error> {
    let beats: Vec<_> = {
        let host = port.world.host(port.host);
        let live = host.sessions.iter().filter(|(_, session)| !session.wire.is_cut());
        live.map(|(connection, session)| (session.user, connection.clone())).collect()
    };
    if beats.is_empty() {
        return Ok(());
    }
    let began_ms = port.world.kernel.now_ms();
    presence::heartbeat(port, &beats).await?;
    for (user, connection) in &beats {
        // One that said goodbye meanwhile lives only as long as its grace.
        if port.world.host(port.host).sessions.contains_key(connection) {
            presence_oracle::beat(&port.world, *user, connection, began_ms);
        }
    }
    Ok(())
}

async fn keep_sweeping(port: Port) {
    let mut shards: Vec<u32> = port.world.users.iter().filter_map(|user| shard_of(*user)).collect();
    shards.sort_unstable();
    shards.dedup();
    loop {
        let span_ms = port.world.kernel.draw(|rng| rng.between(1_500, 6_000));
        port.world.kernel.pause(span_ms).await;
        for shard in &shards {
            if is_due(&port, *shard) {
                presence::sweep(&port, *shard).await.ok();
            }
        }
    }
}

fn shard_of(user: UserId) -> Option<u32> {
    match Owner::presence_shard(user) {
        Owner::Shard(shard) => Some(shard),
        Owner::User(_) | Owner::Conversation(_) => None,
    }
}

/// A sweep that would find nothing is left out: it only reads.
fn is_due(port: &Port, shard: u32) -> bool {
    let key = Key::new(Space::PresenceDue, Owner::Shard(shard));
    let maximum = port.world.now().plus(SKEW_MS_MAX).score();
    let range = Query::OrderedRange { key, minimum: i64::MIN, maximum, limit: 1 };
    at_once(port.world.store.read(vec![range])).is_ok_and(|values| values != [Value::Ordered(Vec::new())])
}

async fn keep_recovering(port: Port) {
    loop {
        port.world.kernel.pause(PENDING_AFTER_MS).await;
        let before = port.world.now().plus(SKEW_MS_MAX);
        let pending = at_once(port.world.records.pending(before, 1)).is_ok_and(|pending| !pending.is_empty());
        if pending && !port.world.makes(Mistake::NeverRecover) {
            messaging::recover(&port).await.ok();
        }
    }
}

/// Whatever goes on and whatever fails: a verification never takes it for drift.
async fn keep_verifying(port: Port) {
    let world = port.world.clone();
    loop {
        let span_ms = world.kernel.draw(|rng| rng.between(5_000, 60_000));
        world.kernel.pause(span_ms).await;
        for subjects in
            [Subjects::Users(world.users.clone()), Subjects::Conversations(world.records.conversation_ids())]
        {
            let Ok(report) = consistency::verify(&port, &subjects).await else { continue };
            if let (Some(finding), None) = (report.divergences.first(), world.mistake) {
                world.ledger().violate(3, || format!("a verification found {finding:?} where nothing is wrong"));
            }
        }
    }
}

async fn keep_checking(port: Port) {
    loop {
        port.world.kernel.pause(HEARTBEAT_INTERVAL_MS).await;
        port.world.post(port.host, Mail::Check);
    }
}
