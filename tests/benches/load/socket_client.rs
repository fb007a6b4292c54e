//! Sockets in large numbers: each is one task that reads, answers pings and counts what it receives. A refused client
//! comes back after the time that it was told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use roost_tests::socket::request;
use roost_tests::token::Token;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};
use uuid::Uuid;

/// Few enough for the ports of one address, those of refused connections included, which stay in use for a minute.
const SOCKETS_OF_ADDRESS: usize = 5_000;
/// A client that cannot connect after so many tries has failed.
const TRIES_MAX: usize = 200;
/// A client that was not told when to come back does so after this time.
const UNTIMED_PAUSE: Duration = Duration::from_secs(1);

/// What the sockets of a run have received, all together.
#[derive(Default)]
pub struct Received {
    /// Events of the type `message.new`.
    pub messages: AtomicU64,
    /// Current states that the host pushed, or asked to be fetched, because events may be missing.
    pub refreshes: AtomicU64,
    /// Sockets that the host closed.
    pub closed: AtomicU64,
}

/// How one client was connected.
#[derive(Clone, Copy, Default)]
pub struct Connected {
    /// The time from the first try to `hello`.
    pub took: Duration,
    /// Refusals that say when to come back.
    pub refusals: u64,
    /// Refusals that do not.
    pub untimed: u64,
    /// Connections that ended without an answer.
    pub broken: u64,
    /// Whether `hello` had presence and unread counters.
    pub whole: bool,
}

/// The outcome of an attempt to connect.
enum Opening {
    Opened(Box<(WebSocketStream<TcpStream>, Value)>),
    /// Refused, with the time after which the client shall come back.
    Refused(Option<Duration>),
    /// The connection ended before `hello`, for this reason.
    Broken(String),
}

/// Connects a client, coming back after each refusal. Afterwards a task reads from the socket until it is closed.
pub async fn connect(
    host: SocketAddr,
    (number, user): (usize, Uuid),
    received: Arc<Received>,
) -> anyhow::Result<Connected> {
    let (began, token) = (Instant::now(), Token::of(user).sign());
    let (mut connected, mut reason) = (Connected::default(), String::from("refused"));
    for _ in 0..TRIES_MAX {
        match attempt(host, number, &token).await? {
            Opening::Opened(opened) => {
                let (wire, hello) = *opened;
                let payload = &hello["payload"];
                connected.whole = hello["type"] == "hello"
                    && payload["presence"].is_array()
                    && payload["unread"]["total"].is_u64()
                    && payload["unread"]["conversations"].is_object();
                connected.took = began.elapsed();
                tokio::spawn(read(wire, received));
                return Ok(connected);
            }
            Opening::Refused(Some(after)) => {
                connected.refusals += 1;
                tokio::time::sleep(after).await;
            }
            Opening::Refused(None) => {
                connected.untimed += 1;
                tokio::time::sleep(UNTIMED_PAUSE).await;
            }
            Opening::Broken(why) => {
                connected.broken += 1;
                reason = why;
                tokio::time::sleep(UNTIMED_PAUSE).await;
            }
        }
    }
    bail!("a client could not connect with {TRIES_MAX} tries: {reason}")
}

/// Tries once. Fails if this machine cannot open another socket.
async fn attempt(host: SocketAddr, number: usize, token: &str) -> anyhow::Result<Opening> {
    let source = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(number / SOCKETS_OF_ADDRESS)?);
    let socket = TcpSocket::new_v4().context("a socket of the client")?;
    socket.bind((source, 0).into()).with_context(|| format!("a port of {source}"))?;
    let stream = match socket.connect(host).await {
        Ok(stream) => stream,
        Err(error) => return Ok(Opening::Broken(error.to_string())),
    };
    let config = WebSocketConfig::default().read_buffer_size(2_048).write_buffer_size(2_048);
    let request = request(host, &format!("?token={token}"));
    Ok(match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((mut wire, _)) => match wire.next().await {
            Some(Ok(Message::Text(hello))) => {
                let hello = serde_json::from_str(&hello)?;
                Opening::Opened(Box::new((wire, hello)))
            }
            other => Opening::Broken(format!("no hello but {other:?}")),
        },
        Err(Error::Http(response)) => Opening::Refused(time_of(&response)),
        Err(error) => Opening::Broken(error.to_string()),
    })
}

/// The time after which a refused client shall come back: as the problem document says, in milliseconds, or as the
/// header says, if the document has not arrived together with it.
fn time_of(response: &tungstenite::http::Response<Option<Vec<u8>>>) -> Option<Duration> {
    let problem: Option<Value> = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).ok();
    match problem.and_then(|problem| problem["retry_after_ms"].as_u64()) {
        Some(milliseconds) => Some(Duration::from_millis(milliseconds)),
        None => response.headers().get("retry-after")?.to_str().ok()?.parse().ok().map(Duration::from_secs),
    }
}

async fn read(mut wire: WebSocketStream<TcpStream>, received: Arc<Received>) {
    while let Some(Ok(message)) = wire.next().await {
        let Message::Text(text) = message else { continue };
        if text.starts_with("{\"type\":\"message.new\"") {
            received.messages.fetch_add(1, Ordering::Relaxed);
        } else if ["{\"type\":\"sync\"", "{\"type\":\"resync\""].iter().any(|head| text.starts_with(head)) {
            received.refreshes.fetch_add(1, Ordering::Relaxed);
        }
    }
    received.closed.fetch_add(1, Ordering::Relaxed);
}

/// Fails with a hint if the process may not open so many files.
pub fn require_files(sockets: usize) -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("the limit of open files")?;
    let allowed = line.split_whitespace().nth(3).and_then(|number| number.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let needed = sockets + 200;
    if allowed < needed {
        bail!("{sockets} sockets need {needed} open files, and {allowed} are allowed: raise `ulimit -n`, or use fewer");
    }
    Ok(())
}
