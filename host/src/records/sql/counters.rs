//! Read positions and counters.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Counter, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot};
use roost_core::time::Timestamp;

use super::rows::read_counter;
use super::talk::Talk;
use super::values::{Id, Value};
use super::{Sql, Stored, lock, run};

pub(super) async fn mark_read<C: Sql>(
    sql: &mut C,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> Stored<ReadMark> {
    lock(sql, C::STATEMENTS.lock_member, vec![conversation.into(), user.into()]).await?;
    let (talk, place) = Talk::of_member(sql, conversation, user).await?;
    let read = up_to.unwrap_or(talk.seq).min(talk.seq);
    let moved = read > place.read;
    if moved {
        run(sql, C::STATEMENTS.mark_read, vec![conversation.into(), user.into(), now().into(), read.into()]).await?;
    }
    let counter =
        counters(sql, C::STATEMENTS.counters_of_pairs, Value::Pairs(vec![(conversation.bits(), user.bits())]));
    let counter = counter.await?.remove(&(user, conversation)).ok_or(RecordsError::NotAMember)?;
    Ok(ReadMark { counter, moved, members: talk.members })
}

/// A read mark names no moment.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// At most two statements, each one moment: all standings of the users that ask for all, and the named ones.
pub(super) async fn unread<C: Sql>(sql: &mut C, requests: Vec<UnreadRequest>) -> Stored<Vec<UnreadSnapshot>> {
    let mut everywhere = Vec::new();
    let mut named = Vec::new();
    for request in &requests {
        match &request.conversations {
            None => everywhere.push(request.user.bits()),
            Some(ids) => named.extend(ids.iter().map(|id| (id.bits(), request.user.bits()))),
        }
    }
    let (mut all, mut some) = (Counters::new(), Counters::new());
    if !everywhere.is_empty() {
        all = counters(sql, C::STATEMENTS.counters_of_users, Value::Ids(everywhere)).await?;
    }
    if !named.is_empty() {
        some = counters(sql, C::STATEMENTS.counters_of_pairs, Value::Pairs(named)).await?;
    }
    Ok(requests.into_iter().map(|request| snapshot(request, &all, &some)).collect())
}

type Counters = BTreeMap<(UserId, ConversationId), Counter>;

async fn counters<C: Sql>(sql: &mut C, statement: &'static str, whose: Value) -> Stored<Counters> {
    let rows = sql.rows(statement, vec![whose]).await?;
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
