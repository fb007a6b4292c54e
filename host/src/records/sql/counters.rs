//! Read positions and unread counters.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Counter, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot};
use roost_core::time::Timestamp;

use super::conversations::ConversationState;
use super::values::{UuidId, read_counter};
use super::{Parameter, QueryResult, SqlConnection, lock, run};

pub(super) async fn mark_read<C: SqlConnection>(
    sql: &mut C,
    user: UserId,
    conversation: ConversationId,
    up_to: Option<Seq>,
) -> QueryResult<ReadMark> {
    lock(sql, C::STATEMENTS.lock_member, vec![conversation.into(), user.into()]).await?;
    let (state, position) = ConversationState::of_member(sql, conversation, user).await?;
    let read = up_to.unwrap_or(state.seq).min(state.seq);
    let moved = read > position.read;
    if moved {
        run(sql, C::STATEMENTS.mark_read, vec![conversation.into(), user.into(), now().into(), read.into()]).await?;
    }
    let member = Parameter::Members(vec![(conversation.bits(), user.bits())]);
    let mut counters = counters(sql, C::STATEMENTS.counters_of_members, member).await?;
    let counter = counters.remove(&(user, conversation)).ok_or(RecordsError::NotAMember)?;
    Ok(ReadMark { counter, moved, members: state.members })
}

/// A read mark has no timestamp of its own.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Runs at most two statements, each on one snapshot: all counters of the users that ask for all, and the named ones.
pub(super) async fn unread<C: SqlConnection>(
    sql: &mut C,
    requests: Vec<UnreadRequest>,
) -> QueryResult<Vec<UnreadSnapshot>> {
    let mut all_of = Vec::new();
    let mut named = Vec::new();
    for request in &requests {
        match &request.conversations {
            None => all_of.push(request.user.bits()),
            Some(ids) => named.extend(ids.iter().map(|id| (id.bits(), request.user.bits()))),
        }
    }
    let (mut all, mut some) = (CountersByMember::new(), CountersByMember::new());
    if !all_of.is_empty() {
        all = counters(sql, C::STATEMENTS.counters_of_users, Parameter::Ids(all_of)).await?;
    }
    if !named.is_empty() {
        some = counters(sql, C::STATEMENTS.counters_of_members, Parameter::Members(named)).await?;
    }
    Ok(requests.into_iter().map(|request| snapshot(request, &all, &some)).collect())
}

type CountersByMember = BTreeMap<(UserId, ConversationId), Counter>;

async fn counters<C: SqlConnection>(
    sql: &mut C,
    statement: &'static str,
    asked: Parameter,
) -> QueryResult<CountersByMember> {
    let rows = sql.rows(statement, vec![asked]).await?;
    let read = |row| read_counter(row).map(|(user, counter)| ((user, counter.conversation), counter));
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn snapshot(request: UnreadRequest, all: &CountersByMember, some: &CountersByMember) -> UnreadSnapshot {
    let user = request.user;
    let counters = match request.conversations {
        None => {
            let range = (user, ConversationId::from_u128(0))..=(user, ConversationId::from_u128(u128::MAX));
            all.range(range).map(|(_, counter)| *counter).collect()
        }
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().filter_map(|id| some.get(&(user, id)).copied()).collect()
        }
    };
    UnreadSnapshot { user, counters }
}
