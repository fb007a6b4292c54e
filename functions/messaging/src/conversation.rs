//! Creating conversations and pairs, and reading them: one, by page, or after a client missed events.

use std::convert::Infallible;
use std::str::FromStr;

use roost_core::event::ConversationView;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::MEMBERS_MAX;
use roost_core::messaging::{self, InboxEntry, InboxPage};
use roost_core::port::{Clock, ConversationQuery, DirectRequest, NewConversation};
use roost_core::source::Sourced;
use roost_function::{Answer, Edge, Failure, QueryParameter, Reply, Request, SyncRequest, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CONVERSATION;

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

const NEITHER_GROUP_NOR_PAIR: &str = "a conversation has either `members`, a group, or `direct`, the other user of a pair; a pair \
    takes no `id`";

/// A conversation has one member more: its creator.
const OTHER_MEMBERS_MAX: usize = MEMBERS_MAX - 1;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["members"], "properties": {"members": {"type": "array"}, "direct": {"type": "null"}}},
    {
        "required": ["direct"],
        "properties": {"direct": {"type": "string"}, "members": {"type": "null"}, "id": {"type": "null"}}
    }
]))]
pub(crate) struct NewConversationBody {
    /// The conversation's id. Without one the server chooses it; with one, repeating the request is harmless.
    id: Option<ConversationId>,
    /// The other members of a group, up to 999. The caller is a member too, named here or not.
    #[schemars(length(max = OTHER_MEMBERS_MAX))]
    members: Option<Vec<UserId>>,
    /// Instead of `members`: the other user of a pair. Two users have one pair, which takes no `id` of the caller's.
    direct: Option<UserId>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct ConversationPage<'a> {
    /// The conversations, newest message first.
    conversations: Vec<ConversationView<'a>>,
    /// The cursor of the next page. `null` if this is the last page.
    next_cursor: Option<String>,
}

pub(crate) fn create(request: &Request) -> Answer {
    let user = request.user()?;
    let at = Edge.now();
    let created = match request.body()? {
        NewConversationBody { id, members: Some(members), direct: None } => {
            run(messaging::create(&Edge, NewConversation { id, creator: user, members, at }))?
        }
        NewConversationBody { id: None, members: None, direct: Some(other) } => {
            run(messaging::create_direct(&Edge, DirectRequest { user, other, may_create: true, at }))?
        }
        _ => return Err(Failure::invalid(NEITHER_GROUP_NOR_PAIR)),
    };
    if !created.repeated {
        return Reply::created(&InboxEntry::of(created.conversation).view());
    }
    let found = run(messaging::conversation(&Edge, user, created.conversation.id))?;
    Reply::ok(&found.value.view())
}

pub(crate) fn get(request: &Request) -> Answer {
    let Sourced { value, source } = run(messaging::conversation(&Edge, request.user()?, request.path(CONVERSATION)?))?;
    Reply::ok(&Sourced { value: value.view(), source })
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
    let conversations = page.conversations.iter().map(InboxEntry::view).collect();
    Reply::ok(&Sourced { value: ConversationPage { conversations, next_cursor: page.next }, source })
}
