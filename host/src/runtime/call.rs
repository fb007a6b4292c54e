//! The types of one call: the invocation, the reply, and the reasons why there is no reply. They are the host's own;
//! `conversions` translates them to and from the generated types of the contract.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_core::ids::{ConnectionId, ConversationId, UserId};
use roost_core::port::Event;

/// On whose behalf a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user, by their own token.
    User(UserId),
    /// A user, by a service that acts for them. Functions see the user.
    ServiceFor(UserId),
    /// A service that acts for itself.
    Service,
    /// A caller without credentials.
    Anonymous,
    /// The host itself, for hooks, ticks and publications.
    Host,
}

/// A call to a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// On whose behalf the call is made.
    pub caller: Caller,
    /// The trace id, which is in the answer and in every log line about this call.
    pub trace: Arc<str>,
    /// What the function is asked.
    pub request: Request,
}

/// What a function is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// An HTTP request for one of its routes.
    Http(HttpRequest),
    /// A socket frame.
    Message {
        /// The connection that sent the frame.
        connection: ConnectionId,
        /// The `type` of the frame.
        name: String,
        /// The payload as JSON text; `null` if the frame had none.
        payload: String,
    },
    /// A connection was opened.
    Connected(Connection),
    /// These connections showed activity since the last heartbeat; at most [`roost_core::limits::LIST_MAX`].
    Heartbeat(Vec<Connection>),
    /// A connection was closed.
    Disconnected(Connection),
    /// A client asks for the current state.
    Sync {
        /// The user of the client.
        user: UserId,
        /// The conversations named by the events that the client missed; `None` if they are unknown.
        conversations: Option<Vec<ConversationId>>,
    },
    /// A schedule is due.
    Tick {
        /// The name of the schedule.
        schedule: String,
        /// The shard that this tick is for.
        shard: u32,
    },
    /// An event was published.
    Publication(PublishedEvent),
}

impl Request {
    /// How many publications led to this call.
    pub(super) const fn depth(&self) -> u32 {
        match self {
            Self::Publication(published) => published.depth,
            _ => 0,
        }
    }
}

/// The publication of an event, for a function that is called for its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// The same for every call about this publication.
    pub id: String,
    /// The event that was published.
    pub event: Event,
    /// The users to whom it was published.
    pub users: Vec<UserId>,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How many publications led to this one, each by a function that was called for the one before.
    pub depth: u32,
}

/// An HTTP request that matched a route.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The index of the route in the manifest.
    pub route: u32,
    /// Name and decoded value of each path parameter.
    pub parameters: Vec<(String, String)>,
    /// Name and decoded value of each query parameter, in the order of the request.
    pub query: Vec<(String, String)>,
    /// The body of the request, at most 64 KiB.
    pub body: Bytes,
}

/// A user's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The user who is connected.
    pub user: UserId,
    /// The id of the connection.
    pub id: ConnectionId,
}

/// The answer of a function that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// A JSON value as text; empty if the reply has no body.
    pub body: String,
}

/// The kinds of failure that a function can report; each has one HTTP status.
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

/// A failure that a function reports on purpose, such as a request that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Determines the HTTP status.
    pub kind: FailureKind,
    /// A stable code of the letters `a-z` and `_`.
    pub code: String,
    /// The explanation for the caller.
    pub message: String,
    /// Whether trying again can help.
    pub retry: bool,
    /// When to try again, if that is known.
    pub retry_after: Option<Duration>,
}

/// The reasons why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function reported a failure.
    Failed(Failure),
    /// As many calls run and wait as the function may have. Answered with 503 and `Retry-After`.
    Busy {
        /// How long the caller should wait before it tries again.
        retry_after: Duration,
    },
    /// The function trapped, ran out of memory, or answered with something that is not a reply. Answered with 502; the
    /// log has the reason.
    Trapped,
    /// The call was ended at its deadline. Answered with 504.
    DeadlineExceeded,
    /// The reply was larger than allowed. Answered with 502.
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
