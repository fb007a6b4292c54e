//! Every way in which the host closes a socket: code, reason, and what a client should do.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code: standard ones below 4000, Roost's own from there.
    pub code: u16,
    /// Stable text, for people and logs.
    pub reason: &'static str,
    /// What the client should do.
    pub advice: &'static str,
}

/// A binary frame.
pub const BINARY_REFUSED: Close =
    Close { code: 1003, reason: "binary_refused", advice: "send JSON text frames; connecting again does not help" };
/// Not WebSocket.
pub const PROTOCOL_ERROR: Close =
    Close { code: 1002, reason: "protocol_error", advice: "correct the client; connecting again does not help" };
/// Text that is not UTF-8.
pub const NOT_TEXT: Close =
    Close { code: 1007, reason: "not_utf8", advice: "send UTF-8; connecting again does not help" };
/// A frame beyond the bound.
pub const TOO_LARGE: Close =
    Close { code: 1009, reason: "frame_too_large", advice: "send smaller frames; connecting again does not help" };
/// The host failed.
pub const INTERNAL: Close =
    Close { code: 1011, reason: "internal", advice: "connect again after a pause, with `since`" };
/// The host is stopping.
pub const DRAINING: Close =
    Close { code: 1012, reason: "server_draining", advice: "connect again at once, with `since`" };
/// The store did not answer.
pub const TRY_LATER: Close =
    Close { code: 1013, reason: "store_unavailable", advice: "connect again after a pause, with `since`" };
/// The token's time is over.
pub const TOKEN_EXPIRED: Close =
    Close { code: 4001, reason: "token_expired", advice: "connect again with a new token and `since`" };
/// Nothing was heard of the client.
pub const IDLE: Close =
    Close { code: 4002, reason: "idle_timeout", advice: "connect again with `since`; answer pings" };
/// The client did not read what it was sent.
pub const SLOW_CLIENT: Close =
    Close { code: 4008, reason: "slow_client", advice: "connect again with `since`; read faster" };

/// The whole table, by code.
pub const TABLE: [Close; 10] = [
    PROTOCOL_ERROR,
    BINARY_REFUSED,
    NOT_TEXT,
    TOO_LARGE,
    INTERNAL,
    DRAINING,
    TRY_LATER,
    TOKEN_EXPIRED,
    IDLE,
    SLOW_CLIENT,
];

impl Close {
    /// The frame that says it.
    pub fn message(self) -> Message {
        Message::Close(Some(CloseFrame { code: self.code, reason: Utf8Bytes::from_static(self.reason) }))
    }
}
