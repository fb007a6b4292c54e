//! Read positions: marking messages as read, over HTTP and over a socket.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::messaging;
use roost_function::{Answer, Edge, Reply, Request, SocketMessage, run};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::CONVERSATION;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadBody {
    /// The sequence number up to which everything is read. Without it, everything is read.
    up_to: Option<Seq>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadPayload {
    /// The conversation that was read.
    conversation: ConversationId,
    /// The sequence number up to which everything is read. Without it, everything is read.
    up_to: Option<Seq>,
}

pub(crate) fn post(request: &Request) -> Answer {
    let ReadBody { up_to } = request.body()?;
    mark_read(request.user()?, request.path(CONVERSATION)?, up_to)
}

pub(crate) fn read(message: &SocketMessage) -> Answer {
    let ReadPayload { conversation, up_to } = message.payload()?;
    mark_read(message.user, conversation, up_to)
}

fn mark_read(user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer {
    Reply::ok(&run(messaging::mark_read(&Edge, user, conversation, up_to))?)
}
