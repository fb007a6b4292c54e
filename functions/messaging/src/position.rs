//! A reader's position: marking messages as read, over HTTP and as a frame.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::messaging;
use roost_function::{Answer, Edge, Frame, Reply, Request, Schema, run};
use serde::Deserialize;

pub(crate) const UP_TO: Schema = Schema::Object(&[("up_to", Schema::Optional(&Schema::Number))]);

pub(crate) const READ: Schema = Schema::Object(&[
    ("conversation", Schema::Id),
    ("unread", Schema::Number),
    ("total", Schema::Number),
    ("up_to", Schema::Number),
    Schema::SOURCE,
]);

pub(crate) fn post(request: &Request) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        up_to: Option<Seq>,
    }
    let Body { up_to } = request.body()?;
    mark(request.user()?, request.parameter("id")?, up_to)
}

pub(crate) fn read(frame: &Frame) -> Answer {
    #[derive(Deserialize)]
    struct Payload {
        conversation: ConversationId,
        up_to: Option<Seq>,
    }
    let Payload { conversation, up_to } = frame.payload()?;
    mark(frame.user, conversation, up_to)
}

fn mark(user: UserId, conversation: ConversationId, up_to: Option<Seq>) -> Answer {
    Reply::ok(&run(messaging::mark_read(&Edge, user, conversation, up_to))?)
}
