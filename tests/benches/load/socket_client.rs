//! Sockets in large numbers: each is one task that reads, answers pings and counts what it receives. A refused client comes
//! back after the time that it was told.

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

/// Few enough for the ports of one address.
const SOCKETS_OF_ADDRESS: usize = 20_000;
/// A client that cannot connect after so many tries has failed.
const TRIES_MAX: usize = 200;

/// What the sockets of a run have received, all together.
#[derive(Default)]
pub struct Received {
    /// Events of the type `message.new`.
    pub messages: AtomicU64,
    /// Sockets that the host closed.
    pub closed: AtomicU64,
}

/// How one client was connected.
#[derive(Clone, Copy)]
pub struct Connected {
    /// The time from the first try to `hello`.
    pub took: Duration,
    pub refusals: u64,
    /// Whether `hello` had presence and unread counters.
    pub whole: bool,
}

/// Connects a client, coming back after each refusal. Afterwards a task reads from the socket until it is closed.
pub async fn connect(
    host: SocketAddr,
    (number, user): (usize, Uuid),
    received: Arc<Received>,
) -> anyhow::Result<Connected> {
    let (began, token) = (Instant::now(), Token::of(user).sign());
    for refusals in 0..TRIES_MAX {
        match open(host, number, &token).await? {
            Ok((wire, hello)) => {
                let payload = &hello["payload"];
                let whole = payload["presence"].is_array() && payload["unread"]["total"].is_u64();
                tokio::spawn(read(wire, received));
                return Ok(Connected { took: began.elapsed(), refusals: refusals as u64, whole });
            }
            Err(after) => tokio::time::sleep(after).await,
        }
    }
    bail!("a client was refused {TRIES_MAX} times")
}

type Opened = (WebSocketStream<TcpStream>, Value);

/// Tries once; the inner error is the time after which the host wants the client to come back.
async fn open(host: SocketAddr, number: usize, token: &str) -> anyhow::Result<Result<Opened, Duration>> {
    let source = Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(number / SOCKETS_OF_ADDRESS)?);
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(host).await?;
    let config = WebSocketConfig::default().read_buffer_size(2_048).write_buffer_size(2_048);
    let request = request(host, &format!("?token={token}"));
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((mut wire, _)) => match wire.next().await {
            Some(Ok(Message::Text(hello))) => Ok(Ok((wire, serde_json::from_str(&hello)?))),
            other => bail!("no hello but {other:?}"),
        },
        Err(Error::Http(response)) => Ok(Err(time_of(&response)?)),
        Err(error) => Err(error).context("a socket could not be opened"),
    }
}

fn time_of(response: &tungstenite::http::Response<Option<Vec<u8>>>) -> anyhow::Result<Duration> {
    let problem: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default())?;
    let after = problem["retry_after_ms"].as_u64();
    Ok(Duration::from_millis(after.with_context(|| format!("a refusal without a time: {problem}"))?))
}

async fn read(mut wire: WebSocketStream<TcpStream>, received: Arc<Received>) {
    while let Some(Ok(message)) = wire.next().await {
        if let Message::Text(text) = message
            && text.starts_with("{\"type\":\"message.new\"")
        {
            received.messages.fetch_add(1, Ordering::Relaxed);
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
