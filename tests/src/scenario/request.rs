//! One request of a benchmark, before it becomes a function call, an HTTP request or the arguments of a native
//! function.

use roost::runtime::Caller;
use roost_core::ids::{ConversationId, UserId};

/// A request with its caller and body.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// The caller: a user or a backend.
    pub caller: Caller,
    /// The route with its path parameters.
    pub question: ApiRoute,
    /// The body as JSON text.
    pub body: String,
}

/// A route with its path parameters.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each is the route that `Question::route` spells")]
pub enum ApiRoute {
    Heartbeat,
    Presence(UserId),
    PresenceOf,
    Unread,
    UnreadOf(ConversationId),
    Read(ConversationId),
    Send(ConversationId),
    Inbox,
}

impl ApiRoute {
    /// The HTTP method and the path.
    pub fn route(&self) -> (&'static str, String) {
        match self {
            Self::Heartbeat => ("POST", "/v1/presence".into()),
            Self::Presence(user) => ("GET", format!("/v1/presence/{user}")),
            Self::PresenceOf => ("POST", "/v1/presence/query".into()),
            Self::Unread => ("GET", "/v1/unread".into()),
            Self::UnreadOf(conversation) => ("GET", format!("/v1/unread/{conversation}")),
            Self::Read(conversation) => ("POST", format!("/v1/conversations/{conversation}/read")),
            Self::Send(conversation) => ("POST", format!("/v1/conversations/{conversation}/messages")),
            Self::Inbox => ("GET", "/v1/conversations".into()),
        }
    }

    /// Whether the route takes a body.
    pub fn has_body(&self) -> bool {
        self.route().0 == "POST"
    }
}
