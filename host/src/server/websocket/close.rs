//! Every way in which the host closes a socket: code, reason, and what a client should do.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::delivery::OutboxClosed;
use crate::server::problem::ApiError;

/// How long a client should wait if its refusal names no time.
const DEFAULT_RETRY_MS: u128 = 1_000;

/// One reason for which the host closes a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseReason {
    /// The close code: below 4000 a standard one, from 4000 one of Roost.
    pub(crate) code: u16,
    /// The stable name of the reason. Most close frames have it as their text; [`Self::described`] says which do not.
    pub(crate) reason: &'static str,
    /// What the client should do.
    pub(crate) advice: &'static str,
}

/// The client sent a binary frame.
pub(crate) const BINARY_REFUSED: CloseReason = CloseReason {
    code: 1003,
    reason: "binary_refused",
    advice: "send JSON text frames; connecting again does not help",
};
/// The client does not keep to the WebSocket protocol.
pub(crate) const PROTOCOL_ERROR: CloseReason =
    CloseReason { code: 1002, reason: "protocol_error", advice: "correct the client; connecting again does not help" };
/// The client sent text that is not UTF-8.
pub(crate) const NOT_UTF8: CloseReason =
    CloseReason { code: 1007, reason: "not_utf8", advice: "send UTF-8; connecting again does not help" };
/// The client sent a frame that is larger than allowed.
pub(crate) const TOO_LARGE: CloseReason = CloseReason {
    code: 1009,
    reason: "frame_too_large",
    advice: "send smaller frames; connecting again does not help",
};
/// The host is stopping.
pub(crate) const DRAINING: CloseReason =
    CloseReason { code: 1012, reason: "server_draining", advice: "connect again at once, with `since`" };
/// The client of a page could not be connected. In place of `refused` stands the code of the refusal, and how many
/// milliseconds to wait.
pub(crate) const TRY_LATER: CloseReason =
    CloseReason { code: 1013, reason: "refused", advice: "connect again after that time, with `since`" };
/// The client's token has expired.
pub(crate) const TOKEN_EXPIRED: CloseReason =
    CloseReason { code: 4001, reason: "token_expired", advice: "connect again with a new token and `since`" };
/// The client sent no frame and no pong for too long.
pub(crate) const IDLE: CloseReason =
    CloseReason { code: 4002, reason: "idle_timeout", advice: "connect again with `since`; answer pings" };
/// A service has closed the connections of the user. In place of `disconnected` stands the reason that the service
/// gives.
pub(crate) const DISCONNECTED: CloseReason = CloseReason {
    code: 4003,
    reason: "disconnected",
    advice: "a service has closed the user's connections: do not connect again by yourself",
};
/// The client opened the socket without a token and sent none in time, or not a valid one.
pub(crate) const UNAUTHENTICATED: CloseReason = CloseReason {
    code: 4004,
    reason: "unauthenticated",
    advice: "connect again, with a token or with the frame `token` as the first one",
};
/// The client did not read its events fast enough.
pub(crate) const SLOW_CLIENT: CloseReason =
    CloseReason { code: 4008, reason: "slow_client", advice: "connect again with `since`; read faster" };

/// Every reason, by code.
pub(crate) const ALL: [CloseReason; 11] = [
    PROTOCOL_ERROR,
    BINARY_REFUSED,
    NOT_UTF8,
    TOO_LARGE,
    DRAINING,
    TRY_LATER,
    TOKEN_EXPIRED,
    IDLE,
    DISCONNECTED,
    UNAUTHENTICATED,
    SLOW_CLIENT,
];

/// The reason for closing a socket after its outbox was closed.
pub(crate) const fn of_outbox(closed: &OutboxClosed) -> CloseReason {
    match closed {
        OutboxClosed::Overflowed => SLOW_CLIENT,
        OutboxClosed::Disconnected(_) => DISCONNECTED,
    }
}

/// The close frame for this reason. A service gives the text of its own reason.
pub(crate) fn message_of(reason: CloseReason, closed: Option<&OutboxClosed>) -> Message {
    match closed {
        Some(OutboxClosed::Disconnected(given)) if reason == DISCONNECTED => {
            Message::Close(Some(CloseFrame { code: reason.code.into(), reason: given.as_str().into() }))
        }
        _ => reason.message(),
    }
}

/// The close frame for a client of a page that could not be connected.
pub(crate) fn refused(error: &ApiError) -> Message {
    let retry_after_ms = error.retry_after.map_or(DEFAULT_RETRY_MS, |span| span.as_millis());
    let reason = format!("{} retry_after_ms={retry_after_ms}", error.code);
    Message::Close(Some(CloseFrame { code: TRY_LATER.code.into(), reason: reason.into() }))
}

impl CloseReason {
    /// The text of the close frame as the documents describe it.
    pub(crate) fn described(self) -> String {
        match self {
            TRY_LATER => "`<code> retry_after_ms=<n>`".to_owned(),
            DISCONNECTED => "`disconnected`, or the reason that the service gave".to_owned(),
            _ => format!("`{}`", self.reason),
        }
    }

    /// The close frame with this reason.
    pub(crate) fn message(self) -> Message {
        Message::Close(Some(CloseFrame { code: self.code.into(), reason: Utf8Bytes::from_static(self.reason) }))
    }
}
