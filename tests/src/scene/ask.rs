//! One request of a benchmark, before it becomes a call, a line of HTTP or a native function's arguments.

use roost::runtime::Caller;
use roost_core::ids::{ConversationId, UserId};

/// Who asks what.
#[derive(Clone, Debug)]
pub struct Ask {
    /// A user or a backend.
    pub caller: Caller,
    /// What.
    pub question: Question,
    /// JSON text.
    pub body: String,
}

/// A route with its path parameters.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each is the route that `Question::route` spells")]
pub enum Question {
    Beat,
    Presence(UserId),
    PresenceOf,
    Unread,
    UnreadOf(ConversationId),
    Read(ConversationId),
    Send(ConversationId),
    Inbox,
}

impl Question {
    /// Method and path.
    pub fn route(&self) -> (&'static str, String) {
        match self {
            Self::Beat => ("POST", "/v1/presence".into()),
            Self::Presence(user) => ("GET", format!("/v1/presence/{user}")),
            Self::PresenceOf => ("POST", "/v1/presence/query".into()),
            Self::Unread => ("GET", "/v1/unread".into()),
            Self::UnreadOf(conversation) => ("GET", format!("/v1/unread/{conversation}")),
            Self::Read(conversation) => ("POST", format!("/v1/conversations/{conversation}/read")),
            Self::Send(conversation) => ("POST", format!("/v1/conversations/{conversation}/messages")),
            Self::Inbox => ("GET", "/v1/conversations".into()),
        }
    }

    /// Takes a body.
    pub fn has_body(&self) -> bool {
        self.route().0 == "POST"
    }
}
