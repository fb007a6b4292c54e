//! The answers of the native server: the same JSON as the built-in functions give, without a function.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use roost::runtime::Caller;
use roost_core::event::{self, MessageView};
use roost_core::ids::{ConnectionId, ConversationId, MessageId, Seq, UserId};
use roost_core::limits::{HEARTBEAT_INTERVAL_MS, PAGE_DEFAULT};
use roost_core::messaging;
use roost_core::port::{Clock, ConversationQuery, Draft};
use roost_core::presence::{self, Viewer};
use roost_core::source::Sourced;
use roost_core::time::Timestamp;
use roost_core::unread;
use serde::{Deserialize, Serialize};
use serde_json::from_slice;

use super::NativeWorld;
use crate::scenario::ApiRoute;

/// The body of an answer, as JSON text.
type Answered = anyhow::Result<String>;

/// Answers a request as the built-in functions do.
pub async fn answer(world: &NativeWorld, caller: Caller, question: ApiRoute, body: &[u8]) -> Answered {
    match question {
        ApiRoute::Heartbeat => heartbeat(world, user(caller)?, body).await,
        ApiRoute::Presence(of) => {
            let found = presence::query(world, viewer(caller)?, &[of]).await?;
            json(found.first().context("an answer for each user")?)
        }
        ApiRoute::PresenceOf => presence_of(world, viewer(caller)?, body).await,
        ApiRoute::Unread => unread_all(world, user(caller)?).await,
        ApiRoute::UnreadOf(conversation) => unread_of(world, user(caller)?, conversation).await,
        ApiRoute::Read(conversation) => read(world, user(caller)?, conversation, body).await,
        ApiRoute::Send(conversation) => send(world, user(caller)?, conversation, body).await,
        ApiRoute::Inbox => inbox(world, user(caller)?).await,
    }
}

fn user(caller: Caller) -> anyhow::Result<UserId> {
    if let Caller::User(user) = caller { Ok(user) } else { Err(anyhow!("no user asks")) }
}

fn viewer(caller: Caller) -> anyhow::Result<Viewer> {
    if caller == Caller::Service { Ok(Viewer::Service) } else { user(caller).map(Viewer::User) }
}

fn json(value: &impl Serialize) -> Answered {
    Ok(serde_json::to_string(value)?)
}

async fn heartbeat(world: &NativeWorld, user: UserId, body: &[u8]) -> Answered {
    #[derive(Deserialize)]
    struct Device {
        connection: ConnectionId,
    }
    #[derive(Serialize)]
    struct NextHeartbeat {
        beat_interval_ms: u64,
    }
    let Device { connection } = from_slice(body)?;
    presence::heartbeat(world, &[(user, connection)]).await?;
    json(&NextHeartbeat { beat_interval_ms: HEARTBEAT_INTERVAL_MS })
}

async fn presence_of(world: &NativeWorld, viewer: Viewer, body: &[u8]) -> Answered {
    #[derive(Deserialize)]
    struct Users {
        users: Vec<UserId>,
    }
    let Users { users } = from_slice(body)?;
    Ok(event::presence_list(&presence::query(world, viewer, &users).await?)?)
}

async fn unread_all(world: &NativeWorld, user: UserId) -> Answered {
    #[derive(Serialize)]
    struct Totals {
        total: u64,
        conversations: BTreeMap<ConversationId, u64>,
    }
    let found = unread::totals(world, user).await?;
    json(&found.map(|totals| {
        let unread::UnreadPage { total, conversations, .. } = unread::page(totals, None);
        Totals { total, conversations }
    }))
}

async fn unread_of(world: &NativeWorld, user: UserId, conversation: ConversationId) -> Answered {
    #[derive(Serialize)]
    struct One {
        conversation: ConversationId,
        unread: u64,
    }
    let found = unread::of_conversation(world, user, conversation).await?;
    json(&found.map(|unread| One { conversation, unread }))
}

async fn read(world: &NativeWorld, user: UserId, conversation: ConversationId, body: &[u8]) -> Answered {
    #[derive(Deserialize)]
    struct UpTo {
        up_to: Option<Seq>,
    }
    let UpTo { up_to } = from_slice(body)?;
    json(&messaging::mark_read(world, user, conversation, up_to).await?)
}

async fn send(world: &NativeWorld, sender: UserId, conversation: ConversationId, body: &[u8]) -> Answered {
    #[derive(Deserialize)]
    struct Body {
        id: Option<MessageId>,
        #[serde(rename = "type")]
        kind: Option<String>,
        content: String,
    }
    let Body { id, kind, content } = from_slice(body)?;
    let kind = kind.unwrap_or_else(|| "text".to_owned());
    let sent = messaging::send(world, Draft { conversation, sender, id, kind, content, at: world.now() }).await?;
    json(&MessageView::from(&sent.message))
}

async fn inbox(world: &NativeWorld, user: UserId) -> Answered {
    #[derive(Serialize)]
    struct Page<'a> {
        conversations: Vec<Entry<'a>>,
        next_cursor: Option<String>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        id: ConversationId,
        members: &'a [UserId],
        member_count: u64,
        reads: &'a BTreeMap<UserId, Seq>,
        last_message: Option<MessageView<'a>>,
        unread: u64,
        read: Seq,
        updated_at: Timestamp,
    }
    let query = ConversationQuery::Page { cursor: None, limit: PAGE_DEFAULT };
    let Sourced { value: page, source } = messaging::inbox(world, user, query).await?;
    let entries = page.conversations.iter().map(|entry| Entry {
        id: entry.id,
        members: &entry.members,
        member_count: entry.member_count,
        reads: &entry.reads,
        last_message: entry.last_message.as_ref().map(MessageView::from),
        unread: entry.unread,
        read: entry.read,
        updated_at: entry.updated_at,
    });
    json(&Sourced { value: Page { conversations: entries.collect(), next_cursor: page.next }, source })
}
