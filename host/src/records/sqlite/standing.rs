//! Read positions and counters.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Counter, ReadMark, UnreadRequest, UnreadSnapshot};
use roost_core::time::Timestamp;
use serde_json::Value;
use sqlx::SqliteConnection;

use super::fault::Stored;
use super::rows::{Id, list, read_counter, seq};
use super::statements::{COUNTERS_OF_PAIRS, COUNTERS_OF_USERS, MARK_READ};
use super::talk::{Talk, counter};

pub(super) async fn mark_read(
    connection: &mut SqliteConnection,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Stored<ReadMark> {
    let (talk, place) = Talk::of_member(connection, conversation, user).await?;
    let read = up_to.unwrap_or(talk.seq).min(talk.seq);
    let moved = read > place.read;
    if moved {
        sqlx::query(MARK_READ)
            .bind(conversation.blob())
            .bind(user.blob())
            .bind(now().score())
            .bind(seq(read))
            .execute(&mut *connection)
            .await?;
    }
    let counter = counter(connection, conversation, user).await?;
    Ok(ReadMark { counter, moved, members: talk.members })
}

/// A read mark names no moment.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// At most two statements, each one moment: all standings of the users that ask for all, and the named ones.
pub(super) async fn unread(
    connection: &mut SqliteConnection,
    requests: Vec<UnreadRequest>,
) -> Stored<Vec<UnreadSnapshot>> {
    let mut everywhere = Vec::new();
    let mut named = Vec::new();
    for request in &requests {
        match &request.conversations {
            None => everywhere.push(request.user),
            Some(ids) => named.extend(ids.iter().map(|id| Value::from(vec![id.hex(), request.user.hex()]))),
        }
    }
    let all = counters(connection, COUNTERS_OF_USERS, everywhere.is_empty(), list(&everywhere)).await?;
    let some = counters(connection, COUNTERS_OF_PAIRS, named.is_empty(), Value::from(named).to_string()).await?;
    Ok(requests.into_iter().map(|request| snapshot(request, &all, &some)).collect())
}

type Counters = BTreeMap<(UserId, ConversationId), Counter>;

async fn counters(
    connection: &mut SqliteConnection,
    sql: &'static str,
    nobody: bool,
    whose: String,
) -> Stored<Counters> {
    if nobody {
        return Ok(Counters::new());
    }
    let rows = sqlx::query(sql).bind(whose).fetch_all(connection).await?;
    let read = |row| read_counter(row).map(|(user, counter)| ((user, counter.conversation), counter));
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn snapshot(request: UnreadRequest, all: &Counters, some: &Counters) -> UnreadSnapshot {
    let user = request.user;
    let counters = match request.conversations {
        None => {
            let whole = (user, ConversationId::from_u128(0))..=(user, ConversationId::from_u128(u128::MAX));
            all.range(whole).map(|(_, counter)| *counter).collect()
        }
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().filter_map(|id| some.get(&(user, id)).copied()).collect()
        }
    };
    UnreadSnapshot { user, counters }
}
