//! Who is connected to this host, and what they are told: in order, each event once, or a `resync`.
//!
//! The hub knows no socket and no function. A connection takes a seat, joins, drains its outbox and drops its seat.

use std::sync::Arc;
use std::time::Duration;

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Bus, Feeds, StoreError, Subscriber};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::gap_repair::Repair;
use super::outbox::{Outbox, OutboxBounds};
use super::registry::{ConnectionRegistry, Limits};
use super::user::{Connection, User};
use crate::config::SocketConfig;
use crate::runtime;
use crate::server::problem::{ApiError, Code};

/// When a host that is full, or stopping, may be asked again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The host is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Connections close over so long.
    pub spread: Duration,
}

/// What a connection holds to learn of a stop; the stop waits until all of them are dropped.
pub type DrainWatch = watch::Receiver<Option<Draining>>;

/// Delivery to the connections of this host.
#[derive(Debug)]
pub struct Hub<S> {
    store: Arc<S>,
    board: Arc<ConnectionRegistry>,
    bounds: OutboxBounds,
    drain: watch::Sender<Option<Draining>>,
    repair: AbortHandle,
}

impl<S: Bus + Feeds + 'static> Hub<S> {
    /// A hub over this store. Spawns the task that fills holes and compares positions every beat interval.
    pub fn start(store: Arc<S>, config: &SocketConfig) -> Arc<Self> {
        let (asked, work) = mpsc::unbounded_channel();
        let limits = Limits { connections: config.connections_max, per_user: config.connections_per_user_max };
        let board = Arc::new(ConnectionRegistry::new(limits, asked));
        let repair = Repair::new(store.clone(), board.clone());
        let task = tokio::spawn(repair.run(work, config.beat_interval));
        Arc::new(Self {
            store,
            board,
            bounds: OutboxBounds { frames: config.outbox_frames_max, bytes: config.outbox_bytes_max },
            drain: watch::Sender::new(None),
            repair: task.abort_handle(),
        })
    }

    /// Takes a seat for a connection of this user, if the bounds allow one and the host is not stopping.
    pub fn seat(self: &Arc<Self>, user: UserId) -> Result<Registration<S>, ApiError> {
        let drain = self.drain.subscribe();
        if drain.borrow().is_some() {
            return Err(ApiError::from(Code::Draining).after(RETRY_AFTER));
        }
        Ok(Registration { user: self.board.sit(user)?, hub: self.clone(), drain, connection: None })
    }

    /// The store under the hub.
    pub const fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// Connections, and those about to be one.
    pub fn connections(&self) -> usize {
        self.board.connections()
    }

    /// Everybody who gave a sign of life since this was asked last.
    pub fn take_alive(&self) -> Vec<runtime::Connection> {
        let connections = self.board.users().into_iter().flat_map(|user| user.connections());
        let alive = connections.filter(|connection| connection.take_alive());
        alive.map(|connection| runtime::Connection { user: connection.user, id: connection.id.clone() }).collect()
    }

    /// Takes these up again for the next beat: the last one did not reach anybody.
    pub fn give_back_alive(&self, beaten: &[runtime::Connection]) {
        let lost: std::collections::HashSet<&ConnectionId> = beaten.iter().map(|connection| &connection.id).collect();
        for connection in self.board.users().into_iter().flat_map(|user| user.connections()) {
            if lost.contains(&connection.id) {
                connection.alive();
            }
        }
    }

    /// Refuses new connections and asks those there are to close, spread over this time.
    pub fn drain(&self, spread: Duration) {
        self.drain.send_replace(Some(Draining { spread }));
    }

    /// Returns when every connection is gone, with all that it set going.
    pub async fn drained(&self) {
        self.drain.closed().await;
    }

    /// To be held by whatever a stop must wait for.
    pub fn drain_watch(&self) -> DrainWatch {
        self.drain.subscribe()
    }
}

impl<S> Drop for Hub<S> {
    fn drop(&mut self) {
        self.repair.abort();
    }
}

/// A connection's place. Dropping it ends the connection, as far as the hub is concerned.
#[derive(Debug)]
pub struct Registration<S> {
    user: Arc<User>,
    hub: Arc<Hub<S>>,
    drain: DrainWatch,
    connection: Option<Arc<Connection>>,
}

impl<S: Bus + Feeds + 'static> Registration<S> {
    /// Follows the user's events. They begin after the position answered, and wait in the connection's outbox.
    pub async fn join(&mut self, id: ConnectionId) -> Result<(Arc<Connection>, Position), StoreError> {
        let mut joined = self.user.membership.lock().await;
        if !*joined {
            self.user.prepare();
            let subscriber: Arc<dyn Subscriber> = self.hub.board.clone();
            self.hub.store.join(self.user.id, subscriber).await?;
            let positions = self.hub.store.positions(&[self.user.id]).await?;
            let position = positions.into_iter().next().ok_or_else(unavailable)?;
            *joined = true;
            if self.user.start(position) {
                self.hub.board.ask(super::registry::Work::Repair(self.user.clone()));
            }
        }
        let connection = Arc::new(Connection::new(self.user.id, id, Outbox::new(self.hub.bounds)));
        let position = self.user.attach(connection.clone()).ok_or_else(unavailable)?;
        drop(joined);
        self.connection = Some(connection.clone());
        Ok((connection, position))
    }
}

impl<S> Registration<S> {
    /// Whose seat it is.
    pub fn user(&self) -> UserId {
        self.user.id
    }

    /// Everything up to here was put into the outbox.
    pub fn cursor(&self) -> Option<Position> {
        self.user.cursor()
    }

    /// The hub it is a seat of.
    pub const fn hub(&self) -> &Arc<Hub<S>> {
        &self.hub
    }

    /// Returns when the host begins to stop.
    pub async fn draining(&mut self) -> Draining {
        match self.drain.wait_for(Option::is_some).await {
            Ok(draining) => draining.unwrap_or(Draining { spread: Duration::ZERO }),
            // The hub is gone, and with it everything that could be delivered.
            Err(_) => Draining { spread: Duration::ZERO },
        }
    }

    /// To be held by what outlives the connection.
    pub fn drain_watch(&self) -> DrainWatch {
        self.drain.clone()
    }
}

impl<S> Drop for Registration<S> {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            self.user.detach(&connection.id);
        }
        self.hub.board.stand_up(&self.user);
    }
}

const fn unavailable() -> StoreError {
    StoreError::Unavailable { retry_after_ms: 1_000 }
}
