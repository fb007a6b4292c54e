//! One server's command connection: opened again whenever it is lost, and a circuit that is open meanwhile.
//!
//! Requests never wait for a server that does not answer: after a connection is lost, or [`TIMEOUTS_MAX`] answers in a
//! row did not come, they fail at once until one attempt to connect, made in the background, has succeeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushKind, Value};
use roost_core::port::StoreError;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Address, Dial};
use super::backoff::Backoff;
use super::server::{Server, Unusable};
use super::sentinel;
use crate::store::redis::errors;
use crate::config::RedisMode;

/// So many answers in a row do not come: the server hangs.
const TIMEOUTS_MAX: u32 = 3;
/// A connection that was lost a moment ago is waited for this long.
const GRACE: Duration = Duration::from_millis(100);

/// A connection that works, and the process at its other end.
pub(crate) struct Session {
    pub(crate) address: Address,
    pub(crate) server: Server,
    connection: MultiplexedConnection,
    ended: CancellationToken,
    timeouts: AtomicU32,
}

impl Session {
    /// Gives the connection up: whoever waits for an answer waits no longer, and another one is opened.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// The answers to all commands, errors among them.
    pub(crate) async fn exchange(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        crate::store::redis::count(pipeline.len());
        let mut connection = self.connection.clone();
        let exchanged = tokio::select! {
            exchanged = connection.send_packed_commands(pipeline, 0, pipeline.len()) => exchanged,
            () = self.ended.cancelled() => return Err(errors::unavailable()),
        };
        match exchanged {
            Ok(values) => {
                self.timeouts.store(0, Ordering::Relaxed);
                Ok(values)
            }
            Err(error) => {
                if !errors::is_timeout(&error) || self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS_MAX {
                    self.end();
                }
                Err(errors::unavailable())
            }
        }
    }
}

/// Whether a server can be asked.
#[derive(Clone)]
enum Link {
    /// The first attempt, or the first after a loss. Requests wait for it until then.
    Opening(Instant),
    Up(Arc<Session>),
    Down {
        retry_at: Instant,
        why: Arc<Unusable>,
    },
}

/// A server and the way to it.
pub(crate) struct Node {
    pub(crate) address: Address,
    link: watch::Receiver<Link>,
    keeper: AbortHandle,
}

impl Node {
    /// Begins to connect.
    pub(crate) fn start(dial: Arc<Dial>, address: Address) -> Arc<Self> {
        let until = Instant::now() + dial.config().connect_timeout;
        let (told, link) = watch::channel(Link::Opening(until));
        let keeper = tokio::spawn(keep(dial, address.clone(), told)).abort_handle();
        Arc::new(Self { address, link, keeper })
    }

    /// The connection, if there is one or there is about to be.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let deadline = match &*self.link.borrow() {
            Link::Up(session) => return Ok(session.clone()),
            Link::Down { retry_at, .. } => return Err(until(*retry_at)),
            Link::Opening(deadline) => *deadline,
        };
        let mut link = self.link.clone();
        let settled = link.wait_for(|link| !matches!(link, Link::Opening(_)));
        let _ = timeout_at(deadline, settled).await;
        match &*self.link.borrow() {
            Link::Up(session) => Ok(session.clone()),
            Link::Down { retry_at, .. } => Err(until(*retry_at)),
            Link::Opening(_) => Err(errors::unavailable()),
        }
    }

    /// The first connection, or why there is none; waits for a server that is starting, until the deadline.
    pub(crate) async fn first_session(&self, deadline: Instant) -> Result<Arc<Session>, Option<Arc<Unusable>>> {
        let mut link = self.link.clone();
        let settled = link.wait_for(|link| match link {
            Link::Opening(_) => false,
            Link::Up(_) => true,
            Link::Down { why, .. } => why.is_permanent(),
        });
        let _ = timeout_at(deadline, settled).await;
        match &*self.link.borrow() {
            Link::Up(session) => Ok(session.clone()),
            Link::Down { why, .. } => Err(Some(why.clone())),
            Link::Opening(_) => Err(None),
        }
    }

    /// Why the server cannot be asked; `None`: it can.
    pub(crate) fn fault(&self) -> Option<String> {
        match &*self.link.borrow() {
            Link::Up(_) => None,
            Link::Opening(_) => Some(format!("{}: connecting", self.address)),
            Link::Down { why, .. } => Some(format!("{}: {why}", self.address)),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn until(moment: Instant) -> StoreError {
    let left_ms = moment.saturating_duration_since(Instant::now()).as_millis();
    StoreError::Unavailable { retry_after_ms: u32::try_from(left_ms).unwrap_or(u32::MAX).max(1) }
}

/// Opens connections, one after the other, until it is aborted.
async fn keep(dial: Arc<Dial>, address: Address, link: watch::Sender<Link>) {
    let mut backoff = Backoff::new();
    let mut is_known_down = false;
    loop {
        match open(&dial, &address).await {
            Ok(session) => {
                if is_known_down {
                    tracing::info!(server = %session.address, "redis answers again");
                }
                is_known_down = false;
                backoff = Backoff::new();
                let session = Arc::new(session);
                link.send_replace(Link::Up(session.clone()));
                session.ended.cancelled().await;
                metrics::counter!("roost_redis_disconnects_total").increment(1);
                tracing::warn!(server = %session.address, "the connection to redis is lost");
                link.send_replace(Link::Opening(Instant::now() + GRACE));
            }
            Err(error) => {
                if !is_known_down {
                    tracing::warn!(server = %address, %error, "redis cannot be reached; trying again");
                }
                is_known_down = true;
                let wait = backoff.next();
                link.send_replace(Link::Down { retry_at: Instant::now() + wait, why: Arc::new(error) });
                sleep(wait).await;
            }
        }
    }
}

async fn open(dial: &Dial, address: &Address) -> Result<Session, Unusable> {
    let mode = &dial.config().url.mode;
    let address = match mode {
        RedisMode::Sentinel(service) => sentinel::primary(dial, service).await?,
        RedisMode::Standalone | RedisMode::Cluster => address.clone(),
    };
    let ended = CancellationToken::new();
    let end = ended.clone();
    let heard = move |info: redis::PushInfo| {
        if info.kind == PushKind::Disconnection {
            end.cancel();
        }
    };
    let mut connection = dial.connect(&address, heard).await?;
    let mut server = Server::meet(&mut connection, mode).await?;
    server.began = dial.began(&server.name, server.began);
    Ok(Session { address, server, connection, ended, timeouts: AtomicU32::new(0) })
}
