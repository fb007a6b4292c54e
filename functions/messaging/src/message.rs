//! Sending, editing, deleting and reading back messages, over HTTP and as frames.

use std::collections::BTreeMap;

use roost_core::event::MessageView;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::messaging;
use roost_core::port::{Clock, Draft, Edit, HistoryQuery};
use roost_function::{Answer, Edge, Frame, Reply, Request, Schema, run};
use serde::{Deserialize, Serialize};

pub(crate) const DRAFT: Schema = Schema::Object(&[
    ("id", Schema::Optional(&Schema::Id)),
    ("type", Schema::Optional(&Schema::Text)),
    ("content", Schema::Text),
]);

pub(crate) const CONTENT: Schema = Schema::Object(&[("content", Schema::Text)]);

pub(crate) const HISTORY: Schema =
    Schema::Object(&[("messages", Schema::List(&Schema::MESSAGE)), ("next_before", Schema::Nullable(&Schema::Number))]);

/// Only there when the members are told later, because the store is away.
const DELIVERY: (&str, Schema) = ("delivery", Schema::Optional(&Schema::Word(&[DELAYED])));
const DELAYED: &str = "delayed";

pub(crate) const STORED: Schema = Schema::With(&Schema::MESSAGE, &[DELIVERY]);
pub(crate) const LATER: Schema = Schema::Object(&[DELIVERY]);

/// What is stored, and whether the members are told of it later.
#[derive(Serialize)]
struct Stored<T> {
    #[serde(flatten)]
    what: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'static str>,
}

impl<T> Stored<T> {
    fn new(what: T, delayed: bool) -> Self {
        Self { what, delivery: delayed.then_some(DELAYED) }
    }
}

/// A message's type when the client does not say.
const KIND: &str = "text";

pub(crate) fn post(request: &Request) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        id: Option<MessageId>,
        #[serde(rename = "type")]
        kind: Option<String>,
        content: String,
    }
    let Body { id, kind, content } = request.body()?;
    let (sender, conversation) = (request.user()?, request.parameter("id")?);
    store(Draft { conversation, sender, id, kind: kind.unwrap_or_else(|| KIND.to_owned()), content, at: Edge.now() })
}

pub(crate) fn send(frame: &Frame) -> Answer {
    #[derive(Deserialize)]
    struct Payload {
        conversation: ConversationId,
        id: Option<MessageId>,
        #[serde(rename = "type")]
        kind: Option<String>,
        content: String,
    }
    let Payload { conversation, id, kind, content } = frame.payload()?;
    let kind = kind.unwrap_or_else(|| KIND.to_owned());
    store(Draft { conversation, sender: frame.user, id, kind, content, at: Edge.now() })
}

fn store(draft: Draft) -> Answer {
    let sent = run(messaging::send(&Edge, draft))?;
    let view = Stored::new(MessageView::from(&sent.message), sent.delayed);
    if sent.repeated { Reply::ok(&view) } else { Reply::created(&view) }
}

pub(crate) fn patch(request: &Request) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        content: String,
    }
    let Body { content } = request.body()?;
    let (conversation, message) = (request.parameter("id")?, request.parameter("message")?);
    change(Edit { conversation, message, editor: request.user()?, content, at: Edge.now() })
}

pub(crate) fn edit(frame: &Frame) -> Answer {
    #[derive(Deserialize)]
    struct Payload {
        conversation: ConversationId,
        id: MessageId,
        content: String,
    }
    let Payload { conversation, id, content } = frame.payload()?;
    change(Edit { conversation, message: id, editor: frame.user, content, at: Edge.now() })
}

fn change(edit: Edit) -> Answer {
    let edited = run(messaging::edit(&Edge, edit))?;
    Reply::ok(&Stored::new(MessageView::from(&edited.message), edited.delayed))
}

pub(crate) fn remove(request: &Request) -> Answer {
    let (conversation, message) = (request.parameter("id")?, request.parameter("message")?);
    let deleted = run(messaging::delete(&Edge, request.user()?, conversation, message))?;
    // A map without entries: only the delivery has something to say.
    let nothing = BTreeMap::<&str, &str>::new();
    if deleted.delayed { Reply::ok(&Stored::new(nothing, true)) } else { Ok(Reply::done()) }
}

pub(crate) fn delete(frame: &Frame) -> Answer {
    #[derive(Deserialize, Serialize)]
    struct Which {
        conversation: ConversationId,
        id: MessageId,
    }
    let which: Which = frame.payload()?;
    let deleted = run(messaging::delete(&Edge, frame.user, which.conversation, which.id))?;
    Reply::ok(&Stored::new(which, deleted.delayed))
}

pub(crate) fn history(request: &Request) -> Answer {
    #[derive(Serialize)]
    struct History<'a> {
        messages: Vec<MessageView<'a>>,
        next_before: Option<Seq>,
    }
    let user: UserId = request.user()?;
    let before = request.query("before")?.map(Seq);
    let query = HistoryQuery { user, conversation: request.parameter("id")?, before, limit: request.limit()? };
    let page = run(messaging::history(&Edge, query))?;
    Reply::ok(&History {
        messages: page.messages.iter().map(MessageView::from).collect(),
        next_before: page.next_before,
    })
}
