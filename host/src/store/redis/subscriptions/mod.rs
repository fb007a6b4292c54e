//! Live events over channels of Redis: which users this host is subscribed to, and who receives their events.
//!
//! There is one subscription connection to each server, for all users whose channels are there. On a Cluster a user's
//! channel is at the server that leads the user's slot, and moves with the slot.

mod connection;
mod desired;
mod listeners;
pub(super) mod message;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{StoreError, Subscriber};
use tokio::time::{sleep, timeout};

use self::connection::SubscriptionConnection;
use self::desired::SubscribeError;
use self::listeners::Listeners;
use super::connections::topology::Topology;
use super::connections::{Address, ConnectionFactory};
use super::errors;
use super::names::RedisNames;

/// The wait before the leader of a slot that moved is looked for again.
const MOVED_PAUSE: Duration = Duration::from_millis(30);

/// What every subscription connection needs.
#[derive(Clone)]
struct SubscriptionContext {
    factory: Arc<ConnectionFactory>,
    names: RedisNames,
    topology: Arc<Topology>,
    listeners: Arc<Listeners>,
}

/// The subscriptions of this host.
pub(super) struct Subscriptions {
    context: SubscriptionContext,
    connections: Mutex<HashMap<Address, Arc<SubscriptionConnection>>>,
    /// A subscription that is not confirmed within this time has failed.
    confirm_timeout: Duration,
}

impl Subscriptions {
    pub(super) fn new(factory: Arc<ConnectionFactory>, names: RedisNames, topology: Arc<Topology>) -> Self {
        let confirm_timeout = factory.config().connect_timeout + factory.config().response_timeout;
        let context = SubscriptionContext { factory, names, topology, listeners: Arc::new(Listeners::new()) };
        Self { context, connections: Mutex::default(), confirm_timeout }
    }

    /// Subscribes to a user's events; returns when the server has confirmed it.
    pub(super) async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        if self.context.listeners.add(user, subscriber) {
            return Ok(());
        }
        // A server that is known not to answer is not waited for.
        if self.connection(user).is_some_and(|connection| connection.is_down()) {
            self.context.listeners.remove(user);
            return Err(errors::unavailable());
        }
        let joined = timeout(self.confirm_timeout, self.subscribe(user)).await;
        if matches!(joined, Ok(Ok(()))) {
            return Ok(());
        }
        self.leave(user);
        Err(errors::unavailable())
    }

    /// Ends the subscription to a user's events.
    pub(super) fn leave(&self, user: UserId) {
        if self.context.listeners.remove(user) {
            let connections: Vec<Arc<SubscriptionConnection>> = self.connections().values().cloned().collect();
            connections.iter().for_each(|connection| connection.unsubscribe(user));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.context.listeners.len()
    }

    /// A server at which users should be subscribed and which cannot be reached; `None` if there is none.
    pub(super) fn problem(&self) -> Option<String> {
        let connections = self.connections();
        let down = connections.values().find(|connection| connection.is_down())?;
        Some(format!("{}: no connection for subscriptions", down.address))
    }

    /// Moves subscriptions to the servers that lead their slots, until the future is dropped.
    pub(super) async fn follow_topology(&self) {
        let mut changes = self.context.topology.changes();
        loop {
            self.move_subscriptions().await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn move_subscriptions(&self) {
        let mut moved = self.context.listeners.subscribed();
        moved.retain(|(user, server)| self.leader(*user).as_ref() != Some(server));
        if moved.is_empty() {
            return;
        }
        tracing::info!(users = moved.len(), "subscriptions move to the servers that lead their slots now");
        // Before anything arrives from the new servers.
        let users: Vec<UserId> = moved.iter().map(|(user, _)| *user).collect();
        self.context.listeners.notify_suspended(&users);
        let moving: FuturesUnordered<_> = moved.iter().map(|(user, old)| self.move_subscription(*user, old)).collect();
        let mut done = moving.ready_chunks(users.len());
        while let Some(users) = done.next().await {
            self.context.listeners.notify_interrupted(&users);
        }
    }

    /// Returns the user, whether or not the subscription has moved.
    async fn move_subscription(&self, user: UserId, old: &Address) -> UserId {
        // A user who could not be subscribed elsewhere stays subscribed here until the topology changes again.
        if !matches!(timeout(self.confirm_timeout, self.subscribe(user)).await, Ok(Ok(()))) {
            self.context.topology.request_refresh();
            return user;
        }
        let connection = self.connections().get(old).cloned();
        if let Some(connection) = connection
            && self.leader(user).as_ref() != Some(old)
        {
            connection.unsubscribe(user);
        }
        user
    }

    /// Subscribes a user at the server that leads the user's slot, whichever that is by then.
    async fn subscribe(&self, user: UserId) -> Result<(), SubscribeError> {
        loop {
            let mut changes = self.context.topology.changes();
            let Some(connection) = self.connection(user) else {
                self.context.topology.request_refresh();
                sleep(MOVED_PAUSE).await;
                continue;
            };
            let confirmed = tokio::select! {
                confirmed = connection.subscribe(user) => confirmed,
                // The slot's leader may now be another server than the one that does not answer.
                _ = changes.changed() => Err(SubscribeError::Moved),
            };
            match confirmed {
                Ok(()) if self.context.listeners.confirm(user, &connection.address) => return Ok(()),
                Ok(()) => {
                    connection.unsubscribe(user);
                    return Ok(());
                }
                Err(SubscribeError::Refused) => return Err(SubscribeError::Refused),
                Err(SubscribeError::Moved) => {
                    if self.leader(user).as_ref() != Some(&connection.address) {
                        connection.unsubscribe(user);
                    }
                    self.context.topology.request_refresh();
                    sleep(MOVED_PAUSE).await;
                }
            }
            if !self.context.listeners.contains(user) {
                return Ok(());
            }
        }
    }

    /// The server that leads the user's slot.
    fn leader(&self, user: UserId) -> Option<Address> {
        let slot = self.context.names.slot(Owner::User(user));
        self.context.topology.leader(slot).map(|node| node.address.clone())
    }

    /// The subscription connection to that server, which is opened if it is the first user's there.
    fn connection(&self, user: UserId) -> Option<Arc<SubscriptionConnection>> {
        let address = self.leader(user)?;
        let start = || SubscriptionConnection::start(self.context.clone(), address.clone());
        Some(self.connections().entry(address.clone()).or_insert_with(start).clone())
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Address, Arc<SubscriptionConnection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
