//! One user's place in their feed, and the connections that follow it: deliver, hold while a hole is filled,
//! replay, go on. Every step is synchronous and short; who fills holes lives in `repair.rs`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::feed::{Admission, Position, admit};
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::Delivery;

use super::outbox::{Item, Outbox};
use crate::delivery::event::{PushedFrame, ResyncReason};

/// Events without a place in the feed that wait while a hole is filled.
const HELD_MAX: usize = 64;

/// One client as the hub sees it.
#[derive(Debug)]
pub struct Connection {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub id: ConnectionId,
    /// What waits for it.
    pub outbox: Outbox,
    alive: AtomicBool,
}

impl Connection {
    pub(super) const fn new(user: UserId, id: ConnectionId, outbox: Outbox) -> Self {
        Self { user, id, outbox, alive: AtomicBool::new(false) }
    }

    /// The client gave a sign of life: the next beat names it.
    pub fn alive(&self) {
        self.alive.store(true, Ordering::Relaxed);
    }

    /// Whether there was a sign of life since this was asked last.
    pub(super) fn take_alive(&self) -> bool {
        self.alive.swap(false, Ordering::Relaxed)
    }
}

/// One user with connections here.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    /// Held while the bus is joined or left; says whether it is joined.
    pub(super) membership: tokio::sync::Mutex<bool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Everything up to here was delivered; `None` until the first join.
    cursor: Option<Position>,
    flow: Flow,
    connections: Vec<Arc<Connection>>,
}

#[derive(Debug)]
enum Flow {
    /// Events go out as they come.
    Live,
    /// Nothing newer goes out before the feed was asked.
    Holding(Held),
}

#[derive(Debug, Default)]
struct Held {
    /// Durable events came since the feed was asked last; it must be asked again.
    arrived: bool,
    /// Events that no feed keeps may be lost.
    refresh: bool,
    /// Somebody fills the hole already.
    queued: bool,
    ephemeral: VecDeque<Arc<PushedFrame>>,
}

impl User {
    pub(super) fn new(id: UserId) -> Self {
        let state = State { cursor: None, flow: Flow::Holding(Held::default()), connections: Vec::new() };
        Self { id, membership: tokio::sync::Mutex::default(), state: Mutex::new(state) }
    }

    /// The bus is about to be joined: what it brings waits for [`User::start`].
    pub(super) fn prepare(&self) {
        let mut state = self.lock();
        state.cursor = None;
        state.flow = Flow::Holding(Held::default());
    }

    /// The bus is joined and the feed stood here afterwards. Answers whether the hole filler is needed.
    #[must_use]
    pub(super) fn start(&self, position: Position) -> bool {
        let mut state = self.lock();
        state.cursor = Some(position);
        match &mut state.flow {
            // Something came before the position was known: the feed knows which side of it.
            Flow::Holding(held) if held.arrived => {
                held.queued = true;
                true
            }
            _ => {
                state.flow = Flow::Live;
                false
            }
        }
    }

    /// Adds a connection; its events begin after the position answered. `None` before the first join.
    pub(super) fn attach(&self, connection: Arc<Connection>) -> Option<Position> {
        let mut state = self.lock();
        let cursor = state.cursor.clone()?;
        state.connections.push(connection);
        Some(cursor)
    }

    pub(super) fn detach(&self, id: &ConnectionId) {
        self.lock().connections.retain(|connection| connection.id != *id);
    }

    pub(super) fn cursor(&self) -> Option<Position> {
        self.lock().cursor.clone()
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().connections.clone()
    }

    /// Takes a live event. Answers whether the hole filler is needed.
    #[must_use]
    pub(super) fn deliver(&self, delivery: Delivery) -> bool {
        let mut state = self.lock();
        let State { cursor, flow, connections } = &mut *state;
        match (flow, delivery.position.clone(), cursor) {
            (Flow::Live, None, _) => send(connections, delivery),
            (flow @ Flow::Live, Some(position), Some(cursor)) => match admit(cursor, &position) {
                Admission::Next => {
                    *cursor = position;
                    send(connections, delivery);
                }
                Admission::Duplicate => {}
                Admission::Hole => {
                    *flow = Flow::Holding(Held { refresh: true, queued: true, ..Held::default() });
                    return true;
                }
            },
            (Flow::Holding(held), None, _) => held.keep(delivery),
            (Flow::Holding(held), Some(_), _) => held.arrived = true,
            // Live without a cursor does not occur; nothing could be told from it.
            (Flow::Live, Some(_), None) => {}
        }
        false
    }

    /// The bus was cut off: nothing newer goes out before the feed was asked.
    pub(super) fn interrupt(&self) {
        let mut state = self.lock();
        match &mut state.flow {
            Flow::Live => state.flow = Flow::Holding(Held { refresh: true, ..Held::default() }),
            Flow::Holding(held) => {
                held.arrived = true;
                held.refresh = true;
            }
        }
    }

    /// After an interruption the feed stands here. Goes on if nothing was missed; answers whether the hole filler
    /// is needed.
    #[must_use]
    pub(super) fn settle(&self, feed: &Position) -> bool {
        let mut state = self.lock();
        let Some(cursor) = state.cursor.clone() else { return false };
        let Flow::Holding(held) = &mut state.flow else { return false };
        if held.queued {
            return false;
        }
        if !held.arrived && cursor == *feed {
            state.go_on();
            return false;
        }
        held.queued = true;
        true
    }

    /// Whether the feed, which stood here, is ahead of what was delivered.
    pub(super) fn lags(&self, feed: &Position) -> bool {
        let mut state = self.lock();
        if !matches!(state.flow, Flow::Live) {
            return false;
        }
        let Some(cursor) = &mut state.cursor else { return false };
        if feed.nowhere_since().is_some() {
            // A feed that is forgotten tells nothing; one that never was still is none, at a later moment.
            if cursor.nowhere_since() < feed.nowhere_since() && cursor.nowhere_since().is_some() {
                *cursor = feed.clone();
            }
            return false;
        }
        cursor.epoch != feed.epoch || cursor.offset < feed.offset
    }

    /// Holds the user if the feed, which stood here a while ago, is still ahead. Answers whether it is.
    #[must_use]
    pub(super) fn hold_if_lagging(&self, feed: &Position) -> bool {
        if !self.lags(feed) {
            return false;
        }
        let mut state = self.lock();
        if matches!(state.flow, Flow::Holding(_)) {
            return false;
        }
        state.flow = Flow::Holding(Held { refresh: true, queued: true, ..Held::default() });
        true
    }

    /// Where to replay from. What arrives from now on is not part of the replay.
    pub(super) fn begin_replay(&self) -> Option<Position> {
        let mut state = self.lock();
        if let Flow::Holding(held) = &mut state.flow {
            held.arrived = false;
        }
        state.cursor.clone()
    }

    /// Delivers what the feed kept. `None`: it did not connect to the cursor. Otherwise whether the user goes on
    /// live; if not, the feed must be asked again.
    #[must_use]
    pub(super) fn apply(&self, replayed: Vec<Delivery>) -> Option<bool> {
        let mut state = self.lock();
        if matches!(state.flow, Flow::Live) {
            return Some(true);
        }
        for delivery in replayed {
            let State { cursor, connections, .. } = &mut *state;
            let (Some(cursor), Some(position)) = (cursor.as_mut(), delivery.position.clone()) else { continue };
            match admit(cursor, &position) {
                Admission::Next => {
                    *cursor = position;
                    send(connections, delivery);
                    metrics::counter!("roost_hole_events_total").increment(1);
                }
                Admission::Duplicate => {}
                Admission::Hole => return None,
            }
        }
        Some(state.go_on())
    }

    /// The feed cannot tell what was missed: the connections fetch the present state, and follow from here.
    /// Answers as [`User::apply`] does.
    #[must_use]
    pub(super) fn resync(&self, position: Position) -> bool {
        let mut state = self.lock();
        if matches!(state.flow, Flow::Live) || state.cursor.is_none() {
            return true;
        }
        let frame = Arc::new(PushedFrame::resync(ResyncReason::Gap, &position));
        for connection in &state.connections {
            connection.outbox.push(Item::PushedFrame(frame.clone()));
        }
        state.cursor = Some(position);
        if let Flow::Holding(held) = &mut state.flow {
            held.refresh = false;
            held.ephemeral.clear();
        }
        state.go_on()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Goes live, unless something arrived that the last answer of the feed may lack.
    fn go_on(&mut self) -> bool {
        let Flow::Holding(held) = &mut self.flow else { return true };
        if self.cursor.is_none() {
            // The bus was left meanwhile; the next join begins anew.
            return true;
        }
        if held.arrived {
            return false;
        }
        let Held { refresh, ephemeral, .. } = std::mem::take(held);
        self.flow = Flow::Live;
        for connection in &self.connections {
            for frame in &ephemeral {
                connection.outbox.push(Item::PushedFrame(frame.clone()));
            }
            if refresh {
                connection.outbox.push(Item::Refresh);
            }
        }
        true
    }
}

impl Held {
    fn keep(&mut self, delivery: Delivery) {
        if self.ephemeral.len() < HELD_MAX {
            self.ephemeral.push_back(Arc::new(delivery.into()));
        } else {
            self.refresh = true;
        }
    }
}

fn send(connections: &[Arc<Connection>], delivery: Delivery) {
    metrics::counter!("roost_deliveries_total").increment(connections.len() as u64);
    let frame = Arc::new(PushedFrame::from(delivery));
    for connection in connections {
        connection.outbox.push(Item::PushedFrame(frame.clone()));
    }
}
