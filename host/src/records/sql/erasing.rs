//! Erasing a user, in steps that are bounded: each is one transaction, and does the first thing that is left to do.

use std::collections::BTreeSet;

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::key::Owner;
use roost_core::limits::{ERASED_CONVERSATIONS, ERASED_MESSAGES, ERASED_RELATIONS};
use roost_core::port::{Changed, Erased, NOBODY};
use roost_core::time::Timestamp;

use super::values::{UuidId, read_id};
use super::{ColumnResult, QueryResult, SqlConnection, documents, lock, messages, run};

pub(super) async fn erase<C: SqlConnection>(sql: &mut C, user: UserId, at: Timestamp) -> QueryResult<Erased> {
    documents::erase(sql, Owner::User(user)).await?;
    let related = erase_relations(sql, user, at).await?;
    if !related.is_empty() {
        return Ok(Erased { related, ..Erased::default() });
    }
    if let Some(left) = leave_all(sql, user, at).await? {
        return Ok(Erased { left, ..Erased::default() });
    }
    let deleted = delete_messages(sql, user, at).await?;
    if !deleted.is_empty() {
        return Ok(Erased { deleted, ..Erased::default() });
    }
    let done = disown(sql, user).await?;
    if done {
        run(sql, C::STATEMENTS.forget_count, vec![user.into()]).await?;
    }
    Ok(Erased { done, ..Erased::default() })
}

/// Removes what the user has added and blocked, and the user from what some others have. Answers the others.
async fn erase_relations<C: SqlConnection>(sql: &mut C, user: UserId, at: Timestamp) -> QueryResult<Vec<UserId>> {
    let mut related = BTreeSet::new();
    for statement in [C::STATEMENTS.added_by, C::STATEMENTS.blocked_by] {
        related.extend(some::<C, UserId>(sql, statement, user, ERASED_RELATIONS).await?);
    }
    let related: Vec<UserId> = related.into_iter().take(ERASED_RELATIONS).collect();
    // All of them before one is deleted: the others may be erased at the same time.
    lock(sql, C::STATEMENTS.lock_relations, vec![user.into(), related.as_slice().into()]).await?;
    run(sql, C::STATEMENTS.erase_own_relations, vec![user.into()]).await?;
    if !related.is_empty() {
        let asked = vec![user.into(), related.as_slice().into(), at.into()];
        run(sql, C::STATEMENTS.erase_from_relations, asked).await?;
    }
    Ok(related)
}

/// Removes the user from some conversations, and answers which; `None`: the user is in none.
async fn leave_all<C: SqlConnection>(
    sql: &mut C,
    user: UserId,
    at: Timestamp,
) -> QueryResult<Option<Vec<ConversationId>>> {
    let statement = C::STATEMENTS.conversations_of_user;
    let all = some::<C, ConversationId>(sql, statement, user, ERASED_CONVERSATIONS).await?;
    if all.is_empty() {
        return Ok(None);
    }
    // All of them before anything else is locked. Until then the user may have left some, which must not count again.
    lock(sql, C::STATEMENTS.lock_conversations, vec![all.as_slice().into()]).await?;
    let asked = vec![all.as_slice().into(), user.into(), at.into()];
    let rows = sql.rows(C::STATEMENTS.leave_conversations, asked).await?;
    let mut left = rows.iter().map(|row| read_id(row, 0)).collect::<ColumnResult<Vec<ConversationId>>>()?;
    left.sort_unstable();
    run(sql, C::STATEMENTS.forget_pairs, vec![left.as_slice().into()]).await?;
    Ok(Some(left))
}

/// Deletes some of the user's messages.
async fn delete_messages<C: SqlConnection>(sql: &mut C, user: UserId, at: Timestamp) -> QueryResult<Vec<Changed>> {
    let asked = vec![user.into(), (ERASED_MESSAGES as u64).into()];
    let rows = sql.rows(C::STATEMENTS.kept_messages, asked).await?;
    let read = |row: &C::Row| Ok((read_id(row, 0)?, read_id(row, 1)?));
    let mut kept = rows.iter().map(read).collect::<ColumnResult<Vec<(ConversationId, MessageId)>>>()?;
    // Conversations are locked in ascending order.
    kept.sort_unstable();
    let mut deleted = Vec::with_capacity(kept.len());
    for message in kept {
        deleted.push(messages::delete(sql, message, None, at).await?);
    }
    Ok(deleted)
}

/// Takes the user's name from some of the conversations that the user has created. Answers whether there was none.
async fn disown<C: SqlConnection>(sql: &mut C, user: UserId) -> QueryResult<bool> {
    if user == NOBODY {
        return Ok(true);
    }
    let created = some::<C, ConversationId>(sql, C::STATEMENTS.created_by, user, ERASED_RELATIONS).await?;
    if created.is_empty() {
        return Ok(true);
    }
    run(sql, C::STATEMENTS.set_creator, vec![created.as_slice().into(), NOBODY.into()]).await?;
    Ok(false)
}

/// The first ids that a statement reads for the user.
async fn some<C: SqlConnection, I: UuidId>(
    sql: &mut C,
    statement: &'static str,
    user: UserId,
    count: usize,
) -> QueryResult<Vec<I>> {
    let rows = sql.rows(statement, vec![user.into(), (count as u64).into()]).await?;
    Ok(rows.iter().map(|row| read_id(row, 0)).collect::<ColumnResult<Vec<I>>>()?)
}
