//! The connection over which the channels of one server are received. It is opened when the first user is to be
//! subscribed there, and opened again when it is lost.
//!
//! Commands that were asked for at the same time are sent together, so that thousands of subscriptions a second take
//! few round trips. Events do not wait for them: each is delivered when it arrives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, ServerErrorKind, Value};
use roost_core::ids::UserId;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::desired::{ChannelCommand, DesiredSubscriptions, SubscribeError};
use super::{SubscriptionContext, message};
use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::store::redis::connections::{Address, Backoff, UnusableServer};
use crate::store::redis::count_round_trip;

/// The number of commands that are sent together.
const COMMANDS_MAX: usize = 512;
/// A connection without commands is checked with `PING` this often.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The subscriptions at one server.
pub(super) struct SubscriptionConnection {
    pub(super) address: Address,
    shared: Arc<SharedState>,
    _keeper: Supervisor,
}

#[derive(Default)]
struct SharedState {
    desired: Mutex<DesiredSubscriptions>,
    changed: Notify,
    /// Users should be subscribed, and the server cannot be reached.
    is_down: AtomicBool,
}

impl SharedState {
    fn desired(&self) -> MutexGuard<'_, DesiredSubscriptions> {
        self.desired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriptionConnection {
    pub(super) fn start(context: SubscriptionContext, address: Address) -> Arc<Self> {
        let shared = Arc::<SharedState>::default();
        let task = ConnectionTask { context, address: address.clone(), shared: shared.clone() };
        let mut keeper = Supervisor::new(TaskHealth::of_process());
        keeper.spawn("redis_subscription_connection", move || task.clone().run());
        Arc::new(Self { address, shared, _keeper: keeper })
    }

    /// Subscribes a user's channel. The future ends when the server has confirmed it, even if the connection is lost
    /// before.
    pub(super) fn subscribe(&self, user: UserId) -> impl Future<Output = Result<(), SubscribeError>> + Send + use<> {
        let (confirmation, confirmed) = oneshot::channel();
        self.shared.desired().subscribe(user, confirmation);
        self.shared.changed.notify_one();
        async { confirmed.await.unwrap_or(Err(SubscribeError::Moved)) }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, user: UserId) {
        self.shared.desired().unsubscribe(user);
        self.shared.changed.notify_one();
    }

    /// Whether users should be subscribed here and the server cannot be reached.
    pub(super) fn is_down(&self) -> bool {
        self.shared.is_down.load(Ordering::Relaxed)
    }
}

/// The background task of a connection, which runs until it is aborted.
#[derive(Clone)]
struct ConnectionTask {
    context: SubscriptionContext,
    address: Address,
    shared: Arc<SharedState>,
}

impl ConnectionTask {
    async fn run(self) {
        let mut backoff = Backoff::new();
        loop {
            self.wait_needed().await;
            let closed = CancellationToken::new();
            match self.open(&closed).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.shared.is_down.store(false, Ordering::Relaxed);
                    let resubscribing = self.shared.desired().start_over();
                    if self.serve(connection, &closed, resubscribing).await {
                        metrics::REDIS_DISCONNECTS.inc();
                        tracing::warn!(server = %self.address, "a subscription connection to Redis was lost");
                        // Before anything arrives over the next connection, or from another server.
                        let lost = self.shared.desired().subscribed();
                        self.context.listeners.notify_suspended(&lost);
                    }
                    self.context.topology.request_refresh();
                }
                Err(error) => {
                    if !self.shared.is_down.swap(true, Ordering::Relaxed) {
                        let server = &self.address;
                        tracing::warn!(%server, %error, "cannot open a subscription connection to Redis; trying again");
                    }
                    self.context.topology.request_refresh();
                    // Users who left, or whose slot moved to another server, are no reason to go on trying.
                    self.shared.desired().start_over();
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Waits until a connection is needed.
    async fn wait_needed(&self) {
        while self.shared.desired().is_empty() {
            self.shared.is_down.store(false, Ordering::Relaxed);
            self.shared.changed.notified().await;
        }
    }

    async fn open(&self, closed: &CancellationToken) -> Result<MultiplexedConnection, UnusableServer> {
        let address = self.context.factory.resolve(&self.address).await?;
        let (context, shared, close) = (self.context.clone(), self.shared.clone(), closed.clone());
        let on_push = move |push: PushInfo| match push.kind {
            PushKind::Message | PushKind::SMessage => context.deliver(&push.data),
            PushKind::Disconnection => close.cancel(),
            // The crate takes an unsubscription by the server for the answer to a command, so the answers that follow
            // would be attributed to the wrong commands.
            PushKind::Unsubscribe | PushKind::SUnsubscribe
                if context.user_of(&push.data).is_some_and(|user| shared.desired().is_unexpected_end(user)) =>
            {
                close.cancel();
            }
            _ => {}
        };
        Ok(self.context.factory.connect(&address, on_push).await?)
    }

    /// Sends commands until the connection is lost (`true`) or not needed any more (`false`).
    ///
    /// `resubscribing` is the number of subscriptions that are desired from the start. When they are confirmed, the
    /// subscribers of those that a lost connection had are notified of the interruption.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        closed: &CancellationToken,
        resubscribing: usize,
    ) -> bool {
        let mut resubscribing = Some(resubscribing);
        loop {
            let commands = self.shared.desired().next_commands(COMMANDS_MAX);
            if !commands.is_empty() {
                let sent = tokio::select! {
                    sent = self.send(&mut connection, &commands) => sent,
                    () = closed.cancelled() => false,
                };
                if !sent {
                    return true;
                }
                resubscribing = resubscribing.map(|left| left.saturating_sub(commands.len()));
            }
            // New subscriptions stand behind these in the queue.
            if resubscribing.is_some_and(|left| left == 0 || commands.is_empty()) {
                let resumed = self.shared.desired().take_resumed();
                self.context.listeners.notify_interrupted(&resumed);
                resubscribing = None;
            }
            if !commands.is_empty() {
                continue;
            }
            if self.shared.desired().is_empty() {
                return false;
            }
            tokio::select! {
                () = closed.cancelled() => return true,
                changed = timeout(PING_INTERVAL, self.shared.changed.notified()) => {
                    if changed.is_err() && redis::cmd("PING").exec_async(&mut connection).await.is_err() {
                        return true;
                    }
                }
            }
        }
    }

    /// Sends commands and takes the answers. Returns whether the connection can still be used.
    async fn send(&self, connection: &mut MultiplexedConnection, commands: &[ChannelCommand]) -> bool {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        let names = &self.context.names;
        let (subscribe, unsubscribe) =
            if names.in_cluster() { ("SSUBSCRIBE", "SUNSUBSCRIBE") } else { ("SUBSCRIBE", "UNSUBSCRIBE") };
        for command in commands {
            match command {
                ChannelCommand::Subscribe(user) => pipeline.cmd(subscribe).arg(names.channel(*user)),
                ChannelCommand::Unsubscribe(user) => pipeline.cmd(unsubscribe).arg(names.channel(*user)),
            };
        }
        count_round_trip(commands.len());
        let Ok(answers) = connection.send_packed_commands(&pipeline, 0, commands.len()).await else { return false };
        let mut desired = self.shared.desired();
        for (command, answer) in commands.iter().zip(answers) {
            desired.answered(*command, result_of(&answer));
        }
        true
    }
}

fn result_of(answer: &Value) -> Result<(), SubscribeError> {
    match answer {
        Value::ServerError(error) => match error.kind() {
            Some(ServerErrorKind::Moved | ServerErrorKind::ClusterDown) => Err(SubscribeError::Moved),
            _ => Err(SubscribeError::Refused),
        },
        _ => Ok(()),
    }
}

impl SubscriptionContext {
    fn user_of(&self, push: &[Value]) -> Option<UserId> {
        match push.first() {
            Some(Value::BulkString(channel)) => self.names.user_of(channel),
            _ => None,
        }
    }

    fn deliver(&self, push: &[Value]) {
        let [Value::BulkString(channel), Value::BulkString(text)] = push else { return };
        let Some(user) = self.names.user_of(channel) else { return };
        match message::read(text) {
            Some(delivery) => self.listeners.deliver(user, delivery),
            None => tracing::debug!(%user, "ignored a message on a user's channel that Roost did not write"),
        }
    }
}
