//! Who is told that a user has read messages: everybody else in a small conversation, the authors of what was newly
//! read in a larger one, and nobody across a block.

use std::collections::BTreeSet;

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::limits::{DURABLE_RECEIPT_MEMBERS_MAX, RECEIPT_AUTHORS_MAX, RECEIPT_MESSAGES_MAX};

use super::conversations::ConversationState;
use super::values::read_id;
use super::{ColumnResult, QueryResult, SqlConnection};

/// The users who are told that the reader's position has moved from the first to the second sequence number.
pub(super) async fn audience<C: SqlConnection>(
    sql: &mut C,
    (conversation, state): (ConversationId, &ConversationState),
    reader: UserId,
    (before, read): (Seq, Seq),
) -> QueryResult<Vec<UserId>> {
    let others = || state.members.iter().copied().filter(|member| *member != reader);
    // A block between two members is known already.
    if state.members.len() <= 2 {
        return Ok(if state.blocked { Vec::new() } else { others().collect() });
    }
    let candidates: Vec<UserId> = if state.members.len() <= DURABLE_RECEIPT_MEMBERS_MAX {
        others().collect()
    } else {
        let authors = authors(sql, conversation, (before, read)).await?;
        let is_notified = |author: &UserId| *author != reader && state.members.binary_search(author).is_ok();
        authors.into_iter().filter(is_notified).collect()
    };
    let blocked = blocked_with(sql, reader, &candidates).await?;
    Ok(candidates.into_iter().filter(|user| !blocked.contains(user)).take(RECEIPT_AUTHORS_MAX).collect())
}

/// The authors of the newest messages between two positions, each once, newest first.
async fn authors<C: SqlConnection>(
    sql: &mut C,
    conversation: ConversationId,
    (before, read): (Seq, Seq),
) -> QueryResult<Vec<UserId>> {
    if before >= read {
        return Ok(Vec::new());
    }
    let limit = u64::from(RECEIPT_MESSAGES_MAX);
    let asked = vec![conversation.into(), before.into(), read.into(), limit.into()];
    let rows = sql.rows(C::STATEMENTS.authors, asked).await?;
    let mut authors: Vec<UserId> = Vec::new();
    for author in rows.iter().map(|row| read_id(row, 0)).collect::<ColumnResult<Vec<UserId>>>()? {
        if !authors.contains(&author) {
            authors.push(author);
        }
    }
    Ok(authors)
}

/// Those of the users between whom and this user there is a block in either direction.
async fn blocked_with<C: SqlConnection>(sql: &mut C, user: UserId, others: &[UserId]) -> QueryResult<BTreeSet<UserId>> {
    if others.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = sql.rows(C::STATEMENTS.blocked_with, vec![user.into(), others.into()]).await?;
    Ok(rows.iter().map(|row| read_id(row, 0)).collect::<ColumnResult<_>>()?)
}
