//! A model of a host's delivery: sessions, each with the position it was served up to, and one pump that serves them in
//! the order of the bus. It follows `roost_core::feed` and uses no socket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::event::PresenceView;
use roost_core::feed::{Admission, Position, admit};
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Delivery, Replay};
use roost_core::presence;

use super::executor::TaskId;
use super::planted_bug::PlantedBug;
use super::port::Port;
use super::world::World;

/// The memory of one host. After a crash, only the error of its clock remains.
#[derive(Default)]
pub(crate) struct Host {
    /// Whether the host runs.
    pub(crate) up: bool,
    /// Whether the host runs the next version of the functions.
    pub(crate) runs_next_version: bool,
    /// The difference between its clock and the clock of the store.
    pub(crate) skew_ms: i64,
    /// Since when and until when it alone cannot reach the store.
    pub(crate) cut_off_since_ms: u64,
    pub(crate) cut_off_until_ms: u64,
    /// The users whose deliveries it receives.
    pub(crate) joined: BTreeSet<UserId>,
    /// The sessions by connection.
    pub(crate) sessions: BTreeMap<ConnectionId, Session>,
    /// The number of interruptions of the bus.
    pub(crate) interruptions: u64,
    inbox: VecDeque<InboxItem>,
    pump: Option<TaskId>,
}

/// One connection as the host knows it.
pub(crate) struct Session {
    pub(crate) user: UserId,
    /// The position that the session was served up to.
    pub(crate) position: Position,
    pub(crate) wire: Wire,
    /// The number of presence events that were sent.
    pub(crate) presence_events: u64,
}

/// An item in the inbox of the pump.
#[derive(Clone, Debug)]
pub(crate) enum InboxItem {
    /// A delivery from the bus.
    Delivery(UserId, Delivery),
    /// The bus was interrupted: any event may be missing.
    Interrupted,
    /// It is time to compare positions.
    Check,
}

/// A frame for a client.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// A durable or an ephemeral event.
    Event(Delivery),
    /// Events are missing and the client must fetch the state. Holds the position of the feed and its index in the
    /// ground truth.
    Resync(Position, usize),
    /// The bus was interrupted: the current presence of contacts. The host pushes the rest of the state as well, which
    /// a client fetches here.
    Refresh(Vec<PresenceView>),
}

/// The connection from a host to one client. Frames that the client has not taken are lost when it breaks.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<WireState>>);

#[derive(Default)]
struct WireState {
    frames: VecDeque<Frame>,
    cut: bool,
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame, unless the connection is broken.
    pub(crate) fn send(&self, frame: Frame) {
        let mut state = self.lock();
        if !state.cut {
            state.frames.push_back(frame);
        }
    }

    /// Takes the next frame.
    pub(crate) fn take(&self) -> Option<Frame> {
        self.lock().frames.pop_front()
    }

    /// Breaks the connection; frames in flight are lost.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        state.frames.clear();
    }

    /// Whether the connection is broken.
    pub(crate) fn is_cut(&self) -> bool {
        self.lock().cut
    }
}

impl World {
    /// Puts an item into a host's inbox and wakes its pump.
    pub(crate) fn post(&self, index: usize, item: InboxItem) {
        let mut host = self.host(index);
        if matches!(item, InboxItem::Interrupted) {
            // The comparison after an interruption covers these items, and they can belong to an older feed.
            host.inbox.clear();
            host.interruptions += 1;
        }
        host.inbox.push_back(item);
        if let Some(pump) = host.pump {
            self.kernel.wake(pump);
        }
    }

    /// Removes everything that a crash destroys; every client's connection breaks.
    pub(crate) fn host_died(&self, index: usize) {
        let mut host = self.host(index);
        for session in host.sessions.values() {
            session.wire.cut();
        }
        *host = Host { skew_ms: host.skew_ms, ..Host::default() };
    }

    /// Ends one session; the host leaves the bus for its user if it was the user's last session here.
    pub(crate) fn close_session(&self, index: usize, connection: &ConnectionId) {
        let mut host = self.host(index);
        if let Some(session) = host.sessions.remove(connection) {
            session.wire.cut();
            if !host.sessions.values().any(|other| other.user == session.user) {
                host.joined.remove(&session.user);
            }
        }
    }
}

/// Processes the inbox of a host for as long as the host runs.
pub(crate) async fn pump(port: Port) {
    let (world, index) = (port.world.clone(), port.host);
    world.host(index).pump = Some(world.kernel.current());
    loop {
        let item = world.host(index).inbox.pop_front();
        match item {
            None => world.kernel.pause_until(u64::MAX).await,
            Some(InboxItem::Delivery(user, delivery)) => serve(&port, user, &delivery).await,
            Some(InboxItem::Check) => check(&port).await,
            Some(InboxItem::Interrupted) => {
                check(&port).await;
                refresh(&port).await;
            }
        }
    }
}

fn connections(port: &Port, user: Option<UserId>) -> Vec<ConnectionId> {
    let host = port.world.host(port.host);
    let mine = host.sessions.iter().filter(|(_, session)| user.is_none_or(|user| session.user == user));
    mine.map(|(connection, _)| connection.clone()).collect()
}

async fn serve(port: &Port, user: UserId, delivery: &Delivery) {
    for connection in connections(port, Some(user)) {
        if !hand_over(port, &connection, delivery) {
            catch_up(port, &connection).await;
        }
    }
}

/// Delivers to one session. False: an event before this one is missing.
fn hand_over(port: &Port, connection: &ConnectionId, delivery: &Delivery) -> bool {
    let mut host = port.world.host(port.host);
    let Some(session) = host.sessions.get_mut(connection) else { return true };
    let Some(position) = &delivery.position else {
        session.presence_events += u64::from(delivery.name.starts_with("user."));
        session.wire.send(Frame::Event(delivery.clone()));
        return true;
    };
    match admit(&session.position, position) {
        Admission::Duplicate => true,
        Admission::Gap if !port.world.has_bug(PlantedBug::DeliverPastAHole) => false,
        Admission::Next | Admission::Gap => {
            session.position = position.clone();
            session.wire.send(Frame::Event(delivery.clone()));
            true
        }
    }
}

/// Compares every session with its feed and catches up.
async fn check(port: &Port) {
    for connection in connections(port, None) {
        catch_up(port, &connection).await;
    }
}

/// Fills the gap of a session, or tells its client to resynchronise. Nothing newer is sent before that.
async fn catch_up(port: &Port, connection: &ConnectionId) {
    loop {
        let feed_index = port.world.host(port.host).sessions.get(connection).map(|s| (s.user, s.position.clone()));
        let Some((user, position)) = feed_index else { return };
        match fill(port, user, &position).await {
            Ok(frames) => {
                let mut host = port.world.host(port.host);
                if let Some(session) = host.sessions.get_mut(connection) {
                    frames.into_iter().for_each(|frame| session.take(frame));
                }
                return;
            }
            Err(_) => port.world.kernel.pause(300).await,
        }
    }
}

impl Session {
    /// Sends a frame and moves the position.
    pub(crate) fn take(&mut self, frame: Frame) {
        match &frame {
            Frame::Event(Delivery { position: Some(position), .. }) | Frame::Resync(position, _) => {
                self.position = position.clone();
            }
            Frame::Event(_) | Frame::Refresh(_) => {}
        }
        self.wire.send(frame);
    }
}

/// The frames that a client at this position needs.
pub(crate) async fn fill(
    port: &Port,
    user: UserId,
    since: &Position,
) -> Result<Vec<Frame>, roost_core::port::StoreError> {
    match port.replay(user, since).await? {
        Replay::Events(events) => Ok(events.into_iter().map(Frame::Event).collect()),
        Replay::Gap if port.world.has_bug(PlantedBug::ReplayInPart) => {
            let start = Position::without_feed(port.world.now());
            let Replay::Events(events) = port.replay(user, &start).await? else { return Ok(Vec::new()) };
            Ok(events.into_iter().map(Frame::Event).collect())
        }
        Replay::Gap => {
            let (position, feed_index) = port.follow(user).await?;
            Ok(vec![Frame::Resync(position, feed_index)])
        }
    }
}

/// Sends the current state to every client, because presence events are ephemeral and may have been missed. What a
/// client was told while the presence was read may be newer; then it is read again.
async fn refresh(port: &Port) {
    for connection in connections(port, None) {
        loop {
            let known = port.world.host(port.host).sessions.get(&connection).map(|s| (s.user, s.presence_events));
            let Some((user, events)) = known else { break };
            let views = presence::of_contacts(port, user).await;
            if let (Ok(views), Some(session)) = (views, port.world.host(port.host).sessions.get_mut(&connection)) {
                if session.presence_events == events {
                    session.take(Frame::Refresh(views));
                    break;
                }
                continue;
            }
            port.world.kernel.pause(300).await;
        }
    }
}
