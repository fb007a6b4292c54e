//! The hub: the connections to this host and the events they receive, in order and each once, or else a `resync`.
//!
//! The hub knows no socket and no function. A connection is registered, joins, drains its outbox, and is unregistered
//! when its [`Registration`] is dropped.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Bus, Feeds, PubSub, Publication, StoreError, Subscriber};
use tokio::sync::{Mutex, mpsc, watch};

use super::disconnect::DisconnectReason;
use super::gap_repair::GapRepair;
use super::outbox::{Outbox, OutboxBounds};
use super::registry::{ConnectionLimits, ConnectionRegistry, RepairRequest};
use super::user_feed::{Connection, UserFeed};
use crate::config::SocketConfig;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::runtime;
use crate::server::problem::{ApiError, ErrorCode};

/// How long a client should wait before it connects again to a host that is full or stopping.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a client should wait whose user has too many connections: until a device was closed, or was found gone.
pub(super) const RETRY_AFTER_OF_USER: Duration = Duration::from_secs(10);

/// The host is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drain {
    /// The connections close at random times within this span.
    pub(crate) spread: Duration,
}

/// Tells its holder when the host begins to stop. The stop waits until every holder has dropped it.
pub(crate) type DrainWatch = watch::Receiver<Option<Drain>>;

/// Delivers events to the connections of this host.
#[derive(Debug)]
pub(crate) struct Hub<S> {
    store: Arc<S>,
    registry: Arc<ConnectionRegistry>,
    bounds: OutboxBounds,
    drain: watch::Sender<Option<Drain>>,
    /// Ends with the hub.
    _tasks: Supervisor,
}

impl<S: Bus + Feeds + 'static> Hub<S> {
    /// A hub on this store. Spawns the task that fills gaps and compares positions every heartbeat interval.
    pub(crate) fn start(store: Arc<S>, config: &SocketConfig, health: TaskHealth) -> Arc<Self> {
        let (sender, requests) = mpsc::unbounded_channel();
        let limits = ConnectionLimits { total: config.connections_max, per_user: config.connections_per_user_max };
        let registry = Arc::new(ConnectionRegistry::new(limits, sender));
        let repair = GapRepair::new(store.clone(), registry.clone());
        let (requests, interval) = (Arc::new(Mutex::new(requests)), config.beat_interval);
        let mut tasks = Supervisor::new(health);
        tasks.spawn("gap_repair", move || repair.clone().run(requests.clone(), interval));
        Arc::new(Self {
            store,
            registry,
            bounds: OutboxBounds { frames: config.outbox_frames_max, bytes: config.outbox_bytes_max },
            drain: watch::Sender::new(None),
            _tasks: tasks,
        })
    }

    /// Registers a connection of this user, if the limits allow one and the host is not stopping.
    pub(crate) fn register(self: &Arc<Self>, user: UserId) -> Result<Registration<S>, ApiError> {
        let drain = self.drain_watch()?;
        let feed = self.registry.register(user)?;
        let disconnects = feed.disconnects();
        Ok(Registration { feed, hub: self.clone(), drain, disconnects, connection: None })
    }

    /// Takes a place among the connections for a client whose user is not known yet.
    pub(crate) fn reserve(&self) -> Result<ReservedPlace, ApiError> {
        let drain = self.drain_watch()?;
        self.registry.take_place()?;
        Ok(ReservedPlace { registry: self.registry.clone(), drain })
    }

    fn drain_watch(&self) -> Result<DrainWatch, ApiError> {
        let drain = self.drain.subscribe();
        if drain.borrow().is_some() {
            return Err(ApiError::from(ErrorCode::Draining).after(RETRY_AFTER));
        }
        Ok(drain)
    }

    pub(crate) const fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// The number of connections, including those that are about to open.
    pub(crate) fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// The connections that gave a sign of life since the last call.
    pub(crate) fn take_alive(&self) -> Vec<runtime::Connection> {
        let connections = self.registry.feeds().into_iter().flat_map(|feed| feed.connections());
        let alive = connections.filter(|connection| connection.take_alive());
        alive.map(|connection| runtime::Connection { user: connection.user, id: connection.id.clone() }).collect()
    }

    /// Those of these connections that are still open.
    pub(crate) fn retain_open(&self, connections: &mut Vec<runtime::Connection>) {
        let open = |connection: &runtime::Connection| {
            let feed = self.registry.feed(connection.user);
            feed.is_some_and(|feed| feed.connections().iter().any(|open| open.id == connection.id))
        };
        connections.retain(open);
    }

    /// Marks these connections alive again, because a heartbeat failed; the next heartbeat names them.
    pub(crate) fn restore_alive(&self, connections: &[runtime::Connection]) {
        let failed: HashSet<&ConnectionId> = connections.iter().map(|connection| &connection.id).collect();
        for connection in self.registry.feeds().into_iter().flat_map(|feed| feed.connections()) {
            if failed.contains(&connection.id) {
                connection.mark_alive();
            }
        }
    }

    /// Refuses new connections, and asks the existing ones to close within this time.
    pub(crate) fn drain(&self, spread: Duration) {
        self.drain.send_replace(Some(Drain { spread }));
    }

    /// Returns when every connection is closed and every task that it started has ended.
    pub(crate) async fn drained(&self) {
        self.drain.closed().await;
    }
}

impl<S: Bus + Feeds + PubSub + 'static> Hub<S> {
    /// Has every host close the connections of this user. A host whose bus is interrupted at this time does not hear of
    /// it.
    pub(crate) async fn disconnect(&self, user: UserId, reason: &DisconnectReason) -> Result<(), StoreError> {
        self.store.publish(vec![Publication { user, event: reason.event() }]).await
    }
}

/// A place among the connections of this host. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct ReservedPlace {
    registry: Arc<ConnectionRegistry>,
    drain: DrainWatch,
}

impl ReservedPlace {
    /// Returns when the host begins to stop.
    pub(crate) async fn draining(&mut self) {
        // Without a hub there is nothing to wait for.
        let _ = self.drain.wait_for(Option::is_some).await;
    }
}

impl Drop for ReservedPlace {
    fn drop(&mut self) {
        self.registry.give_place_back();
    }
}

/// One registered connection. Dropping it unregisters the connection.
#[derive(Debug)]
pub(crate) struct Registration<S> {
    feed: Arc<UserFeed>,
    hub: Arc<Hub<S>>,
    drain: DrainWatch,
    /// How often the connections of the user had been closed when this one was registered.
    disconnects: u64,
    connection: Option<Arc<Connection>>,
}

impl<S: Bus + Feeds + 'static> Registration<S> {
    /// Follows the user's events. They come after the returned position, and wait in the connection's outbox.
    pub(crate) async fn join(&mut self, id: ConnectionId) -> Result<(Arc<Connection>, Position), StoreError> {
        let mut joined = self.feed.bus_joined.lock().await;
        if !*joined {
            self.feed.prepare_join();
            let subscriber: Arc<dyn Subscriber> = self.hub.registry.clone();
            self.hub.store.join(self.feed.user, subscriber).await?;
            // From now on the user's events are kept, so that the client can resume from the position.
            let positions = self.hub.store.follow(&[self.feed.user]).await?;
            let position = positions.into_iter().next().ok_or_else(unavailable)?;
            *joined = true;
            if self.feed.start(position) {
                self.hub.registry.request(RepairRequest::FillGap(self.feed.clone()));
            }
        }
        let connection = Arc::new(Connection::new(self.feed.user, id, Outbox::new(self.hub.bounds)));
        let position = self.feed.attach(connection.clone(), self.disconnects).ok_or_else(unavailable)?;
        drop(joined);
        self.connection = Some(connection.clone());
        Ok((connection, position))
    }
}

impl<S> Registration<S> {
    /// Returns when the host begins to stop.
    pub(crate) async fn draining(&mut self) -> Drain {
        match self.drain.wait_for(Option::is_some).await {
            Ok(draining) => draining.unwrap_or(Drain { spread: Duration::ZERO }),
            // The hub is gone, and with it everything that could be delivered.
            Err(_) => Drain { spread: Duration::ZERO },
        }
    }

    /// For tasks that outlive the connection: the stop of the host waits for them.
    pub(crate) fn drain_watch(&self) -> DrainWatch {
        self.drain.clone()
    }
}

impl<S> Drop for Registration<S> {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            self.feed.detach(&connection.id);
        }
        self.hub.registry.unregister(&self.feed);
    }
}

const fn unavailable() -> StoreError {
    StoreError::Unavailable { retry_after_ms: 1_000 }
}
