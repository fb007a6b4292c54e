//! Read positions and unread counters.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Counter, ReadMark, RecordsError, UnreadRequest, UnreadSnapshot};
use roost_core::time::Timestamp;

use super::conversations::ConversationState;
use super::counter_pages::counters_of_users;
use super::values::{UuidId, read_counter};
use super::{Parameter, QueryResult, SqlConnection, lock, receipts, run};

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
    let audience = receipts::audience(sql, (conversation, &state), user, (position.read, read)).await?;
    let member_count = u32::try_from(state.members.len()).unwrap_or(u32::MAX);
    Ok(ReadMark { counter, moved, member_count, audience })
}

/// The time of what has no timestamp of its own: a read mark, and a change of a contact or block.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Usually runs at most two statements, each on one snapshot: the counters of the users that ask for all, and the named
/// ones.
pub(super) async fn unread<C: SqlConnection>(
    sql: &mut C,
    requests: Vec<UnreadRequest>,
) -> QueryResult<Vec<UnreadSnapshot>> {
    let mut all_of = Vec::new();
    let mut named = Vec::new();
    for request in &requests {
        match &request.conversations {
            None => all_of.push((request.user, request.after)),
            Some(ids) => named.extend(ids.iter().map(|id| (id.bits(), request.user.bits()))),
        }
    }
    let mut some = CountersByMember::new();
    if !named.is_empty() {
        some = counters(sql, C::STATEMENTS.counters_of_members, Parameter::Members(named)).await?;
    }
    let mut all = counters_of_users(sql, &all_of).await?.into_iter();
    let answer = |UnreadRequest { user, conversations, .. }| match conversations {
        Some(ids) => of_named(user, ids, &some),
        // There is an answer for each of these requests.
        None => all.next().unwrap_or(UnreadSnapshot { user, counters: Vec::new(), more: false }),
    };
    Ok(requests.into_iter().map(answer).collect())
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

fn of_named(user: UserId, mut ids: Vec<ConversationId>, found: &CountersByMember) -> UnreadSnapshot {
    ids.sort_unstable();
    ids.dedup();
    let counters = ids.into_iter().filter_map(|id| found.get(&(user, id)).copied()).collect();
    UnreadSnapshot { user, counters, more: false }
}
