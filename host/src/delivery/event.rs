//! What a client is pushed: one event in its wire forms, each encoded once for all connections of a user.
//!
//! Golden files hold every form. Nothing here delivers.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use roost_core::feed::Position;
use roost_core::port::Delivery;
use serde::Serialize;

use crate::server::problem::{ApiError, Code, encode};

/// Told when events cannot be told in order, each once.
pub const RESYNC: &str = "resync";
/// Told when the host is about to close its connections.
pub const DRAINING: &str = "server.draining";
/// The first thing that a connection is told.
pub const HELLO: &str = "hello";
/// The present state, in answer to a client or after the host missed something that no feed keeps.
pub const SYNC: &str = "sync";

/// Why a client must fetch the present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncReason {
    /// The feed no longer reaches back to the client's position.
    Gap,
    /// The host missed events and could not put together what they changed.
    Interrupted,
}

impl ResyncReason {
    /// As it stands in the frame and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One event on its way to clients.
#[derive(Debug)]
pub struct PushedFrame {
    name: Arc<str>,
    payload: Arc<str>,
    position: Option<Position>,
    text: OnceLock<Utf8Bytes>,
    stream: OnceLock<Bytes>,
}

impl PushedFrame {
    /// An event without a place in the feed.
    pub fn ephemeral(name: &str, payload: String) -> Self {
        Self::of(name.into(), payload.into(), None)
    }

    /// `resync`: what follows begins at this position.
    pub fn resync(reason: ResyncReason, from: &Position) -> Self {
        metrics::counter!("roost_resyncs_total", "reason" => reason.as_str()).increment(1);
        Self::ephemeral(RESYNC, encode(&Resync::new(reason, from)))
    }

    fn of(name: Arc<str>, payload: Arc<str>, position: Option<Position>) -> Self {
        Self { name, payload, position, text: OnceLock::new(), stream: OnceLock::new() }
    }

    /// Its place in the feed.
    pub const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// About what it takes on the wire.
    pub fn cost(&self) -> usize {
        const AROUND: usize = 64;
        self.name.len() + self.payload.len() + AROUND
    }

    /// The socket frame.
    pub fn text(&self) -> Utf8Bytes {
        self.text.get_or_init(|| self.encode_text().into()).clone()
    }

    /// The server-sent event.
    pub fn server_sent(&self) -> Bytes {
        self.stream.get_or_init(|| server_sent(&self.name, &self.payload, self.position.as_ref()).into()).clone()
    }

    /// The frame as part of an answer to `sync`.
    pub fn encode_text(&self) -> String {
        let mut text = String::with_capacity(self.cost() + 32);
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
        Self::of(delivery.name, delivery.payload, delivery.position)
    }
}

/// The payload of `resync`: why, and the position that what follows begins after.
#[derive(Clone, Debug, Serialize)]
pub struct Resync<'a> {
    reason: &'static str,
    epoch: &'a str,
    offset: u64,
}

impl<'a> Resync<'a> {
    /// What follows begins after this position.
    pub fn new(reason: ResyncReason, from: &'a Position) -> Self {
        Self { reason: reason.as_str(), epoch: &from.epoch, offset: from.offset }
    }
}

/// One server-sent event. The payload may hold line breaks between its tokens, never inside its strings.
pub fn server_sent(name: &str, payload: &str, position: Option<&Position>) -> String {
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

/// Reads `since`: the position of the last event that the client has.
pub fn parse_since(text: &str) -> Result<Position, ApiError> {
    text.parse().map_err(|error: roost_core::feed::PositionError| ApiError::new(Code::InvalidSince, error.to_string()))
}
