//! One server and the connection over which requests go to it, which is opened again whenever it is lost.
//!
//! Requests never wait for a server that does not answer. After a connection is lost, or [`TIMEOUTS_MAX`] answers in a
//! row did not come, they fail at once until a background task has connected again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushKind, Value};
use roost_core::port::StoreError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Address, Backoff, ConnectionFactory, ServerProcess, UnusableServer};
use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::store::redis::count_round_trip;
use crate::store::redis::errors::{self, WriteObservation, WriteRefusal};

/// A server that leaves so many requests in a row unanswered is taken for hanging.
const TIMEOUTS_MAX: u32 = 3;
/// Requests wait this long for the first attempt to replace a lost connection.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// An open connection, and the process at its other end.
pub(crate) struct NodeConnection {
    pub(crate) address: Address,
    pub(crate) process: ServerProcess,
    connection: MultiplexedConnection,
    closed: CancellationToken,
    timeouts_in_a_row: AtomicU32,
    /// Why the server accepts no writes at present, as [`WriteRefusal`] numbers it.
    write_refusal: AtomicU8,
}

impl NodeConnection {
    /// Notes whether the server accepts writes.
    pub(in crate::store::redis) fn observed(&self, writes: WriteObservation) {
        let number = match writes {
            WriteObservation::Nothing => return,
            WriteObservation::Accepted => 0,
            WriteObservation::Refused(refusal) => refusal.number(),
        };
        if self.write_refusal.swap(number, Ordering::Relaxed) != 0 && number == 0 {
            tracing::info!(server = %self.address, "Redis accepts writes again");
        }
    }

    /// Why the server accepts no writes at present; `None` if it does.
    pub(in crate::store::redis) fn write_refusal(&self) -> Option<WriteRefusal> {
        WriteRefusal::numbered(self.write_refusal.load(Ordering::Relaxed))
    }

    /// Closes the connection: requests that wait for an answer fail, and the node opens another connection.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Sends commands; returns the reply to each of them, which may be an error of the server.
    pub(crate) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        count_round_trip(pipeline.len());
        let mut connection = self.connection.clone();
        let sent = tokio::select! {
            sent = connection.send_packed_commands(pipeline, 0, pipeline.len()) => sent,
            () = self.closed.cancelled() => return Err(errors::unavailable()),
        };
        match sent {
            Ok(replies) => {
                self.timeouts_in_a_row.store(0, Ordering::Relaxed);
                Ok(replies)
            }
            Err(error) => {
                // After a timeout the connection may be sound; after any other error it is not.
                let timeouts = || self.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if !error.is_timeout() || timeouts() >= TIMEOUTS_MAX {
                    self.close();
                }
                Err(errors::unavailable())
            }
        }
    }
}

/// Whether requests can be sent to a node.
enum NodeState {
    /// The first attempt to connect, or the first after a loss, is under way. Requests wait for it until this instant.
    Connecting(Instant),
    Connected(Arc<NodeConnection>),
    Down {
        retry_at: Instant,
        reason: UnusableServer,
    },
}

/// A server, and the background task that keeps a connection to it open.
pub(crate) struct Node {
    pub(crate) address: Address,
    state: watch::Receiver<NodeState>,
    _keeper: Supervisor,
}

impl Node {
    /// Begins to connect in the background.
    pub(crate) fn start(factory: Arc<ConnectionFactory>, address: Address) -> Arc<Self> {
        let deadline = Instant::now() + factory.config().connect_timeout;
        let (sender, state) = watch::channel(NodeState::Connecting(deadline));
        let (server, sender) = (address.clone(), Arc::new(sender));
        let mut keeper = Supervisor::new(TaskHealth::of_process());
        keeper.spawn("redis_connection", move || keep_connected(factory.clone(), server.clone(), sender.clone()));
        Arc::new(Self { address, state, _keeper: keeper })
    }

    /// The connection; waits for a first attempt that is under way.
    pub(crate) async fn connection(&self) -> Result<Arc<NodeConnection>, StoreError> {
        let deadline = match &*self.state.borrow() {
            NodeState::Connected(connection) => return Ok(connection.clone()),
            NodeState::Down { retry_at, .. } => return Err(unavailable_until(*retry_at)),
            NodeState::Connecting(deadline) => *deadline,
        };
        let mut state = self.state.clone();
        let attempted = state.wait_for(|state| !matches!(state, NodeState::Connecting(_)));
        let _ = timeout_at(deadline, attempted).await;
        match &*self.state.borrow() {
            NodeState::Connected(connection) => Ok(connection.clone()),
            NodeState::Down { retry_at, .. } => Err(unavailable_until(*retry_at)),
            NodeState::Connecting(_) => Err(errors::unavailable()),
        }
    }

    /// Waits until the first connection is open, which a server that is starting up may delay until the deadline.
    pub(crate) async fn wait_connected(&self, deadline: Instant) -> Result<(), UnusableServer> {
        let mut state = self.state.clone();
        let decided = state.wait_for(|state| match state {
            NodeState::Connecting(_) => false,
            NodeState::Connected(_) => true,
            NodeState::Down { reason, .. } => reason.is_permanent(),
        });
        let _ = timeout_at(deadline, decided).await;
        self.problem().map_or(Ok(()), |problem| Err(UnusableServer::NotConnected(problem)))
    }

    /// Why this server accepts no writes at present; `None` if it does, or cannot be reached.
    pub(in crate::store::redis) fn write_refusal(&self) -> Option<WriteRefusal> {
        match &*self.state.borrow() {
            NodeState::Connected(connection) => connection.write_refusal(),
            NodeState::Connecting(_) | NodeState::Down { .. } => None,
        }
    }

    /// Why requests cannot be sent to this server; `None` if they can.
    pub(crate) fn problem(&self) -> Option<String> {
        match &*self.state.borrow() {
            NodeState::Connected(_) => None,
            NodeState::Connecting(_) => Some(format!("{}: no answer yet", self.address)),
            NodeState::Down { reason, .. } => Some(format!("{}: {reason}", self.address)),
        }
    }
}

fn unavailable_until(instant: Instant) -> StoreError {
    let left_ms = instant.saturating_duration_since(Instant::now()).as_millis();
    StoreError::Unavailable { retry_after_ms: u32::try_from(left_ms).unwrap_or(u32::MAX).max(1) }
}

/// Opens one connection after the other, until the task is aborted.
async fn keep_connected(factory: Arc<ConnectionFactory>, address: Address, state: Arc<watch::Sender<NodeState>>) {
    let mut backoff = Backoff::new();
    let mut is_down = false;
    loop {
        match open(&factory, &address).await {
            Ok(connection) => {
                if is_down {
                    tracing::info!(server = %connection.address, "connected to Redis again");
                }
                is_down = false;
                backoff = Backoff::new();
                let connection = Arc::new(connection);
                state.send_replace(NodeState::Connected(connection.clone()));
                connection.closed.cancelled().await;
                metrics::REDIS_DISCONNECTS.inc();
                tracing::warn!(server = %connection.address, "the connection to Redis was lost");
                state.send_replace(NodeState::Connecting(Instant::now() + RECONNECT_WAIT));
            }
            Err(error) => {
                if !is_down {
                    tracing::warn!(server = %address, %error, "cannot connect to Redis; trying again");
                }
                is_down = true;
                let wait = backoff.next();
                state.send_replace(NodeState::Down { retry_at: Instant::now() + wait, reason: error });
                sleep(wait).await;
            }
        }
    }
}

async fn open(factory: &ConnectionFactory, configured: &Address) -> Result<NodeConnection, UnusableServer> {
    let address = factory.resolve(configured).await?;
    let closed = CancellationToken::new();
    let close = closed.clone();
    let on_push = move |push: redis::PushInfo| {
        if push.kind == PushKind::Disconnection {
            close.cancel();
        }
    };
    let mut connection = factory.connect(&address, on_push).await?;
    let mut process = ServerProcess::identify(&mut connection, &factory.config().url.mode).await?;
    process.serving_since = factory.serving_since(&process.id, process.serving_since);
    Ok(NodeConnection {
        address,
        process,
        connection,
        closed,
        timeouts_in_a_row: AtomicU32::new(0),
        write_refusal: AtomicU8::new(0),
    })
}
