//! One user's position in their feed, and the connections that follow it: events are delivered live, held back while a
//! gap is filled, replayed, and delivered live again. Every method is synchronous and short; `gap_repair.rs` reads the
//! feeds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::feed::{Admission, Position, admit};
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::Delivery;

use super::disconnect::DisconnectReason;
use super::outbox::{Outbox, OutboxClosed, OutboxItem};
use crate::delivery::event::{PushedFrame, ResyncReason};
use crate::ops::metrics;

/// How many ephemeral events are held back while a gap is filled.
const HELD_EPHEMERAL_MAX: usize = 64;

/// One client's connection to this host.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) user: UserId,
    pub(crate) id: ConnectionId,
    /// The frames that wait for the client.
    pub(crate) outbox: Outbox,
    alive: AtomicBool,
}

impl Connection {
    pub(super) const fn new(user: UserId, id: ConnectionId, outbox: Outbox) -> Self {
        Self { user, id, outbox, alive: AtomicBool::new(false) }
    }

    /// Notes a sign of life from the client: the next heartbeat names the connection.
    pub(crate) fn mark_alive(&self) {
        self.alive.store(true, Ordering::Relaxed);
    }

    /// Whether there was a sign of life since the last call.
    pub(super) fn take_alive(&self) -> bool {
        self.alive.swap(false, Ordering::Relaxed)
    }
}

/// The feed of one user with connections to this host.
#[derive(Debug)]
pub(super) struct UserFeed {
    pub(super) user: UserId,
    /// Whether the bus is joined for the user; locked while it is joined or left.
    pub(super) bus_joined: tokio::sync::Mutex<bool>,
    delivery: Mutex<UserDelivery>,
}

#[derive(Debug)]
struct UserDelivery {
    /// Everything up to here was delivered; `None` until the first join.
    cursor: Option<Position>,
    mode: DeliveryMode,
    connections: Vec<Arc<Connection>>,
    /// How often a service has closed the connections, and the reason of the last time.
    disconnects: u64,
    disconnect_reason: DisconnectReason,
}

#[derive(Debug)]
enum DeliveryMode {
    /// Events are delivered as they arrive.
    Live,
    /// Nothing is delivered until the feed was read.
    Paused(PausedDelivery),
}

#[derive(Debug, Default)]
struct PausedDelivery {
    /// Durable events arrived since the feed was last read; it must be read again.
    feed_outdated: bool,
    /// Ephemeral events may be lost; the clients need the current state afterwards.
    refresh_needed: bool,
    /// The gap repair works on this user already.
    repair_requested: bool,
    /// The bus had not reported that it works again when that was last checked.
    was_overdue: bool,
    ephemeral: VecDeque<Arc<PushedFrame>>,
}

impl UserFeed {
    pub(super) fn new(user: UserId) -> Self {
        let mode = DeliveryMode::Paused(PausedDelivery::default());
        let delivery = UserDelivery {
            cursor: None,
            mode,
            connections: Vec::new(),
            disconnects: 0,
            disconnect_reason: DisconnectReason::default(),
        };
        Self { user, bus_joined: tokio::sync::Mutex::default(), delivery: Mutex::new(delivery) }
    }

    /// Holds events back from before the bus is joined until [`UserFeed::start`].
    pub(super) fn prepare_join(&self) {
        let mut delivery = self.lock();
        delivery.cursor = None;
        delivery.mode = DeliveryMode::Paused(PausedDelivery::default());
    }

    /// Starts delivery after this position, which was read after the bus was joined. Returns whether a gap repair is
    /// needed.
    #[must_use]
    pub(super) fn start(&self, position: Position) -> bool {
        let mut delivery = self.lock();
        delivery.cursor = Some(position);
        match &mut delivery.mode {
            // An event arrived before the position was known; only the feed shows whether the position includes it.
            DeliveryMode::Paused(paused) if paused.feed_outdated => {
                paused.repair_requested = true;
                true
            }
            _ => {
                delivery.mode = DeliveryMode::Live;
                false
            }
        }
    }

    /// How often a service has closed the connections of the user.
    pub(super) fn disconnects(&self) -> u64 {
        self.lock().disconnects
    }

    /// Closes every connection, and those that are about to open.
    pub(super) fn disconnect(&self, reason: &DisconnectReason) {
        let mut delivery = self.lock();
        delivery.disconnects += 1;
        delivery.disconnect_reason = reason.clone();
        for connection in &delivery.connections {
            connection.outbox.close(OutboxClosed::Disconnected(reason.clone()));
        }
    }

    /// Adds a connection. Its events come after the returned position; `None` before the first join. It is closed at
    /// once if the connections of the user were closed more often than `disconnects`, the number when it began to open.
    pub(super) fn attach(&self, connection: Arc<Connection>, disconnects: u64) -> Option<Position> {
        let mut delivery = self.lock();
        let cursor = delivery.cursor.clone()?;
        if delivery.disconnects != disconnects {
            connection.outbox.close(OutboxClosed::Disconnected(delivery.disconnect_reason.clone()));
        }
        delivery.connections.push(connection);
        Some(cursor)
    }

    pub(super) fn detach(&self, id: &ConnectionId) {
        self.lock().connections.retain(|connection| connection.id != *id);
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.clone()
    }

    /// Delivers an event from the bus. Returns whether a gap repair is needed.
    #[must_use]
    pub(super) fn deliver(&self, event: Delivery) -> bool {
        let mut delivery = self.lock();
        let UserDelivery { cursor, mode, connections, .. } = &mut *delivery;
        match (mode, event.position.clone(), cursor) {
            (DeliveryMode::Live, None, _) => send(connections, event),
            (mode @ DeliveryMode::Live, Some(position), Some(cursor)) => match admit(cursor, &position) {
                Admission::Next => {
                    *cursor = position;
                    send(connections, event);
                }
                Admission::Duplicate => {}
                Admission::Gap => {
                    *mode = DeliveryMode::paused_for_repair();
                    return true;
                }
            },
            (DeliveryMode::Paused(paused), None, _) => paused.hold(event),
            (DeliveryMode::Paused(paused), Some(_), _) => paused.feed_outdated = true,
            // Delivery is never live without a cursor; the event could not be placed.
            (DeliveryMode::Live, Some(_), None) => {}
        }
        false
    }

    /// Holds events back after an interruption of the bus, until the feed was read.
    pub(super) fn interrupt(&self) {
        let mut delivery = self.lock();
        match &mut delivery.mode {
            DeliveryMode::Live => {
                let paused = PausedDelivery { refresh_needed: true, ..PausedDelivery::default() };
                delivery.mode = DeliveryMode::Paused(paused);
            }
            DeliveryMode::Paused(paused) => {
                paused.feed_outdated = true;
                paused.refresh_needed = true;
            }
        }
    }

    /// Resumes after an interruption if nothing was missed up to `feed`, the feed's position. Returns whether a gap
    /// repair is needed.
    #[must_use]
    pub(super) fn resume_or_need_repair(&self, feed: &Position) -> bool {
        let mut delivery = self.lock();
        let Some(cursor) = delivery.cursor.clone() else { return false };
        let DeliveryMode::Paused(paused) = &mut delivery.mode else { return false };
        if paused.repair_requested {
            return false;
        }
        if !paused.feed_outdated && cursor == *feed {
            delivery.resume();
            return false;
        }
        paused.repair_requested = true;
        true
    }

    /// Whether events are held back until the bus reports that it works again, now and when this was called before.
    pub(super) fn remains_suspended(&self) -> bool {
        let mut delivery = self.lock();
        let is_joined = delivery.cursor.is_some();
        match &mut delivery.mode {
            DeliveryMode::Paused(paused) if is_joined && !paused.repair_requested => {
                std::mem::replace(&mut paused.was_overdue, true)
            }
            _ => false,
        }
    }

    /// A gap that was to be filled can be requested again, because the task that fills gaps has lost the request.
    pub(super) fn forget_repair_request(&self) {
        if let DeliveryMode::Paused(paused) = &mut self.lock().mode {
            paused.repair_requested = false;
        }
    }

    /// Whether `feed`, the feed's position, is ahead of what was delivered.
    pub(super) fn is_behind(&self, feed: &Position) -> bool {
        let mut delivery = self.lock();
        if !matches!(delivery.mode, DeliveryMode::Live) {
            return false;
        }
        let Some(cursor) = &mut delivery.cursor else { return false };
        if feed.without_feed_since().is_some() {
            // A feed that has expired shows nothing. One that never existed still does not, at a later time.
            if cursor.without_feed_since() < feed.without_feed_since() && cursor.without_feed_since().is_some() {
                *cursor = feed.clone();
            }
            return false;
        }
        cursor.epoch != feed.epoch || cursor.offset < feed.offset
    }

    /// Pauses the user if `feed`, a position that was read a while ago, is still ahead. Returns whether it paused.
    #[must_use]
    pub(super) fn pause_if_behind(&self, feed: &Position) -> bool {
        if !self.is_behind(feed) {
            return false;
        }
        let mut delivery = self.lock();
        if matches!(delivery.mode, DeliveryMode::Paused(_)) {
            return false;
        }
        delivery.mode = DeliveryMode::paused_for_repair();
        true
    }

    /// The position to replay from. Events that arrive from now on are not part of that replay.
    pub(super) fn begin_replay(&self) -> Option<Position> {
        let mut delivery = self.lock();
        if let DeliveryMode::Paused(paused) = &mut delivery.mode {
            paused.feed_outdated = false;
        }
        delivery.cursor.clone()
    }

    /// Delivers replayed events. Returns `None` if they do not connect to the cursor; otherwise whether delivery is
    /// live again. If it is not, the feed must be read once more.
    #[must_use]
    pub(super) fn apply_replay(&self, replayed: Vec<Delivery>) -> Option<bool> {
        let mut delivery = self.lock();
        if matches!(delivery.mode, DeliveryMode::Live) {
            return Some(true);
        }
        for event in replayed {
            let UserDelivery { cursor, connections, .. } = &mut *delivery;
            let (Some(cursor), Some(position)) = (cursor.as_mut(), event.position.clone()) else { continue };
            match admit(cursor, &position) {
                Admission::Next => {
                    *cursor = position;
                    send(connections, event);
                    metrics::HOLE_EVENTS.inc();
                }
                Admission::Duplicate => {}
                Admission::Gap => return None,
            }
        }
        Some(delivery.resume())
    }

    /// Sends a `resync`, because the feed no longer has what was missed: the clients fetch the current state and follow
    /// the feed from this position. Returns whether delivery is live again.
    #[must_use]
    pub(super) fn resync(&self, position: Position) -> bool {
        let mut delivery = self.lock();
        if matches!(delivery.mode, DeliveryMode::Live) || delivery.cursor.is_none() {
            return true;
        }
        let frame = Arc::new(PushedFrame::resync(ResyncReason::Gap, &position));
        for connection in &delivery.connections {
            connection.outbox.push(OutboxItem::Frame(frame.clone()));
        }
        delivery.cursor = Some(position);
        if let DeliveryMode::Paused(paused) = &mut delivery.mode {
            paused.refresh_needed = false;
            paused.ephemeral.clear();
        }
        delivery.resume()
    }

    fn lock(&self) -> MutexGuard<'_, UserDelivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeliveryMode {
    /// Paused at a gap that the caller requests to be filled.
    fn paused_for_repair() -> Self {
        Self::Paused(PausedDelivery { refresh_needed: true, repair_requested: true, ..PausedDelivery::default() })
    }
}

impl UserDelivery {
    /// Goes live, unless an event arrived that the last reading of the feed may lack. Returns whether delivery is live.
    fn resume(&mut self) -> bool {
        let DeliveryMode::Paused(paused) = &mut self.mode else { return true };
        if self.cursor.is_none() {
            // The bus was left meanwhile; the next join starts anew.
            return true;
        }
        if paused.feed_outdated {
            return false;
        }
        let PausedDelivery { refresh_needed, ephemeral, .. } = std::mem::take(paused);
        self.mode = DeliveryMode::Live;
        for connection in &self.connections {
            for frame in &ephemeral {
                connection.outbox.push(OutboxItem::Frame(frame.clone()));
            }
            if refresh_needed {
                connection.outbox.push(OutboxItem::Refresh);
            }
        }
        true
    }
}

impl PausedDelivery {
    fn hold(&mut self, event: Delivery) {
        if self.ephemeral.len() < HELD_EPHEMERAL_MAX {
            self.ephemeral.push_back(Arc::new(event.into()));
        } else {
            self.refresh_needed = true;
        }
    }
}

fn send(connections: &[Arc<Connection>], event: Delivery) {
    metrics::DELIVERIES.inc_by(connections.len() as u64);
    let frame = Arc::new(PushedFrame::from(event));
    for connection in connections {
        connection.outbox.push(OutboxItem::Frame(frame.clone()));
    }
}
