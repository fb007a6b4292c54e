//! The model of a host's delivery: sessions, each with the position it was served up to, and one pump that serves
//! them in the order of the bus. It follows `roost_core::feed` and knows no socket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::event::PresenceView;
use roost_core::feed::{Admission, Position, admit};
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Delivery, Replay};
use roost_core::presence;

use super::executor::TaskId;
use super::mistake::Mistake;
use super::port::Port;
use super::world::World;

/// One host's memory. A crash leaves nothing of it but the clock's error.
#[derive(Default)]
pub(crate) struct Host {
    /// It serves.
    pub(crate) up: bool,
    /// How far its clock is off the store's.
    pub(crate) skew_ms: i64,
    /// Users that it hears of.
    pub(crate) joined: BTreeSet<UserId>,
    /// Its connections.
    pub(crate) sessions: BTreeMap<ConnectionId, Session>,
    /// How often the bus was cut off.
    pub(crate) interruptions: u64,
    inbox: VecDeque<Mail>,
    pump: Option<TaskId>,
}

/// One connection as its host sees it.
pub(crate) struct Session {
    pub(crate) user: UserId,
    /// Served up to here.
    pub(crate) position: Position,
    pub(crate) wire: Wire,
}

/// What the pump works on.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// The bus brings something.
    Delivery(UserId, Delivery),
    /// The bus was cut off: anything may have been missed.
    Interrupted,
    /// Time to compare positions.
    Check,
}

/// What a client is sent.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// A durable or an ephemeral event.
    Event(Delivery),
    /// Something was missed: ask for the state. The feed stands here, which is this place in the ledger.
    Resync(Position, usize),
    /// The present presence of contacts.
    Presence(Vec<PresenceView>),
}

/// The way from a host to one client. What the client has not taken is lost when it breaks.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    frames: VecDeque<Frame>,
    cut: bool,
}

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends, unless it is cut.
    pub(crate) fn send(&self, frame: Frame) {
        let mut line = self.lock();
        if !line.cut {
            line.frames.push_back(frame);
        }
    }

    /// The next frame.
    pub(crate) fn take(&self) -> Option<Frame> {
        self.lock().frames.pop_front()
    }

    /// Breaks it; what is under way is lost.
    pub(crate) fn cut(&self) {
        let mut line = self.lock();
        line.cut = true;
        line.frames.clear();
    }

    /// It is broken.
    pub(crate) fn is_cut(&self) -> bool {
        self.lock().cut
    }
}

impl World {
    /// Puts something into a host's inbox and wakes its pump.
    pub(crate) fn post(&self, index: usize, mail: Mail) {
        let mut host = self.host(index);
        if matches!(mail, Mail::Interrupted) {
            // Covered by the comparison that follows, and of an older life of the feed perhaps.
            host.inbox.clear();
            host.interruptions += 1;
        }
        host.inbox.push_back(mail);
        if let Some(pump) = host.pump {
            self.kernel.wake(pump);
        }
    }

    /// Forgets everything that a crash takes along; every client's wire breaks.
    pub(crate) fn host_died(&self, index: usize) {
        let mut host = self.host(index);
        for session in host.sessions.values() {
            session.wire.cut();
        }
        *host = Host { skew_ms: host.skew_ms, ..Host::default() };
    }

    /// Ends one session; its user is left when it was the last one here.
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

/// Works on a host's inbox for as long as the host lives.
pub(crate) async fn pump(port: Port) {
    let (world, index) = (port.world.clone(), port.host);
    world.host(index).pump = Some(world.kernel.current());
    loop {
        let mail = world.host(index).inbox.pop_front();
        match mail {
            None => world.kernel.pause_until(u64::MAX).await,
            Some(Mail::Delivery(user, delivery)) => serve(&port, user, &delivery).await,
            Some(Mail::Check) => check(&port).await,
            Some(Mail::Interrupted) => {
                check(&port).await;
                show_presence(&port).await;
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

/// False: something is missing before it.
fn hand_over(port: &Port, connection: &ConnectionId, delivery: &Delivery) -> bool {
    let mut host = port.world.host(port.host);
    let Some(session) = host.sessions.get_mut(connection) else { return true };
    let Some(position) = &delivery.position else {
        session.wire.send(Frame::Event(delivery.clone()));
        return true;
    };
    match admit(&session.position, position) {
        Admission::Duplicate => true,
        Admission::Gap if !port.world.makes(Mistake::DeliverPastAHole) => false,
        Admission::Next | Admission::Gap => {
            session.position = position.clone();
            session.wire.send(Frame::Event(delivery.clone()));
            true
        }
    }
}

/// Compares every session with its feed.
async fn check(port: &Port) {
    for connection in connections(port, None) {
        catch_up(port, &connection).await;
    }
}

/// Fills a session's hole, or tells its client to resynchronise. Nothing newer is sent before.
async fn catch_up(port: &Port, connection: &ConnectionId) {
    loop {
        let place = port.world.host(port.host).sessions.get(connection).map(|s| (s.user, s.position.clone()));
        let Some((user, position)) = place else { return };
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
    /// Sends and moves on.
    pub(crate) fn take(&mut self, frame: Frame) {
        match &frame {
            Frame::Event(Delivery { position: Some(position), .. }) | Frame::Resync(position, _) => {
                self.position = position.clone();
            }
            Frame::Event(_) | Frame::Presence(_) => {}
        }
        self.wire.send(frame);
    }
}

/// What somebody who was served up to this position has to be sent.
pub(crate) async fn fill(
    port: &Port,
    user: UserId,
    since: &Position,
) -> Result<Vec<Frame>, roost_core::port::StoreError> {
    match port.replay(user, since).await? {
        Replay::Events(events) => Ok(events.into_iter().map(Frame::Event).collect()),
        Replay::Gap if port.world.makes(Mistake::ReplayInPart) => {
            let start = Position::without_feed(port.world.now());
            let Replay::Events(events) = port.replay(user, &start).await? else { return Ok(Vec::new()) };
            Ok(events.into_iter().map(Frame::Event).collect())
        }
        Replay::Gap => {
            let (position, place) = port.positions(user).await?;
            Ok(vec![Frame::Resync(position, place)])
        }
    }
}

/// Presence events are ephemeral: whoever may have missed some gets the present state.
async fn show_presence(port: &Port) {
    for connection in connections(port, None) {
        loop {
            let user = port.world.host(port.host).sessions.get(&connection).map(|session| session.user);
            let Some(user) = user else { break };
            let views = presence::of_contacts(port, user).await;
            if let (Ok(views), Some(session)) = (views, port.world.host(port.host).sessions.get_mut(&connection)) {
                session.take(Frame::Presence(views));
                break;
            }
            port.world.kernel.pause(300).await;
        }
    }
}
