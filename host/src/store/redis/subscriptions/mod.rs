//! Live events over Redis channels: joins, leaves and whoever listens. Each server has one connection for all its users.
//!
//! On a Cluster a user's channel is at the server that leads the user's slot, and moves with it.

mod connection;
mod desired;
mod listeners;
mod message;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roost_core::ids::UserId;
use roost_core::key::Owner;
use roost_core::port::{StoreError, Subscriber};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::connection::{Line, SharedSeats, confirmed};
use self::listeners::Seats;
use self::desired::Refusal;
use super::connections::{Address, Dial};
use super::errors;
use super::names::Names;
use super::connections::topology::Topology;

/// Until a channel that moved is looked for again.
const MOVED_PAUSE: Duration = Duration::from_millis(30);

/// What every line needs.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) dial: Arc<Dial>,
    pub(super) names: Names,
    pub(super) topology: Arc<Topology>,
    seats: SharedSeats,
}

/// The subscriptions of this host.
pub(super) struct Channels {
    context: Context,
    lines: Mutex<HashMap<Address, Arc<Line>>>,
    /// A join that is not confirmed by then failed.
    patience: Duration,
}

impl Channels {
    pub(super) fn new(dial: Arc<Dial>, names: Names, topology: Arc<Topology>) -> Self {
        let config = dial.config();
        let patience = config.connect_timeout + config.response_timeout;
        let context = Context { dial, names, topology, seats: Arc::new(Seats::new()) };
        Self { context, lines: Mutex::default(), patience }
    }

    /// Listens to a user's events; returns when the server has confirmed it.
    pub(super) async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        if self.context.seats.sit(user, subscriber) {
            return Ok(());
        }
        // A server that is known not to answer is not waited for.
        if self.line(user).is_some_and(|line| line.is_down()) {
            self.context.seats.stand_up(user);
            return Err(errors::unavailable());
        }
        let joined = timeout(self.patience, self.subscribe(user)).await;
        if matches!(joined, Ok(Ok(()))) {
            return Ok(());
        }
        self.leave(user);
        Err(errors::unavailable())
    }

    /// Listens no longer.
    pub(super) fn leave(&self, user: UserId) {
        if self.context.seats.stand_up(user) {
            let lines: Vec<Arc<Line>> = self.lines().values().cloned().collect();
            lines.iter().for_each(|line| line.leave(user));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.context.seats.len()
    }

    /// A server that holds subscriptions and cannot be reached.
    pub(super) fn fault(&self) -> Option<String> {
        let lines = self.lines();
        let down = lines.values().find(|line| line.is_down())?;
        Some(format!("{}: no subscriptions", down.address))
    }

    /// Moves subscriptions to whoever leads their slots now, until it is dropped.
    pub(super) async fn follow(&self) {
        let mut changes = self.context.topology.changes();
        while changes.changed().await.is_ok() {
            self.move_all().await;
        }
    }

    async fn move_all(&self) {
        let moved: Vec<(UserId, Address)> = self
            .context
            .seats
            .lines()
            .into_iter()
            .filter(|(user, line)| self.leader(*user).as_ref() != Some(line))
            .collect();
        if moved.is_empty() {
            return;
        }
        tracing::info!(users = moved.len(), "subscriptions follow their slots to other servers");
        let moves = moved.iter().map(|(user, old)| async move {
            let subscribed = timeout(self.patience, self.subscribe(*user)).await;
            // Those that are not subscribed anywhere stay where they were, and are moved by the next change.
            if !matches!(subscribed, Ok(Ok(()))) {
                self.context.topology.doubt();
                return;
            }
            let line = self.lines().get(old).cloned();
            if let Some(line) = line
                && self.leader(*user).as_ref() != Some(old)
            {
                line.leave(*user);
            }
        });
        futures_util::future::join_all(moves).await;
        self.context.seats.interrupted();
    }

    async fn subscribe(&self, user: UserId) -> Result<(), Refusal> {
        loop {
            let Some(line) = self.line(user) else {
                self.context.topology.doubt();
                sleep(MOVED_PAUSE).await;
                continue;
            };
            let (told, heard) = oneshot::channel();
            line.join(user, told);
            let mut changes = self.context.topology.changes();
            let confirmed = tokio::select! {
                confirmed = confirmed(heard) => confirmed,
                // Whoever leads the slot now may be another server than the one that does not answer.
                _ = changes.changed() => Err(Refusal::Moved),
            };
            match confirmed {
                Ok(()) if self.context.seats.confirm(user, &line.address) => return Ok(()),
                Ok(()) => {
                    line.leave(user);
                    return Ok(());
                }
                Err(Refusal::Failed) => return Err(Refusal::Failed),
                Err(Refusal::Moved) => {
                    if self.leader(user).as_ref() != Some(&line.address) {
                        line.leave(user);
                    }
                    self.context.topology.doubt();
                    sleep(MOVED_PAUSE).await;
                }
            }
            if !self.context.seats.is_taken(user) {
                return Ok(());
            }
        }
    }

    fn leader(&self, user: UserId) -> Option<Address> {
        let slot = self.context.names.slot(Owner::User(user));
        self.context.topology.leader(slot).map(|node| node.address.clone())
    }

    fn line(&self, user: UserId) -> Option<Arc<Line>> {
        let address = self.leader(user)?;
        let start = || Line::start(self.context.clone(), address.clone());
        Some(self.lines().entry(address.clone()).or_insert_with(start).clone())
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
