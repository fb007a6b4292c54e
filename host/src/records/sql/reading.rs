//! What was said: steps of a conversation, its newest message, its history.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, Seq};
use roost_core::limits::CHANGES_MAX;
use roost_core::port::{Change, ChangeRange, HistoryPage, HistoryQuery, LastMessage, Message, RecordsError};

use super::rows::{Columns, Read, read_change, read_id, read_message, read_seq};
use super::{Sql, Stored};

pub(super) async fn changes<C: Sql>(sql: &mut C, ranges: Vec<ChangeRange>) -> Stored<Vec<Vec<Change>>> {
    let mut answers = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (conversation, limit) = (range.conversation, CHANGES_MAX as u64);
        let asked = vec![conversation.into(), range.after.into(), range.up_to.into(), limit.into()];
        let rows = sql.rows(C::STATEMENTS.changes, asked).await?;
        answers.push(rows.iter().rev().map(read_change).collect::<Read<_>>()?);
    }
    Ok(answers)
}

pub(super) async fn last_messages<C: Sql>(sql: &mut C, conversations: Vec<ConversationId>) -> Stored<Vec<LastMessage>> {
    let rows = sql.rows(C::STATEMENTS.last_messages, vec![conversations.as_slice().into()]).await?;
    let found = rows
        .iter()
        .map(|row| {
            let conversation = read_id(row, 9)?;
            let message = if row.is_null(0)? { None } else { Some(read_message(row)?) };
            Ok((conversation, LastMessage { conversation, version: read_seq(row, 10)?, message }))
        })
        .collect::<Read<BTreeMap<ConversationId, LastMessage>>>()?;
    let answer = |conversation| match found.get(&conversation) {
        Some(last) => last.clone(),
        None => LastMessage { conversation, version: Seq::ZERO, message: None },
    };
    Ok(conversations.into_iter().map(answer).collect())
}

pub(super) async fn history<C: Sql>(sql: &mut C, query: HistoryQuery) -> Stored<HistoryPage> {
    let limit = query.limit as usize;
    let below = query.before.unwrap_or(Seq(u64::MAX));
    let asked = vec![query.conversation.into(), query.user.into(), below.into(), (u64::from(query.limit) + 1).into()];
    let rows = sql.rows(C::STATEMENTS.history, asked).await?;
    let Some(first) = rows.first() else {
        return Err(RecordsError::NotAMember.into());
    };
    if first.is_null(0)? {
        return Ok(HistoryPage { messages: Vec::new(), next_before: None });
    }
    let messages = rows.iter().take(limit).map(read_message).collect::<Read<Vec<Message>>>()?;
    let next_before = messages.last().filter(|_| rows.len() > limit).map(|message| message.seq);
    Ok(HistoryPage { messages, next_before })
}
