//! One client's session, the same for sockets and event streams: it is registered in the hub, gets `hello` and the
//! events that it missed, and the functions are told when it ends, however it ends.
//!
//! The position is read before the state, so that no event falls between the two. A session is opened completely, with
//! everything that clients rely on in `hello`, or refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roost_core::feed::Position;
use roost_core::ids::{ConnectionId, UserId};
use roost_core::port::{Bus, Feeds, Replay, StoreError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::delivery::Connection;
use crate::delivery::event::{PushedFrame, ResyncReason};
use crate::delivery::hub::{DrainWatch, Registration};
use crate::ops::metrics::{self, GaugeGuard};
use crate::runtime;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;
use crate::server::auth::Identity;
use crate::server::limits::limited_user;
use crate::server::problem::{ApiError, ErrorCode};
use crate::server::state::AppState;
use crate::server::sync;

/// How often the functions are told of a disconnect if they fail.
const DISCONNECT_TRIES: u32 = 3;
const DISCONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How long a client that cannot be connected should wait, if nothing more precise is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long it should wait if a function is broken, which an operator has to correct.
const RETRY_AFTER_BROKEN: Duration = Duration::from_secs(5);
/// A token that is valid for longer than this outlives any connection.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How a client receives its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// Over a WebSocket.
    Socket,
    /// As server-sent events.
    Events,
}

impl SessionKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Events => "events",
        }
    }
}

/// A connected client.
pub(crate) struct ClientSession<F: Dispatcher, S> {
    pub(crate) state: Arc<AppState<F, S>>,
    pub(crate) connection: Arc<Connection>,
    /// The trace id of the request that opened the session.
    pub(crate) trace: String,
    /// Whoever opened the session; with a later token, if the client has sent one.
    pub(crate) identity: Identity,
    /// When the client's token ends.
    pub(crate) expires_at: Option<Instant>,
    /// The user whom limits apply to. They do not apply to services.
    pub(crate) limited: Option<UserId>,
    /// The client has the events up to this position from elsewhere; the host has not received all of them yet.
    known_up_to: Option<Position>,
    /// The position of the client after the last frame that was handed to its connection.
    sent_up_to: Position,
    registration: Registration<S>,
    /// Set when the functions have been told of the connection.
    _disconnect: Option<DisconnectGuard<F>>,
    _open: GaugeGuard,
}

/// The first frames of a session.
#[derive(Debug)]
pub(crate) struct FirstFrames {
    /// The payload of `hello`.
    pub(crate) hello: String,
    /// The position that `hello` names: later events come after it.
    pub(crate) position: Position,
    /// The events that the client missed, or a `resync`.
    pub(crate) missed: Vec<Arc<PushedFrame>>,
}

/// The connection, its position, and the state from which the client starts. The functions add the state.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Hello<'a> {
    /// The id of this connection.
    #[schemars(with = "ConnectionId")]
    connection: &'a str,
    /// The user of this connection.
    user: UserId,
    /// The epoch of the position after which events follow.
    epoch: &'a str,
    /// The offset of the position after which events follow.
    offset: u64,
    /// The interval of heartbeats for clients that send their own.
    beat_interval_ms: u64,
}

/// A request to open a session.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) identity: Identity,
    pub(crate) kind: SessionKind,
    /// The position of the last event that the client has.
    pub(crate) since: Option<Position>,
    /// The request's trace id.
    pub(crate) trace: String,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> ClientSession<F, S> {
    /// Waits for the client's turn, and opens the session or refuses it with a time to come back.
    pub(crate) async fn connect(
        state: &Arc<AppState<F, S>>,
        registration: Registration<S>,
        request: OpenRequest,
    ) -> Result<(Self, FirstFrames), ApiError> {
        state.connects.turn().await?;
        // Taken before the place among all clients that connect: the user's other clients are waited for without it.
        let user = request.identity.require_user()?;
        let _replay = sync::begin_replay(state, user, request.since.as_ref()).await?;
        let _place = state.connects.place().await?;
        Self::open(state.clone(), registration, request).await.map_err(with_time)
    }

    /// Follows the user's events and collects the first frames.
    pub(crate) async fn open(
        state: Arc<AppState<F, S>>,
        mut registration: Registration<S>,
        request: OpenRequest,
    ) -> Result<(Self, FirstFrames), ApiError> {
        let (connection, cursor) = registration.join(new_connection_id()?).await?;
        let sent_up_to = cursor.clone();
        let mut session = Self {
            _disconnect: None,
            _open: GaugeGuard::new(&metrics::CONNECTIONS.of([request.kind.label()])),
            state,
            connection,
            identity: request.identity,
            expires_at: request.identity.expires_at().and_then(deadline),
            limited: limited_user(&request.identity),
            trace: request.trace,
            known_up_to: None,
            sent_up_to,
            registration,
        };
        let (position, missed) = session.catch_up(request.since, cursor).await?;
        let hello = session.hello(&position).await?;
        Ok((session, FirstFrames { hello, position, missed }))
    }

    /// Reads the events between the client's position and `cursor`, where its outbox begins.
    async fn catch_up(
        &mut self,
        since: Option<Position>,
        cursor: Position,
    ) -> Result<(Position, Vec<Arc<PushedFrame>>), StoreError> {
        let Some(since) = since else { return Ok((cursor, Vec::new())) };
        let store = self.state.hub.store();
        let replay = self.state.limits.replay(store.as_ref(), self.connection.user, &since).await?;
        let Replay::Events(events) = replay else {
            return Ok(resync(cursor));
        };
        if events.is_empty() && since.without_feed_since().is_some() {
            return Ok((cursor, Vec::new()));
        }
        if since.without_feed_since().is_none() && is_after(&since, &cursor) {
            // The client has events that this host has not received yet, unless the feed does not know them either.
            if events.is_empty() && !self.feed_reaches(&since).await? {
                return Ok(resync(cursor));
            }
            self.known_up_to = Some(since.clone());
            self.sent_up_to = since.clone();
            return Ok((since, Vec::new()));
        }
        // Events beyond the cursor come through the outbox.
        let missed = events.into_iter().filter(|event| {
            event.position.as_ref().is_some_and(|at| at.epoch == cursor.epoch && at.offset <= cursor.offset)
        });
        Ok((since, missed.map(|event| Arc::new(PushedFrame::from(event))).collect()))
    }

    async fn feed_reaches(&self, position: &Position) -> Result<bool, StoreError> {
        let newest = self.state.hub.store().positions(&[self.connection.user]).await?.into_iter().next();
        Ok(newest.is_some_and(|newest| newest.epoch == position.epoch && newest.offset >= position.offset))
    }

    /// Tells the functions of the connection, and joins their answers to the payload of `hello`. An error if an answer
    /// is missing that clients rely on.
    async fn hello(&mut self, position: &Position) -> Result<String, ApiError> {
        let user = self.connection.user;
        let drain = self.registration.drain_watch();
        self._disconnect = Some(DisconnectGuard::new(&self.state, &self.connection, &self.trace, drain));
        let opened = runtime::Connection { user, id: self.connection.id.clone() };
        let gathered = hooks::connected(self.state.functions.as_ref(), &self.trace, &opened).await;
        if let Some(error) = gathered.required_failure {
            return Err(error.into());
        }
        if !gathered.failures.is_empty() {
            // A function that was not told of the connection learns of it from the next heartbeat.
            self.connection.mark_alive();
        }
        let mut hello = gathered.members;
        let interval = u64::try_from(self.state.socket.beat_interval.as_millis()).unwrap_or(u64::MAX);
        let host = Hello {
            connection: self.connection.id.as_str(),
            user,
            epoch: &position.epoch,
            offset: position.offset,
            beat_interval_ms: interval,
        };
        if let Ok(Value::Object(host)) = serde_json::to_value(host) {
            hello.extend(host);
        }
        Ok(Value::Object(hello).to_string())
    }
}

/// A client that cannot be connected is always told when to come back.
fn with_time(error: ApiError) -> ApiError {
    let span = if error.retry { RETRY_AFTER } else { RETRY_AFTER_BROKEN };
    ApiError { retry: true, retry_after: error.retry_after.or(Some(span)), ..error }
}

impl<F: Dispatcher, S> ClientSession<F, S> {
    /// The client has a later token of the same user.
    pub(crate) fn renew(&mut self, identity: Identity) {
        self.identity = identity;
        self.expires_at = identity.expires_at().and_then(deadline);
    }

    /// Whether the client has this frame already.
    pub(crate) fn already_has(&self, frame: &PushedFrame) -> bool {
        matches!((&self.known_up_to, frame.position()), (Some(known), Some(at))
            if known.epoch == at.epoch && at.offset <= known.offset)
    }

    /// Notes a frame that is handed to the connection.
    pub(crate) fn note_sent(&mut self, frame: &PushedFrame) {
        if let Some(position) = frame.position_of_client() {
            self.sent_up_to = position.clone();
        }
    }

    /// A `resync` because the current state cannot be read. It names the position that the client has by now: the
    /// feed's own may be ahead of the frames that wait, and an earlier one would repeat events.
    pub(crate) fn resync_from_here(&self) -> PushedFrame {
        PushedFrame::resync(ResyncReason::Interrupted, &self.sent_up_to)
    }

    pub(crate) const fn registration(&self) -> &Registration<S> {
        &self.registration
    }

    /// The registration and the connection, borrowed apart so that a session can wait for both at once.
    pub(crate) fn split(&mut self) -> (&mut Registration<S>, &Connection) {
        (&mut self.registration, &self.connection)
    }
}

fn resync(cursor: Position) -> (Position, Vec<Arc<PushedFrame>>) {
    let frame = PushedFrame::resync(ResyncReason::Gap, &cursor);
    (cursor, vec![Arc::new(frame)])
}

fn is_after(one: &Position, other: &Position) -> bool {
    one.epoch != other.epoch || one.offset > other.offset
}

fn new_connection_id() -> Result<ConnectionId, ApiError> {
    Uuid::now_v7().simple().to_string().parse().map_err(|_| ErrorCode::Internal.into())
}

/// The same time on the monotonic clock; `None` if it lies beyond the life of any connection.
fn deadline(expires_at: SystemTime) -> Option<Instant> {
    let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
    (left < TOKEN_LIFE_MAX).then(|| Instant::now() + left)
}

/// Tells the functions that the connection is gone, however the session ended.
struct DisconnectGuard<F: Dispatcher> {
    functions: Arc<F>,
    connection: runtime::Connection,
    trace: String,
    drain: DrainWatch,
    /// The disconnects of a herd take few places of the functions at the same time.
    places: Arc<Semaphore>,
}

impl<F: Dispatcher> DisconnectGuard<F> {
    fn new<S>(state: &AppState<F, S>, connection: &Connection, trace: &str, drain: DrainWatch) -> Self {
        let connection = runtime::Connection { user: connection.user, id: connection.id.clone() };
        let (functions, places) = (state.functions.clone(), state.disconnects.clone());
        Self { functions, connection, trace: trace.to_owned(), drain, places }
    }
}

impl<F: Dispatcher> Drop for DisconnectGuard<F> {
    fn drop(&mut self) {
        // Without a tokio runtime the process is ending; presence expires by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (functions, connection) = (self.functions.clone(), self.connection.clone());
        let (trace, drain, places) = (std::mem::take(&mut self.trace), self.drain.clone(), self.places.clone());
        runtime.spawn(async move {
            let _drain = drain;
            for _ in 0..DISCONNECT_TRIES {
                let place = places.acquire().await;
                if hooks::disconnected(functions.as_ref(), &trace, &connection).await.failures.is_empty() {
                    return;
                }
                drop(place);
                tokio::time::sleep(DISCONNECT_PAUSE).await;
            }
        });
    }
}
