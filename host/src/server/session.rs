//! One client's stay, the same for sockets and event streams: a seat in the hub, the position, the hooks, `hello`,
//! what was missed, and the goodbye on every end.
//!
//! The position is taken before the data, so that nothing falls between them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use roost_core::feed::Position;
use roost_core::ids::ConnectionId;
use roost_core::port::{Bus, Feeds, Replay, StoreError};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::delivery::Connection;
use crate::delivery::event::{PushedFrame, ResyncReason};
use crate::delivery::hub::{DrainWatch, Registration};
use crate::runtime;
use crate::runtime::dispatcher::Dispatcher;
use crate::runtime::hooks;
use crate::server::auth::Identity;
use crate::server::problem::{ApiError, Code};
use crate::server::state::AppState;

/// A goodbye that did not reach its function is said again so often.
const GOODBYES: u32 = 3;
const GOODBYE_PAUSE: Duration = Duration::from_millis(200);
/// A token that is good for longer than this outlives any connection.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What a client opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket.
    Socket,
    /// Server-sent events.
    Events,
}

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Events => "events",
        }
    }
}

/// A client that is here.
pub struct ClientSession<F: Dispatcher, S> {
    /// What the host is made of.
    pub state: Arc<AppState<F, S>>,
    /// The client in the hub.
    pub connection: Arc<Connection>,
    /// The trace id of the request that opened it.
    pub trace: String,
    /// When the client's token ends.
    pub until: Option<Instant>,
    /// The client has everything up to here already.
    floor: Option<Position>,
    seat: Registration<S>,
    /// From the moment at which functions hear of the connection.
    _goodbye: Option<DisconnectGuard<F>>,
    _open: Gauge,
}

/// What a client is told first.
#[derive(Debug)]
pub struct Welcome {
    /// The payload of `hello`.
    pub hello: String,
    /// The position that it names: what follows begins after it.
    pub position: Position,
    /// What the client missed, or a `resync`.
    pub frames: Vec<Arc<PushedFrame>>,
}

/// Who opens what, and from where it goes on.
#[derive(Debug)]
pub struct Opening {
    /// Who.
    pub identity: Identity,
    /// What.
    pub kind: Kind,
    /// The last position that the client saw.
    pub since: Option<Position>,
    /// The request's trace id.
    pub trace: String,
}

impl<F: Dispatcher, S: Bus + Feeds + 'static> ClientSession<F, S> {
    /// Follows the user's events and gathers what the client is told first.
    pub async fn open(
        state: Arc<AppState<F, S>>,
        mut seat: Registration<S>,
        opening: Opening,
    ) -> Result<(Self, Welcome), ApiError> {
        let id = new_connection_id()?;
        let (connection, cursor) = seat.join(id).await?;
        let mut visit = Self {
            _goodbye: None,
            _open: Gauge::new(opening.kind),
            state,
            connection,
            until: opening.identity.until().and_then(deadline),
            trace: opening.trace,
            floor: None,
            seat,
        };
        let (position, frames) = visit.catch_up(opening.since, cursor).await?;
        let hello = visit.hello(&position).await;
        Ok((visit, Welcome { hello, position, frames }))
    }

    /// What the client missed between its position and where its outbox begins.
    async fn catch_up(
        &mut self,
        since: Option<Position>,
        cursor: Position,
    ) -> Result<(Position, Vec<Arc<PushedFrame>>), StoreError> {
        let Some(since) = since else { return Ok((cursor, Vec::new())) };
        let store = self.state.hub.store();
        let Replay::Events(events) = store.replay(self.connection.user, &since).await? else {
            return Ok(resync(cursor));
        };
        if events.is_empty() && since.nowhere_since().is_some() {
            return Ok((cursor, Vec::new()));
        }
        if since.nowhere_since().is_none() && is_after(&since, &cursor) {
            // The client was told more than this host has heard of yet; unless the feed knows nothing of it.
            if events.is_empty() && !self.is_known(&since).await? {
                return Ok(resync(cursor));
            }
            self.floor = Some(since.clone());
            return Ok((since, Vec::new()));
        }
        // What lies beyond the cursor comes through the outbox.
        let missed = events.into_iter().filter(|event| {
            event.position.as_ref().is_some_and(|at| at.epoch == cursor.epoch && at.offset <= cursor.offset)
        });
        Ok((since, missed.map(|event| Arc::new(PushedFrame::from(event))).collect()))
    }

    /// Whether the feed has come this far.
    async fn is_known(&self, since: &Position) -> Result<bool, StoreError> {
        let newest = self.state.hub.store().positions(&[self.connection.user]).await?.into_iter().next();
        Ok(newest.is_some_and(|newest| newest.epoch == since.epoch && newest.offset >= since.offset))
    }

    async fn hello(&mut self, position: &Position) -> String {
        let user = self.connection.user;
        self._goodbye = Some(DisconnectGuard::new(&self.state, &self.connection, &self.trace, self.seat.drain_watch()));
        let opened = runtime::Connection { user, id: self.connection.id.clone() };
        let gathered = hooks::connected(self.state.functions.as_ref(), &self.trace, &opened).await;
        if !gathered.failures.is_empty() {
            // Whoever did not hear of the connection hears of it with the next beat.
            self.connection.alive();
        }
        let mut hello = gathered.members;
        let interval = u64::try_from(self.state.socket.beat_interval.as_millis()).unwrap_or(u64::MAX);
        let own: [(&str, Value); 5] = [
            ("connection", self.connection.id.as_str().into()),
            ("user", user.to_string().into()),
            ("epoch", position.epoch.as_ref().into()),
            ("offset", position.offset.into()),
            ("beat_interval_ms", interval.into()),
        ];
        hello.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(hello).to_string()
    }
}

impl<F: Dispatcher, S> ClientSession<F, S> {
    /// The client has this frame already.
    pub fn has(&self, frame: &PushedFrame) -> bool {
        matches!((&self.floor, frame.position()), (Some(floor), Some(at))
            if floor.epoch == at.epoch && at.offset <= floor.offset)
    }

    /// The client's place in the hub.
    pub const fn seat(&self) -> &Registration<S> {
        &self.seat
    }

    /// The client's place in the hub and its outbox, apart: both are waited for at once.
    pub fn parts(&mut self) -> (&mut Registration<S>, &Connection) {
        (&mut self.seat, &self.connection)
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
    Uuid::now_v7().simple().to_string().parse().map_err(|_| Code::Internal.into())
}

/// The moment on the monotonic clock; `None` for one beyond any connection's life.
fn deadline(until: SystemTime) -> Option<Instant> {
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    (left < FOREVER).then(|| Instant::now() + left)
}

/// Counts the connection while it is held.
struct Gauge(Kind);

impl Gauge {
    fn new(kind: Kind) -> Self {
        metrics::gauge!("roost_connections", "kind" => kind.label()).increment(1.0);
        Self(kind)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        metrics::gauge!("roost_connections", "kind" => self.0.label()).decrement(1.0);
    }
}

/// Tells the functions that the connection is gone, however it ended.
struct DisconnectGuard<F: Dispatcher> {
    functions: Arc<F>,
    connection: runtime::Connection,
    trace: String,
    drain: DrainWatch,
}

impl<F: Dispatcher> DisconnectGuard<F> {
    fn new<S>(state: &AppState<F, S>, connection: &Connection, trace: &str, drain: DrainWatch) -> Self {
        let connection = runtime::Connection { user: connection.user, id: connection.id.clone() };
        Self { functions: state.functions.clone(), connection, trace: trace.to_owned(), drain }
    }
}

impl<F: Dispatcher> Drop for DisconnectGuard<F> {
    fn drop(&mut self) {
        // Without a runtime the process ends; presence runs out by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (functions, connection) = (self.functions.clone(), self.connection.clone());
        let (trace, drain) = (std::mem::take(&mut self.trace), self.drain.clone());
        runtime.spawn(async move {
            let _held = drain;
            for _ in 0..GOODBYES {
                if hooks::disconnected(functions.as_ref(), &trace, &connection).await.failures.is_empty() {
                    return;
                }
                tokio::time::sleep(GOODBYE_PAUSE).await;
            }
        });
    }
}
