//! Creating conversations and listing them: by page, or after a client missed events.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use roost_core::event::MessageView;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::limits::MEMBERS_MAX;
use roost_core::messaging::{self, InboxEntry, InboxPage};
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
    /// The first members of the conversation, at most 20, ordered by id.
    members: &'a [UserId],
    /// The number of all members.
    member_count: u64,
    /// The read position of every member, where there are at most 8. Empty otherwise.
    reads: &'a BTreeMap<UserId, Seq>,
    /// The newest message that the caller may see. `null` if there is none.
    last_message: Option<MessageView<'a>>,
    /// The messages that the caller has not read.
    unread: u64,
    /// The caller's own read position: every message up to this sequence number is read.
    read: Seq,
    /// The time of the newest activity.
    updated_at: Timestamp,
}

impl<'a> From<&'a InboxEntry> for ConversationEntry<'a> {
    fn from(entry: &'a InboxEntry) -> Self {
        Self {
            id: entry.id,
            members: &entry.members,
            member_count: entry.member_count,
            reads: &entry.reads,
            last_message: entry.last_message.as_ref().map(MessageView::from),
            unread: entry.unread,
            read: entry.read,
            updated_at: entry.updated_at,
        }
    }
}

pub(crate) fn create(request: &Request) -> Answer {
    use roost_core::port;
    let NewConversationBody { id, members } = request.body()?;
    let user = request.user()?;
    let new = port::NewConversation { id, creator: user, members, at: Edge.now() };
    let created = run(messaging::create(&Edge, new))?;
    if !created.repeated {
        return Reply::created(&ConversationEntry::from(&InboxEntry::of(created.conversation)));
    }
    let named = ConversationQuery::Named(vec![created.conversation.id]);
    let found = run(messaging::inbox(&Edge, user, named))?.value.conversations;
    let entry = found.into_iter().next().unwrap_or_else(|| InboxEntry::of(created.conversation));
    Reply::ok(&ConversationEntry::from(&entry))
}

pub(crate) fn page(request: &Request) -> Answer {
    let cursor = request.query(CURSOR)?.map(|Cursor(cursor)| cursor);
    let query = ConversationQuery::Page { cursor, limit: request.limit()? };
    reply(run(messaging::inbox(&Edge, request.user()?, query))?)
}

/// The conversations in which a client missed events or, if those are unknown or too many, the newest conversations.
pub(crate) fn sync(sync: &SyncRequest) -> Answer {
    reply(run(messaging::sync(&Edge, sync.user, sync.conversations.clone()))?)
}

fn reply(found: Sourced<InboxPage>) -> Answer {
    let Sourced { value: page, source } = found;
    let conversations = page.conversations.iter().map(ConversationEntry::from).collect();
    Reply::ok(&Sourced { value: ConversationPage { conversations, next_cursor: page.next }, source })
}
