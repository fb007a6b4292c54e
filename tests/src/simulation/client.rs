//! A simulated device: it connects, disconnects, resumes from its position, fetches the state after a resync, and
//! otherwise performs the actions of a user.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_core::error::Error;
use roost_core::event::PresenceView;
use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{ConversationQuery, Delivery, HistoryQuery};
use roost_core::source::Source;
use roost_core::{contacts, messaging, unread};

use super::executor::{Group, Kernel, TaskId};
use super::host;
use super::oracle::counters::MessageEvent;
use super::oracle::{delivery, presence};
use super::planted_bug::PlantedBug;
use super::port::Port;
use super::sessions::{Frame, Wire};
use super::view::{FetchedState, ShownConversation, ShownCounter, View};
use super::world::World;

/// One device. Clones refer to the same device.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) user: UserId,
    pub(crate) name: String,
    state: Arc<Mutex<DeviceState>>,
}

/// The state of a device.
#[derive(Default)]
pub(crate) struct DeviceState {
    /// The current connection.
    pub(crate) link: Option<Link>,
    /// The position in the user's feed.
    pub(crate) since: Option<Position>,
    /// The same position as an index into the events of the ground truth.
    pub(crate) feed_index: usize,
    /// What the device shows.
    pub(crate) view: View,
    /// Events since the last resync, or `None` if the device knows the state.
    pub(crate) waiting: Option<Vec<Delivery>>,
    /// The number of resyncs.
    resyncs: u64,
}

/// An open connection.
#[derive(Clone)]
pub(crate) struct Link {
    /// The index of the host.
    pub(crate) host: usize,
    /// The id of the connection.
    pub(crate) connection: ConnectionId,
    /// The time when the client asked for the connection.
    pub(crate) since_ms: u64,
    wire: Wire,
}

impl Client {
    /// A device that has never been connected.
    pub(crate) fn new(world: Arc<World>, user: UserId, number: usize) -> Self {
        let name = format!("{}/{number}", world.label(user));
        Self { world, user, name, state: Arc::default() }
    }

    /// The state of the device.
    pub(crate) fn state(&self) -> MutexGuard<'_, DeviceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.world.kernel
    }

    /// Whether the device has a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.state().link.is_some()
    }

    /// Sends a request to a host. `None`: no answer in time, or the host crashed.
    pub(crate) async fn ask<T, F>(&self, host: usize, job: impl FnOnce(Port) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let timeout_ms = self.kernel().draw(|rng| if rng.chance(100) { rng.between(1, 500) } else { 15_000 });
        let work = job(Port { world: self.world.clone(), host });
        let slot =
            AnswerSlot { answer: Arc::default(), kernel: self.kernel().clone(), waiter: self.kernel().current() };
        let answer = slot.answer.clone();
        self.kernel().spawn(Group::Host(host), async move {
            let value = work.await;
            slot.answer.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(value);
        });
        let until_ms = self.kernel().now_ms() + timeout_ms;
        loop {
            {
                let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
                if answer.0.is_some() || answer.1 || self.kernel().now_ms() >= until_ms {
                    return answer.0.take();
                }
            }
            self.kernel().pause_until(until_ms).await;
        }
    }

    /// A host for one request, mostly the one that the device is connected to.
    pub(crate) fn some_host(&self) -> Option<usize> {
        let linked = self.state().link.as_ref().map(|link| link.host);
        let up = self.world.hosts_up();
        let (prefer_linked, any) = self.kernel().draw(|rng| (rng.chance(700), rng.pick(&up)));
        linked.filter(|host| prefer_linked && up.contains(host)).or(any)
    }

    /// Connects, mostly from the last position.
    pub(crate) async fn connect(&self) {
        let up = self.world.hosts_up();
        let (host, resume) = self.kernel().draw(|rng| (rng.pick(&up), rng.chance(850)));
        let Some(host) = host else { return };
        let since_ms = self.kernel().now_ms();
        let since = self.state().since.clone().filter(|_| resume);
        if since.is_none() && self.world.has_bug(PlantedBug::StateBeforePosition) {
            self.synchronise(host).await;
        }
        let Ok(connection) = format!("c{}", self.world.name()).parse::<ConnectionId>() else { return };
        let wire = Wire::default();
        self.note(|| format!("{} connects to h{host} as {connection} from {since:?}", self.name));
        let opening = host::Opening { user: self.user, connection: connection.clone(), since, wire: wire.clone() };
        match self.ask(host, |port| host::open(port, opening)).await {
            Some(Ok(views)) => {
                self.state().link = Some(Link { host, connection, since_ms, wire });
                self.state().view.presence.clear();
                self.show(views);
            }
            // The answer was late or a refusal: frames that the host still sends are dropped.
            _ => wire.cut(),
        }
    }

    /// Disconnects, with a close frame or without one; the host notices at once or later.
    pub(crate) async fn disconnect(&self) {
        self.drain();
        let Some(link) = self.state().link.take() else { return };
        let (clean, noticed) = self.kernel().draw(|rng| (rng.chance(500), rng.chance(500)));
        self.note(|| format!("{} breaks off {}, {clean} {noticed}", self.name, link.connection));
        link.wire.cut();
        if clean || noticed {
            let (user, connection) = (self.user, link.connection);
            self.ask(link.host, move |port| async move { host::close(&port, user, &connection).await }).await;
        }
    }

    /// Handles every frame that has arrived.
    pub(crate) fn drain(&self) {
        let Some(link) = self.state().link.clone() else { return };
        while let Some(frame) = link.wire.take() {
            self.take(frame);
        }
        if link.wire.is_cut() {
            self.note(|| format!("{} lost its connection {}", self.name, link.connection));
            self.state().link = None;
        }
    }

    fn take(&self, frame: Frame) {
        match frame {
            Frame::Event(event) if event.position.is_some() => self.take_durable(event),
            Frame::Event(event) if event.name.starts_with("user.") => self.take_ephemeral(&event),
            Frame::Event(event) => self.take_unkept(event),
            Frame::Resync(position, feed_index) => {
                self.note(|| format!("{} resynchronises at {position}", self.name));
                let knows = self.world.has_bug(PlantedBug::StateBeforePosition);
                let mut state = self.state();
                state.since = Some(position);
                state.feed_index = feed_index;
                state.resyncs += 1;
                state.view.newest.clear();
                state.waiting = (!knows).then(Vec::new);
            }
            Frame::Refresh(views) => {
                self.replace_presence(views);
                let mut state = self.state();
                state.resyncs += 1;
                state.waiting.get_or_insert_default();
            }
        }
    }

    fn take_durable(&self, event: Delivery) {
        let mut state = self.state();
        let state = &mut *state;
        delivery::received(&self.world, self.user, &self.name, &mut state.feed_index, &event);
        state.since.clone_from(&event.position);
        if event.name.as_ref() == "message.new"
            && let Some(payload) = MessageEvent::read(&event.payload)
        {
            delivery::new_message(&self.world, self.user, &self.name, &mut state.view, &payload);
        }
        state.view.apply(self.user, &event);
        if let Some(waiting) = &mut state.waiting {
            waiting.push(event);
        }
    }

    /// An event that no feed keeps, because the store has lost that the user is followed, says what it says
    /// nevertheless.
    fn take_unkept(&self, event: Delivery) {
        let mut state = self.state();
        if event.name.as_ref() == "message.new"
            && let Some(payload) = MessageEvent::read(&event.payload)
        {
            state.view.newest.insert(payload.conversation, payload.seq);
        }
        state.view.apply(self.user, &event);
        if let Some(waiting) = &mut state.waiting {
            waiting.push(event);
        }
    }

    fn take_ephemeral(&self, event: &Delivery) {
        #[derive(serde::Deserialize)]
        struct PresenceEvent {
            user: UserId,
            generation: u64,
        }
        let online = event.name.as_ref() == "user.online";
        if let (true, Ok(payload)) =
            (event.name.starts_with("user."), serde_json::from_str::<PresenceEvent>(&event.payload))
        {
            let mut state = self.state();
            let known = state.view.presence.entry(payload.user).or_default();
            if payload.generation > known.1 {
                *known = (online, payload.generation);
            }
        }
    }

    /// Applies the presence of all users whom this one may see. The others are hidden.
    fn replace_presence(&self, views: Vec<PresenceView>) {
        for (user, known) in &mut self.state().view.presence {
            if !views.iter().any(|view| view.user == *user) {
                known.0 = false;
            }
        }
        self.show(views);
    }

    /// Applies a presence snapshot, which may be older than events received meanwhile.
    fn show(&self, views: Vec<PresenceView>) {
        let mut state = self.state();
        for view in views {
            let known = state.view.presence.entry(view.user).or_default();
            if view.generation >= known.1 || view.generation == 0 {
                *known = (view.online, view.generation);
            }
        }
    }

    /// Fetches the state if a resync requires it. The state replaces the view, and the events since then are applied on
    /// top.
    pub(crate) async fn catch_up(&self) {
        self.drain();
        let host = {
            let state = self.state();
            state.link.as_ref().filter(|_| state.waiting.is_some()).map(|link| link.host)
        };
        if let Some(host) = host {
            self.synchronise(host).await;
        }
    }

    async fn synchronise(&self, host: usize) {
        let before = self.state().resyncs;
        let user = self.user;
        let Some(Ok(fetched)) = self.ask(host, move |port| fetch(port, user)).await else { return };
        self.drain();
        let mut state = self.state();
        let state = &mut *state;
        // Another resync arrived meanwhile, so the answer can be too old.
        if state.resyncs != before {
            return;
        }
        let is_provisional = fetched.is_provisional;
        state.view.replace(fetched);
        for event in state.waiting.iter().flatten() {
            state.view.apply(self.user, event);
        }
        if !is_provisional {
            state.waiting = None;
        }
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.kernel().note("client", [self.user.as_u128() as u64, 0], text);
    }

    /// Queries the presence of all users and lets the oracle check the answer.
    pub(crate) async fn query_presence(&self, host: usize) {
        let (asked_ms, online_until) = (self.kernel().now_ms(), presence::online_until(&self.world));
        let (user, everybody) = (self.user, self.world.users.clone());
        let answer = self.ask(host, move |port| async move {
            let viewer = roost_core::presence::Viewer::User(user);
            let views = roost_core::presence::query(&port, viewer, &everybody).await;
            if let Ok(views) = &views {
                presence::answered(&port.world, user, asked_ms, &online_until, views);
            }
            views
        });
        answer.await;
    }
}

/// Fetches what a client shows: the counters as `sync` names them, the conversations, every message that the user may
/// see, the contacts and the blocks.
async fn fetch(port: Port, user: UserId) -> Result<FetchedState, Error> {
    let mut fetched = FetchedState::default();
    let overview = unread::overview(&port, user).await?;
    fetched.is_provisional = overview.source == Source::Records;
    let overview = overview.value;
    for (id, unread) in overview.totals.conversations.into_iter().filter(|(_, unread)| *unread > 0) {
        let seq = overview.seqs.get(&id).copied();
        let read = overview.reads.get(&id).copied().unwrap_or_default();
        fetched.counters.insert(id, ShownCounter { unread, read, seq });
    }
    fetched.contacts = contacts::list(&port, user).await?.into_iter().collect();
    fetched.blocked = contacts::blocked(&port, user).await?.into_iter().collect();
    let page = ConversationQuery::Page { cursor: None, limit: 100 };
    let inbox = messaging::inbox(&port, user, page).await?;
    fetched.is_provisional |= inbox.source == Source::Records;
    for entry in inbox.value.conversations {
        let new = ShownCounter { read: entry.read, ..ShownCounter::default() };
        let counter = fetched.counters.entry(entry.id).or_insert(new);
        counter.read = entry.read.max(counter.read);
        let members = entry.members.into_iter().collect();
        let shown = ShownConversation { members, member_count: entry.member_count, reads: entry.reads };
        fetched.conversations.insert(entry.id, shown);
        let mut before = None;
        loop {
            let query = HistoryQuery { user, conversation: entry.id, before, limit: 100 };
            let history = match messaging::history(&port, query).await {
                // The user was removed from the conversation meanwhile.
                Err(error) if !error.retry() => break,
                history => history?,
            };
            let page = history.messages.into_iter();
            fetched.messages.extend(page.map(|message| ((entry.id, message.seq), (message.id, message.content))));
            before = history.next_before;
            if before.is_none() {
                break;
            }
        }
    }
    Ok(fetched)
}

/// The slot for an answer. Dropping it, with or without an answer, wakes the waiting task.
struct AnswerSlot<T> {
    answer: Arc<Mutex<(Option<T>, bool)>>,
    kernel: Kernel,
    waiter: TaskId,
}

impl<T> Drop for AnswerSlot<T> {
    fn drop(&mut self) {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.kernel.wake(self.waiter);
    }
}
