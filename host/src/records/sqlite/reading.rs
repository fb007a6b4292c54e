//! What was said: steps of a conversation, its newest message, its history.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, Seq};
use roost_core::limits::CHANGES_MAX;
use roost_core::port::{Change, ChangeRange, HistoryPage, HistoryQuery, LastMessage, Message, RecordsError};
use sqlx::SqliteConnection;

use super::fault::Stored;
use super::rows::{Id, Read, is_null, list, read_change, read_id, read_message, read_seq, seq};
use super::statements::{CHANGES, HISTORY, LAST_MESSAGES};

pub(super) async fn changes(connection: &mut SqliteConnection, ranges: Vec<ChangeRange>) -> Stored<Vec<Vec<Change>>> {
    let mut answers = Vec::with_capacity(ranges.len());
    for range in ranges {
        let rows = sqlx::query(CHANGES)
            .bind(range.conversation.blob())
            .bind(seq(range.after))
            .bind(seq(range.up_to))
            .bind(i64::try_from(CHANGES_MAX).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await?;
        answers.push(rows.iter().rev().map(read_change).collect::<Read<_>>()?);
    }
    Ok(answers)
}

pub(super) async fn last_messages(
    connection: &mut SqliteConnection,
    conversations: Vec<ConversationId>,
) -> Stored<Vec<LastMessage>> {
    let rows = sqlx::query(LAST_MESSAGES).bind(list(&conversations)).fetch_all(connection).await?;
    let found = rows
        .iter()
        .map(|row| {
            let conversation = read_id(row, 9)?;
            let message = if is_null(row, 0)? { None } else { Some(read_message(row)?) };
            Ok((conversation, LastMessage { conversation, version: read_seq(row, 10)?, message }))
        })
        .collect::<Read<BTreeMap<ConversationId, LastMessage>>>()?;
    let answer = |conversation| match found.get(&conversation) {
        Some(last) => last.clone(),
        None => LastMessage { conversation, version: Seq::ZERO, message: None },
    };
    Ok(conversations.into_iter().map(answer).collect())
}

pub(super) async fn history(connection: &mut SqliteConnection, query: HistoryQuery) -> Stored<HistoryPage> {
    let limit = query.limit as usize;
    let rows = sqlx::query(HISTORY)
        .bind(query.conversation.blob())
        .bind(query.user.blob())
        .bind(query.before.map_or(i64::MAX, seq))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(connection)
        .await?;
    let Some(first) = rows.first() else {
        return Err(RecordsError::NotAMember.into());
    };
    if is_null(first, 0)? {
        return Ok(HistoryPage { messages: Vec::new(), next_before: None });
    }
    let messages = rows.iter().take(limit).map(read_message).collect::<Read<Vec<Message>>>()?;
    let next_before = messages.last().filter(|_| rows.len() > limit).map(|message| message.seq);
    Ok(HistoryPage { messages, next_before })
}
