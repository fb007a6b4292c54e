//! Creating conversations and listing them, by page or after a gap.

use roost_core::event::MessageView;
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::PAGE_DEFAULT;
use roost_core::messaging::{self, InboxEntry};
use roost_core::port::{Clock, ConversationQuery, NewConversation};
use roost_core::source::Sourced;
use roost_core::time::Timestamp;
use roost_function::{Answer, Edge, Reply, Request, Schema, Sync, run};
use serde::{Deserialize, Serialize};

pub(crate) const NEW: Schema =
    Schema::Object(&[("id", Schema::Optional(&Schema::Id)), ("members", Schema::List(&Schema::Id))]);

pub(crate) const CREATED: Schema =
    Schema::Object(&[("id", Schema::Id), ("members", Schema::List(&Schema::Id)), ("updated_at", Schema::Moment)]);

const ENTRY: Schema = Schema::Object(&[
    ("id", Schema::Id),
    ("members", Schema::List(&Schema::Id)),
    ("last_message", Schema::Nullable(&Schema::MESSAGE)),
    ("unread", Schema::Number),
    ("updated_at", Schema::Moment),
]);

pub(crate) const PAGE: Schema = Schema::Object(&[
    ("conversations", Schema::List(&ENTRY)),
    ("next_cursor", Schema::Nullable(&Schema::Text)),
    Schema::SOURCE,
]);

#[derive(Deserialize)]
struct New {
    id: Option<ConversationId>,
    members: Vec<UserId>,
}

#[derive(Serialize)]
struct Created {
    id: ConversationId,
    members: Vec<UserId>,
    updated_at: Timestamp,
}

pub(crate) fn create(request: &Request) -> Answer {
    let New { id, members } = request.body()?;
    let new = NewConversation { id, creator: request.user()?, members, at: Edge.now() };
    let created = run(messaging::create(&Edge, new))?;
    let conversation = created.conversation;
    let view = Created { id: conversation.id, members: conversation.members, updated_at: conversation.updated_at };
    if created.repeated { Reply::ok(&view) } else { Reply::created(&view) }
}

pub(crate) fn page(request: &Request) -> Answer {
    let query = ConversationQuery::Page { cursor: request.query("cursor")?, limit: request.limit()? };
    told(request.user()?, query)
}

/// The conversations that a client missed something in or, when that is unknown, the newest.
pub(crate) fn sync(sync: &Sync) -> Answer {
    let query = match &sync.conversations {
        Some(named) => ConversationQuery::Named(named.clone()),
        None => ConversationQuery::Page { cursor: None, limit: PAGE_DEFAULT },
    };
    told(sync.user, query)
}

fn told(user: UserId, query: ConversationQuery) -> Answer {
    #[derive(Serialize)]
    struct Page<'a> {
        conversations: Vec<Entry<'a>>,
        next_cursor: Option<String>,
    }
    let Sourced { value: page, source } = run(messaging::inbox(&Edge, user, query))?;
    let conversations = page.conversations.iter().map(Entry::from).collect();
    Reply::ok(&Sourced { value: Page { conversations, next_cursor: page.next }, source })
}

#[derive(Serialize)]
struct Entry<'a> {
    id: ConversationId,
    members: &'a [UserId],
    last_message: Option<MessageView<'a>>,
    unread: u64,
    updated_at: Timestamp,
}

impl<'a> From<&'a InboxEntry> for Entry<'a> {
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
