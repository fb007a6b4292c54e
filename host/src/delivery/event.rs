//! Events as clients receive them: a socket frame or a server-sent event, each encoded once for all connections of a
//! user. Golden files fix both forms. Delivery itself is in the other files of this folder.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use roost_core::feed::Position;
use roost_core::port::Delivery;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ops::metrics;
use crate::server::problem::{ApiError, ErrorCode, encode};

/// Sent when events were missed that cannot be replayed.
pub(crate) const RESYNC: &str = "resync";
/// Sent when the host is about to close the connection.
pub(crate) const DRAINING: &str = "server.draining";
/// The first frame of every connection.
pub(crate) const HELLO: &str = "hello";
/// The current state: the answer to a client's `sync`, or pushed after the host may have missed ephemeral events.
pub(crate) const SYNC: &str = "sync";

/// Why a client must fetch the current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ResyncReason {
    /// The feed no longer reaches back to the client's position.
    Gap,
    /// The host missed events and could not read the current state.
    Interrupted,
}

impl ResyncReason {
    /// The name in frames and in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One event to be sent to clients.
#[derive(Debug)]
pub(crate) struct PushedFrame {
    name: Arc<str>,
    payload: Arc<str>,
    position: Option<Position>,
    /// The position that a `resync` moves the client to.
    resync_from: Option<Position>,
    socket_text: OnceLock<Utf8Bytes>,
    server_sent: OnceLock<Bytes>,
}

impl PushedFrame {
    /// An event without a position in the feed.
    pub(crate) fn ephemeral(name: &str, payload: String) -> Self {
        Self::new(name.into(), payload.into(), None)
    }

    /// A `resync`: the events that follow it come after this position.
    pub(crate) fn resync(reason: ResyncReason, from: &Position) -> Self {
        metrics::RESYNCS.of([reason.as_str()]).inc();
        let frame = Self::ephemeral(RESYNC, encode(&Resync::new(reason, from)));
        Self { resync_from: Some(from.clone()), ..frame }
    }

    /// A `server.draining`: the host closes the connection after this time.
    pub(crate) fn draining(wait: Duration) -> Self {
        let close_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self::ephemeral(DRAINING, encode(&Draining { close_in_ms }))
    }

    fn new(name: Arc<str>, payload: Arc<str>, position: Option<Position>) -> Self {
        Self { name, payload, position, resync_from: None, socket_text: OnceLock::new(), server_sent: OnceLock::new() }
    }

    /// The position in the feed; ephemeral events have none.
    pub(crate) const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Where this frame takes its client: its position in the feed, or that of a `resync`.
    pub(crate) fn position_of_client(&self) -> Option<&Position> {
        self.position.as_ref().or(self.resync_from.as_ref())
    }

    /// Roughly the bytes that the frame takes on the wire.
    pub(crate) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        self.name.len() + self.payload.len() + OVERHEAD
    }

    /// The socket frame.
    pub(crate) fn text(&self) -> Utf8Bytes {
        self.socket_text.get_or_init(|| self.encode_text().into()).clone()
    }

    /// The server-sent event.
    pub(crate) fn server_sent(&self) -> Bytes {
        self.server_sent.get_or_init(|| server_sent(&self.name, &self.payload, self.position.as_ref()).into()).clone()
    }

    /// The frame's JSON text, encoded anew. An answer to `sync` holds events in the same form.
    pub(crate) fn encode_text(&self) -> String {
        let mut text = String::with_capacity(self.bytes() + 32);
        let name = encode(&self.name);
        let _ = write!(text, "{{\"type\":{name},\"payload\":{}", self.payload);
        if let Some(Position { epoch, offset }) = &self.position {
            let _ = write!(text, ",\"epoch\":\"{epoch}\",\"offset\":{offset}");
        }
        text.push('}');
        text
    }
}

impl From<Delivery> for PushedFrame {
    fn from(delivery: Delivery) -> Self {
        Self::new(delivery.name, delivery.payload, delivery.position)
    }
}

/// The payload of `resync`: the reason, and the position after which the next events come.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(crate) struct Resync<'a> {
    /// Why events are missing.
    reason: ResyncReason,
    /// The epoch of the position after which the next events come.
    epoch: &'a str,
    /// The offset of the position after which the next events come.
    offset: u64,
}

impl<'a> Resync<'a> {
    /// The next events come after this position.
    pub(crate) fn new(reason: ResyncReason, from: &'a Position) -> Self {
        Self { reason, epoch: &from.epoch, offset: from.offset }
    }
}

/// The payload of `server.draining`.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub(crate) struct Draining {
    /// The host is stopping, and closes this connection after this time.
    close_in_ms: u64,
}

/// One server-sent event. The payload is JSON: it may hold line breaks between its tokens, never inside its strings.
pub(crate) fn server_sent(name: &str, payload: &str, position: Option<&Position>) -> String {
    let mut text = String::with_capacity(payload.len() + name.len() + 64);
    if let Some(position) = position {
        let _ = writeln!(text, "id: {position}");
    }
    let _ = writeln!(text, "event: {name}");
    for line in payload.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    text
}

/// Parses a client's position: that of the last event which it has. Public for the parser tests.
pub fn parse_since(text: &str) -> Result<Position, ApiError> {
    let detail = "`since` (or `Last-Event-ID`) is a position `<epoch>:<offset>`, such as `k3f9:17`, as `hello` and every \
                  durable event carry it; leave it out to start without one";
    text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidSince, detail))
}
