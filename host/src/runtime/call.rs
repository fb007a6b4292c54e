//! One call of a function in the host's own words. The generated bindings stay inside `bindings.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_core::ids::{ConnectionId, ConversationId, UserId};

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user's token, or a service that names a user.
    User(UserId),
    /// A service key on its own.
    Service,
    /// Nobody showed anything.
    Anonymous,
    /// The host itself: hooks and ticks.
    Host,
}

/// What a function is asked.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// On whose behalf.
    pub caller: Caller,
    /// The trace id in the answer and in every log line about this call.
    pub trace: Arc<str>,
    /// The question.
    pub request: Request,
}

/// The question itself.
#[derive(Clone, Debug)]
pub enum Request {
    /// A matched HTTP route.
    Http(HttpRequest),
    /// A socket frame.
    Message {
        /// The socket it came from.
        connection: ConnectionId,
        /// The frame's `type`.
        name: String,
        /// JSON text; `null` when the frame had none.
        payload: String,
    },
    /// A connection opened.
    Connected(Connection),
    /// Connections gave a sign of life; at most [`roost_core::limits::LIST_MAX`].
    Beat(Vec<Connection>),
    /// A connection is gone.
    Disconnected(Connection),
    /// A client asks for the present state.
    Sync {
        /// Whose.
        user: UserId,
        /// Those that the missed events name; `None`: unknown.
        conversations: Option<Vec<ConversationId>>,
    },
    /// A schedule is due.
    Tick {
        /// The schedule's name.
        schedule: String,
        /// Which share of the work.
        shard: u32,
    },
}

/// A matched HTTP request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The route's place in the manifest.
    pub route: u32,
    /// Name and decoded value of each path parameter.
    pub parameters: Vec<(String, String)>,
    /// Name and decoded value, in order.
    pub query: Vec<(String, String)>,
    /// At most 64 KiB.
    pub body: Bytes,
}

/// A user's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub id: ConnectionId,
}

/// A function's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 299.
    pub status: u16,
    /// A JSON value as text; empty: no body.
    pub body: String,
}

/// What kind of failure a function reports; each has one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in wit/handler.wit")]
pub enum FailureKind {
    Invalid,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    RateLimited,
    Unavailable,
    Internal,
}

/// A function's considered refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the HTTP status.
    pub kind: FailureKind,
    /// Stable, `a-z` and `_`.
    pub code: String,
    /// For the caller.
    pub message: String,
    /// Trying again can help.
    pub retry: bool,
    /// After so long, if known.
    pub retry_after: Option<Duration>,
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function said no.
    Failed(Failure),
    /// Its calls in flight and its queue are full. 503 with Retry-After.
    Busy {
        /// Until trying again makes sense.
        retry_after: Duration,
    },
    /// It trapped, ran out of memory, or answered with what is no reply. 502; the log has the reason.
    Trapped,
    /// It was ended at its deadline. 504
    DeadlineExceeded,
    /// Its reply was larger than allowed. 502
    ReplyTooLarge,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "{}: {}", failure.code, failure.message),
            Self::Busy { .. } => f.write_str("the function is busy"),
            Self::Trapped => f.write_str("the function failed"),
            Self::DeadlineExceeded => f.write_str("the function took too long"),
            Self::ReplyTooLarge => f.write_str("the function's reply was too large"),
        }
    }
}

impl std::error::Error for CallError {}
