//! One server's subscription connection: opened when somebody is to be subscribed there, opened again when it is lost.
//!
//! Joins and leaves that came together are sent together, so that thousands a second take few round trips and never
//! keep events waiting: those are handed on as they arrive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, ServerErrorKind, Value};
use roost_core::ids::UserId;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::listeners::Seats;
use super::desired::{Refusal, Step, Told, Wanted};
use super::{Context, message};
use crate::config::RedisMode;
use crate::store::redis::connections::Address;
use crate::store::redis::connections::backoff::Backoff;
use crate::store::redis::connections::sentinel;
use crate::store::redis::connections::server::Unusable;

/// Steps sent together.
const STEPS_MAX: usize = 512;
/// A connection on which nothing was heard of is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A server where users are subscribed.
pub(super) struct Line {
    pub(super) address: Address,
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    asked: Notify,
    is_down: std::sync::atomic::AtomicBool,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(super) fn start(context: Context, address: Address) -> Arc<Self> {
        let shared = Arc::<Shared>::default();
        let keeper = Keeper { context, address: address.clone(), shared: shared.clone() };
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        Arc::new(Self { address, shared, keeper })
    }

    /// Subscribes; told when the server has confirmed it, however often the connection is lost before.
    pub(super) fn join(&self, user: UserId, told: Told) {
        self.shared.wanted().join(user, told);
        self.shared.asked.notify_one();
    }

    /// Ends a subscription.
    pub(super) fn leave(&self, user: UserId) {
        self.shared.wanted().leave(user);
        self.shared.asked.notify_one();
    }

    /// Somebody should be subscribed and the server cannot be reached.
    pub(super) fn is_down(&self) -> bool {
        self.shared.is_down.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// What keeps a line going, until it is aborted.
struct Keeper {
    context: Context,
    address: Address,
    shared: Arc<Shared>,
}

impl Keeper {
    async fn run(self) {
        let mut backoff = Backoff::new();
        let mut was_connected = false;
        loop {
            self.work().await;
            let ended = CancellationToken::new();
            match self.open(&ended).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.set_down(false);
                    let returning = self.shared.wanted().begin_anew();
                    let returning = was_connected.then_some(returning);
                    was_connected = self.serve(connection, &ended, returning).await;
                    if was_connected {
                        metrics::counter!("roost_redis_disconnects_total").increment(1);
                        tracing::warn!(server = %self.address, "a subscription connection is lost");
                    }
                    self.context.topology.doubt();
                }
                Err(error) => {
                    if !self.shared.is_down.swap(true, std::sync::atomic::Ordering::Relaxed) {
                        tracing::warn!(server = %self.address, %error, "no subscriptions here; trying again");
                    }
                    self.context.topology.doubt();
                    // Whoever left, or was moved to another server, is no reason to go on trying.
                    self.shared.wanted().begin_anew();
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, std::sync::atomic::Ordering::Relaxed);
    }

    /// Returns when there is a reason for a connection.
    async fn work(&self) {
        while self.shared.wanted().is_idle() {
            self.set_down(false);
            self.shared.asked.notified().await;
        }
    }

    async fn open(&self, ended: &CancellationToken) -> Result<MultiplexedConnection, Unusable> {
        let dial = &self.context.dial;
        let address = match &dial.config().url.mode {
            RedisMode::Sentinel(service) => sentinel::primary(dial, service).await?,
            RedisMode::Standalone | RedisMode::Cluster => self.address.clone(),
        };
        let (context, shared, end) = (self.context.clone(), self.shared.clone(), ended.clone());
        let heard = move |info: PushInfo| match info.kind {
            PushKind::Message | PushKind::SMessage => hand_on(&context, &info.data),
            PushKind::Disconnection => end.cancel(),
            // The crate would take an end that nobody asked for as an answer to something else.
            PushKind::Unsubscribe | PushKind::SUnsubscribe
                if user_of(&context, &info.data).is_some_and(|user| shared.wanted().is_lost(user)) =>
            {
                end.cancel();
            }
            _ => {}
        };
        Ok(dial.connect(&address, heard).await?)
    }

    /// Takes steps until the connection ends; `false`: nobody needs it any more. When those who are `returning` from
    /// an earlier connection are subscribed again, they are told.
    async fn serve(
        &self,
        mut connection: MultiplexedConnection,
        ended: &CancellationToken,
        mut returning: Option<usize>,
    ) -> bool {
        loop {
            let steps = self.shared.wanted().next(STEPS_MAX);
            if !steps.is_empty() {
                let taken = tokio::select! {
                    taken = self.take(&mut connection, &steps) => taken,
                    () = ended.cancelled() => false,
                };
                if !taken {
                    return true;
                }
                returning = returning.map(|left| left.saturating_sub(steps.len()));
            }
            // Those who join meanwhile stand behind them in the queue.
            if returning.is_some_and(|left| left == 0 || steps.is_empty()) {
                self.context.seats.interrupted();
                returning = None;
            }
            if !steps.is_empty() {
                continue;
            }
            if self.shared.wanted().is_idle() {
                return false;
            }
            tokio::select! {
                () = ended.cancelled() => return true,
                asked = timeout(PING_INTERVAL, self.shared.asked.notified()) => {
                    if asked.is_err() && !lives(&mut connection).await {
                        return true;
                    }
                }
            }
        }
    }

    /// Sends steps; `false`: the connection is of no use any more.
    async fn take(&self, connection: &mut MultiplexedConnection, steps: &[Step]) -> bool {
        let mut pipeline = Pipeline::with_capacity(steps.len());
        let (join, leave) = self.context.commands();
        for step in steps {
            match step {
                Step::Join(user) => pipeline.cmd(join).arg(self.context.names.channel(*user)),
                Step::Leave(user) => pipeline.cmd(leave).arg(self.context.names.channel(*user)),
            };
        }
        crate::store::redis::count(steps.len());
        let Ok(answers) = connection.send_packed_commands(&pipeline, 0, steps.len()).await else { return false };
        let mut wanted = self.shared.wanted();
        for (step, answer) in steps.iter().zip(answers) {
            wanted.done(*step, judge(&answer));
        }
        true
    }
}

fn judge(answer: &Value) -> Result<(), Refusal> {
    match answer {
        Value::ServerError(error) => match error.kind() {
            Some(ServerErrorKind::Moved | ServerErrorKind::ClusterDown) => Err(Refusal::Moved),
            _ => Err(Refusal::Failed),
        },
        _ => Ok(()),
    }
}

async fn lives(connection: &mut MultiplexedConnection) -> bool {
    redis::cmd("PING").exec_async(connection).await.is_ok()
}

fn user_of(context: &Context, data: &[Value]) -> Option<UserId> {
    match data.first() {
        Some(Value::BulkString(channel)) => context.names.user_of(channel),
        _ => None,
    }
}

fn hand_on(context: &Context, data: &[Value]) {
    let [Value::BulkString(channel), Value::BulkString(text)] = data else { return };
    let Some(user) = context.names.user_of(channel) else { return };
    match message::read(text) {
        Some(delivery) => context.seats.deliver(user, delivery),
        None => tracing::debug!(%user, "a message on a user's channel is none of Roost's"),
    }
}

/// Waits for the server's word.
pub(super) async fn confirmed(heard: oneshot::Receiver<Result<(), Refusal>>) -> Result<(), Refusal> {
    heard.await.unwrap_or(Err(Refusal::Moved))
}

impl Context {
    const fn commands(&self) -> (&'static str, &'static str) {
        if self.names.in_cluster() { ("SSUBSCRIBE", "SUNSUBSCRIBE") } else { ("SUBSCRIBE", "UNSUBSCRIBE") }
    }
}

/// Everybody who listens here, whichever line they are on.
pub(super) type SharedSeats = Arc<Seats>;
