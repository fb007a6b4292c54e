//! Messages: what changes them, and what reads them. Every change reads, checks and writes in one transaction.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::limits::CHANGES_MAX;
use roost_core::port::{
    Change, ChangeKind, ChangeRange, Changed, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, Message,
    MessagesQuery, NOBODY, ReadPosition, RecordsError, records_bounds as bounds,
};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::conversations::ConversationState;
use super::values::{read_change, read_id, read_message, read_seq};
use super::{ColumnResult, Columns, QueryResult, SqlConnection, run};

/// A message as it is stored.
struct MessageRow {
    message: Message,
    /// The sequence number of its newest change.
    changed: Seq,
}

impl MessageRow {
    async fn find<C: SqlConnection>(sql: &mut C, id: MessageId) -> QueryResult<Option<Self>> {
        let rows = sql.rows(C::STATEMENTS.message, vec![id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Self { message: read_message(row)?, changed: read_seq(row, 9)? }))
    }

    /// A message that a member who joined at this sequence number may see.
    async fn visible<C: SqlConnection>(
        sql: &mut C,
        conversation: ConversationId,
        id: MessageId,
        joined: Seq,
    ) -> QueryResult<Self> {
        let stored = Self::find(sql, id).await?;
        let visible =
            stored.filter(|stored| stored.message.conversation == conversation && stored.message.seq > joined);
        Ok(visible.ok_or_else(|| RecordsError::NotFound("no such message".into()))?)
    }

    fn require_sender(&self, user: UserId) -> Result<(), RecordsError> {
        if self.message.sender == user {
            return Ok(());
        }
        Err(RecordsError::Forbidden("only the sender may edit a message".into()))
    }

    /// Whoever may delete the message: its sender, or the creator of a conversation that is no pair.
    fn require_sender_or_creator(&self, state: &ConversationState, user: UserId) -> Result<(), RecordsError> {
        if self.message.sender == user || (!state.direct && state.is_creator(user)) {
            return Ok(());
        }
        Err(RecordsError::Forbidden(
            "only the sender, the creator of the group and services may delete a message".into(),
        ))
    }

    /// The newest change of the message.
    fn newest_change(self) -> Change {
        let kind = match self.message {
            Message { deleted: true, .. } => ChangeKind::Deleted,
            Message { seq, .. } if seq == self.changed => ChangeKind::Sent,
            _ => ChangeKind::Edited,
        };
        Change { seq: self.changed, kind, message: self.message }
    }
}

pub(super) async fn append<C: SqlConnection>(sql: &mut C, draft: Draft) -> QueryResult<Changed> {
    let (state, _) = ConversationState::of_member_locked(sql, draft.conversation, draft.sender).await?;
    if let Some(id) = draft.id
        && let Some(stored) = MessageRow::find(sql, id).await?
    {
        return Ok(repetition(stored.message, &draft, state.members)?);
    }
    state.refuse_blocked()?;
    let message = Message {
        id: draft.id.unwrap_or_else(|| Uuid::now_v7().into()),
        conversation: draft.conversation,
        seq: state.seq.next(),
        sender: draft.sender,
        kind: draft.kind,
        content: draft.content,
        created_at: draft.at,
        edited_at: None,
        deleted: false,
    };
    let parameters = vec![
        message.conversation.into(),
        message.seq.into(),
        message.created_at.into(),
        message.id.into(),
        message.sender.into(),
        message.kind.as_str().into(),
        message.content.as_str().into(),
    ];
    run(sql, C::STATEMENTS.append, parameters).await?;
    let change = Change { seq: message.seq, kind: ChangeKind::Sent, message };
    Ok(Changed::without_positions(change, state.members, false))
}

/// The message that has this id already: a repetition by the same sender, or a conflict.
fn repetition(stored: Message, draft: &Draft, members: Vec<UserId>) -> Result<Changed, RecordsError> {
    if stored.sender != draft.sender || stored.conversation != draft.conversation {
        return Err(RecordsError::Conflict("the message's id is taken".into()));
    }
    let change = Change { seq: stored.seq, kind: ChangeKind::Sent, message: stored };
    Ok(Changed::without_positions(change, members, true))
}

pub(super) async fn edit<C: SqlConnection>(sql: &mut C, edit: Edit) -> QueryResult<Changed> {
    let (state, position) = ConversationState::of_member_locked(sql, edit.conversation, edit.editor).await?;
    let stored = MessageRow::visible(sql, edit.conversation, edit.message, position.joined).await?;
    if stored.message.deleted {
        return Err(RecordsError::NotFound("the message was deleted".into()).into());
    }
    stored.require_sender(edit.editor)?;
    if stored.message.content == edit.content {
        return with_positions(sql, stored.newest_change(), state.members, true).await;
    }
    state.refuse_blocked()?;
    let next = state.seq.next();
    let content = edit.content.as_str().into();
    let parameters = vec![edit.conversation.into(), next.into(), edit.at.into(), edit.message.into(), content];
    run(sql, C::STATEMENTS.edit, parameters).await?;
    let message = Message { content: edit.content, edited_at: Some(edit.at), ..stored.message };
    let change = Change { seq: next, kind: ChangeKind::Edited, message };
    with_positions(sql, change, state.members, false).await
}

pub(super) async fn delete<C: SqlConnection>(
    sql: &mut C,
    (conversation, id): (ConversationId, MessageId),
    actor: Option<UserId>,
    at: Timestamp,
) -> QueryResult<Changed> {
    let (state, stored) = match actor {
        Some(actor) => {
            let (state, position) = ConversationState::of_member_locked(sql, conversation, actor).await?;
            let stored = MessageRow::visible(sql, conversation, id, position.joined).await?;
            stored.require_sender_or_creator(&state, actor)?;
            (state, stored)
        }
        None => {
            let state = ConversationState::find_locked(sql, conversation, NOBODY).await?;
            let state = state.ok_or_else(|| RecordsError::NotFound("no such message".into()))?;
            (state, MessageRow::visible(sql, conversation, id, Seq::ZERO).await?)
        }
    };
    if stored.message.deleted {
        return with_positions(sql, stored.newest_change(), state.members, true).await;
    }
    let next = state.seq.next();
    run(sql, C::STATEMENTS.delete, vec![conversation.into(), next.into(), at.into(), id.into()]).await?;
    let message = Message { content: String::new(), deleted: true, ..stored.message };
    let change = Change { seq: next, kind: ChangeKind::Deleted, message };
    with_positions(sql, change, state.members, false).await
}

/// An edit or a deletion, with what announces it without snapshots: the positions of the members, and the newest
/// message.
async fn with_positions<C: SqlConnection>(
    sql: &mut C,
    change: Change,
    members: Vec<UserId>,
    repeated: bool,
) -> QueryResult<Changed> {
    let conversation = change.message.conversation;
    let rows = sql.rows(C::STATEMENTS.read_positions, vec![conversation.into()]).await?;
    let position =
        |row| Ok(ReadPosition { user: read_id(row, 0)?, joined: read_seq(row, 1)?, read: read_seq(row, 2)? });
    let positions = rows.iter().map(position).collect::<ColumnResult<Vec<ReadPosition>>>()?;
    let last = last_messages(sql, vec![conversation]).await?.into_iter().next();
    Ok(Changed { change, members, repeated, positions, last })
}

pub(super) async fn changes<C: SqlConnection>(sql: &mut C, ranges: Vec<ChangeRange>) -> QueryResult<Vec<Vec<Change>>> {
    let mut answers = Vec::with_capacity(ranges.len());
    let mut left = bounds::ChangesLeft::ALL;
    for range in ranges {
        if left.is_used_up() {
            answers.push(Vec::new());
            continue;
        }
        let (conversation, limit) = (range.conversation, CHANGES_MAX as u64);
        let asked = vec![conversation.into(), range.after.into(), range.up_to.into(), limit.into()];
        let rows = sql.rows(C::STATEMENTS.changes, asked).await?;
        let changes = rows.iter().rev().map(read_change).collect::<ColumnResult<_>>()?;
        answers.push(left.take_newest(changes));
    }
    Ok(answers)
}

pub(super) async fn last_messages<C: SqlConnection>(
    sql: &mut C,
    conversations: Vec<ConversationId>,
) -> QueryResult<Vec<LastMessage>> {
    let rows = sql.rows(C::STATEMENTS.last_messages, vec![conversations.as_slice().into()]).await?;
    let found = rows
        .iter()
        .map(|row| {
            let conversation = read_id(row, 9)?;
            let message = if row.is_null(0)? { None } else { Some(read_message(row)?) };
            Ok((conversation, LastMessage { conversation, version: read_seq(row, 10)?, message }))
        })
        .collect::<ColumnResult<BTreeMap<ConversationId, LastMessage>>>()?;
    let answer = |conversation| match found.get(&conversation) {
        Some(last) => last.clone(),
        None => LastMessage { conversation, version: Seq::ZERO, message: None },
    };
    Ok(conversations.into_iter().map(answer).collect())
}

pub(super) async fn history<C: SqlConnection>(sql: &mut C, query: HistoryQuery) -> QueryResult<HistoryPage> {
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
    let messages = rows.iter().take(limit).map(read_message).collect::<ColumnResult<Vec<Message>>>()?;
    let next_before = messages.last().filter(|_| rows.len() > limit).map(|message| message.seq);
    Ok(HistoryPage { messages, next_before })
}

pub(super) async fn find<C: SqlConnection>(sql: &mut C, query: MessagesQuery) -> QueryResult<Vec<Option<Message>>> {
    let asked = vec![query.conversation.into(), query.user.into(), query.messages.as_slice().into()];
    let rows = sql.rows(C::STATEMENTS.messages, asked).await?;
    if rows.is_empty() {
        return Err(RecordsError::NotAMember.into());
    }
    let mut found = BTreeMap::new();
    for row in &rows {
        if !row.is_null(0)? {
            let message = read_message(row)?;
            found.insert(message.id, message);
        }
    }
    Ok(query.messages.iter().map(|id| found.get(id).cloned()).collect())
}
