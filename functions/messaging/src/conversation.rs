//! Creating conversations and listing them: by page, or after a client missed events.

use std::convert::Infallible;
use std::str::FromStr;

use roost_core::event::MessageView;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::{MEMBERS_MAX, PAGE_DEFAULT};
use roost_core::messaging::{self, InboxEntry};
use roost_core::port::{Clock, ConversationQuery};
use roost_core::source::Sourced;
use roost_core::time::Timestamp;
use roost_function::{Answer, Edge, QueryParameter, Reply, Request, SyncRequest, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const CURSOR: QueryParameter<Cursor> = QueryParameter::new("cursor");

/// The `next_cursor` of an earlier page. Clients do not interpret it.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Cursor(#[schemars(length(min = 1))] String);

impl FromStr for Cursor {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// A conversation has one member more: its creator.
const OTHER_MEMBERS_MAX: usize = MEMBERS_MAX - 1;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConversationBody {
    /// The conversation's id. Without one the server chooses it; with one, repeating the request is harmless.
    id: Option<ConversationId>,
    /// The other members, up to 999. The caller is a member too, named here or not.
    #[schemars(length(max = OTHER_MEMBERS_MAX))]
    members: Vec<UserId>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ConversationView {
    /// The conversation's id.
    id: ConversationId,
    /// The members, including the caller.
    members: Vec<UserId>,
    /// The time at which the conversation was created.
    updated_at: Timestamp,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ConversationPage<'a> {
    /// The conversations, newest activity first.
    conversations: Vec<ConversationEntry<'a>>,
    /// The cursor of the next page. `null` if this is the last page.
    next_cursor: Option<String>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ConversationEntry<'a> {
    /// The conversation's id.
    id: ConversationId,
    /// The members of the conversation.
    members: &'a [UserId],
    /// The newest message that the caller may see. `null` if there is none.
    last_message: Option<MessageView<'a>>,
    /// The messages that the caller has not read.
    unread: u64,
    /// The time of the newest activity.
    updated_at: Timestamp,
}

impl<'a> From<&'a InboxEntry> for ConversationEntry<'a> {
    fn from(entry: &'a InboxEntry) -> Self {
        Self {
            id: entry.id,
            members: &entry.members,
            last_message: entry.last_message.as_ref().map(MessageView::from),
            unread: entry.unread,
            updated_at: entry.updated_at,
        }
    }
}

pub(crate) fn create(request: &Request) -> Answer {
    use roost_core::port;
    let NewConversationBody { id, members } = request.body()?;
    let new = port::NewConversation { id, creator: request.user()?, members, at: Edge.now() };
    let created = run(messaging::create(&Edge, new))?;
    let port::Conversation { id, members, updated_at, .. } = created.conversation;
    let view = ConversationView { id, members, updated_at };
    if created.repeated { Reply::ok(&view) } else { Reply::created(&view) }
}

pub(crate) fn page(request: &Request) -> Answer {
    let cursor = request.query(CURSOR)?.map(|Cursor(cursor)| cursor);
    inbox(request.user()?, ConversationQuery::Page { cursor, limit: request.limit()? })
}

/// The conversations in which a client missed events or, if those are unknown, the newest conversations.
pub(crate) fn sync(sync: &SyncRequest) -> Answer {
    let query = match &sync.conversations {
        Some(named) => ConversationQuery::Named(named.clone()),
        None => ConversationQuery::Page { cursor: None, limit: PAGE_DEFAULT },
    };
    inbox(sync.user, query)
}

fn inbox(user: UserId, query: ConversationQuery) -> Answer {
    let Sourced { value: page, source } = run(messaging::inbox(&Edge, user, query))?;
    let conversations = page.conversations.iter().map(ConversationEntry::from).collect();
    Reply::ok(&Sourced { value: ConversationPage { conversations, next_cursor: page.next }, source })
}
