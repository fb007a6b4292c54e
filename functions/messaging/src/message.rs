//! Sending, editing, deleting and listing messages, over HTTP and over a socket.

use roost_core::event::MessageView;
use roost_core::ids::{ConversationId, MessageId, Seq};
use roost_core::limits::CONTENT_BYTES_MAX;
use roost_core::messaging;
use roost_core::port::{Clock, Draft, Edit, HistoryQuery};
use roost_function::{Answer, Edge, PathParameter, QueryParameter, Reply, Request, SocketMessage, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CONVERSATION;
use crate::member::actor;

pub(crate) const MESSAGE: PathParameter<MessageId> = PathParameter::new("message");
pub(crate) const BEFORE: QueryParameter<Seq> = QueryParameter::new("before");

/// The type of a message whose sender gives none.
const DEFAULT_KIND: &str = "text";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessageBody {
    /// The message's id. Without one the server chooses it; with one, repeating the request is harmless.
    id: Option<MessageId>,
    /// The kind of content, `text` by default. The server does not interpret it.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._/-]+$"))]
    kind: Option<String>,
    /// The content, at most 16 KiB.
    #[schemars(length(min = 1, max = CONTENT_BYTES_MAX))]
    content: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessagePayload {
    /// The conversation that gets the message.
    conversation: ConversationId,
    /// The message's id. Without one the server chooses it; with one, repeating the frame is harmless.
    id: Option<MessageId>,
    /// The kind of content, `text` by default. The server does not interpret it.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._/-]+$"))]
    kind: Option<String>,
    /// The content, at most 16 KiB.
    #[schemars(length(min = 1, max = CONTENT_BYTES_MAX))]
    content: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewContentBody {
    /// The new content, at most 16 KiB.
    #[schemars(length(min = 1, max = CONTENT_BYTES_MAX))]
    content: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditPayload {
    /// The conversation of the message.
    conversation: ConversationId,
    /// The message to change.
    id: MessageId,
    /// The new content, at most 16 KiB.
    #[schemars(length(min = 1, max = CONTENT_BYTES_MAX))]
    content: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletePayload {
    /// The conversation of the message.
    conversation: ConversationId,
    /// The message to delete.
    id: MessageId,
}

/// A reply to a request that changed a conversation.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Stored<T> {
    #[serde(flatten)]
    value: T,
    /// `delayed` if the members are notified later, because the store is not available. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DeliveryStatus")]
    delivery: Option<DeliveryStatus>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum DeliveryStatus {
    Delayed,
}

impl<T> Stored<T> {
    fn new(value: T, delayed: bool) -> Self {
        Self { value, delivery: delayed.then_some(DeliveryStatus::Delayed) }
    }
}

/// A reply to a deletion over HTTP has no value of its own.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Deleted {}

#[derive(JsonSchema, Serialize)]
pub(crate) struct DeletedMessage {
    /// The conversation of the message.
    conversation: ConversationId,
    /// The message that was deleted.
    id: MessageId,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct History<'a> {
    /// The messages, newest first.
    messages: Vec<MessageView<'a>>,
    /// The value of `before` for the next page. `null` if this is the last page.
    next_before: Option<Seq>,
}

pub(crate) fn post(request: &Request) -> Answer {
    let NewMessageBody { id, kind, content } = request.body()?;
    let (sender, conversation) = (request.user()?, request.path(CONVERSATION)?);
    store(Draft { conversation, sender, id, kind: or_default(kind), content, at: Edge.now() })
}

pub(crate) fn send(message: &SocketMessage) -> Answer {
    let NewMessagePayload { conversation, id, kind, content } = message.payload()?;
    store(Draft { conversation, sender: message.user, id, kind: or_default(kind), content, at: Edge.now() })
}

fn or_default(kind: Option<String>) -> String {
    kind.unwrap_or_else(|| DEFAULT_KIND.to_owned())
}

fn store(draft: Draft) -> Answer {
    let sent = run(messaging::send(&Edge, draft))?;
    let view = Stored::new(MessageView::from(&sent.message), sent.delayed);
    if sent.repeated { Reply::ok(&view) } else { Reply::created(&view) }
}

pub(crate) fn patch(request: &Request) -> Answer {
    let NewContentBody { content } = request.body()?;
    let (conversation, message) = (request.path(CONVERSATION)?, request.path(MESSAGE)?);
    change(Edit { conversation, message, editor: request.user()?, content, at: Edge.now() })
}

pub(crate) fn edit(message: &SocketMessage) -> Answer {
    let EditPayload { conversation, id, content } = message.payload()?;
    change(Edit { conversation, message: id, editor: message.user, content, at: Edge.now() })
}

fn change(edit: Edit) -> Answer {
    let edited = run(messaging::edit(&Edge, edit))?;
    Reply::ok(&Stored::new(MessageView::from(&edited.message), edited.delayed))
}

pub(crate) fn remove(request: &Request) -> Answer {
    let (conversation, message) = (request.path(CONVERSATION)?, request.path(MESSAGE)?);
    let deleted = run(messaging::delete(&Edge, actor(request)?, conversation, message))?;
    if deleted.delayed { Reply::ok(&Stored::new(Deleted {}, true)) } else { Ok(Reply::done()) }
}

pub(crate) fn delete(message: &SocketMessage) -> Answer {
    let DeletePayload { conversation, id } = message.payload()?;
    let deleted = run(messaging::delete(&Edge, Some(message.user), conversation, id))?;
    Reply::ok(&Stored::new(DeletedMessage { conversation, id }, deleted.delayed))
}

pub(crate) fn history(request: &Request) -> Answer {
    let (user, conversation) = (request.user()?, request.path(CONVERSATION)?);
    let query = HistoryQuery { user, conversation, before: request.query(BEFORE)?, limit: request.limit()? };
    let page = run(messaging::history(&Edge, query))?;
    Reply::ok(&History {
        messages: page.messages.iter().map(MessageView::from).collect(),
        next_before: page.next_before,
    })
}
