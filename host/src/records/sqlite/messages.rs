//! What changes a conversation: sending, editing, taking back. Each reads, judges and writes in one transaction.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Change, ChangeKind, Changed, Draft, Edit, Message, RecordsError};
use roost_core::time::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::fault::Stored;
use super::rows::{Id, read_message, read_seq, seq};
use super::statements::{APPEND, DELETE, EDIT, MESSAGE};
use super::talk::Talk;

/// A message and what its row knows besides.
struct Known {
    message: Message,
    number: i64,
    /// The sequence of its newest change.
    changed: Seq,
}

impl Known {
    async fn find(connection: &mut SqliteConnection, id: MessageId) -> Stored<Option<Self>> {
        use sqlx::Row;
        let Some(row) = sqlx::query(MESSAGE).bind(id.blob()).fetch_optional(connection).await? else {
            return Ok(None);
        };
        Ok(Some(Self { message: read_message(&row)?, number: row.try_get(9)?, changed: read_seq(&row, 10)? }))
    }

    /// A message that a member with this place may see.
    async fn visible(
        connection: &mut SqliteConnection,
        conversation: ConversationId,
        id: MessageId,
        joined: Seq,
    ) -> Stored<Self> {
        let known = Self::find(connection, id).await?;
        let visible = known.filter(|known| known.message.conversation == conversation && known.message.seq > joined);
        Ok(visible.ok_or_else(|| RecordsError::NotFound("no such message".into()))?)
    }

    fn own(&self, user: UserId) -> Result<(), RecordsError> {
        if self.message.sender == user {
            return Ok(());
        }
        Err(RecordsError::Forbidden("only the sender may change a message".into()))
    }

    /// The change that made the message what it is, once more.
    fn repeated(self, members: Vec<UserId>) -> Changed {
        let kind = match self.message {
            Message { deleted: true, .. } => ChangeKind::Deleted,
            Message { seq, .. } if seq == self.changed => ChangeKind::Sent,
            _ => ChangeKind::Edited,
        };
        Changed { change: Change { seq: self.changed, kind, message: self.message }, members, repeated: true }
    }
}

pub(super) async fn append(connection: &mut SqliteConnection, draft: Draft) -> Stored<Changed> {
    let (talk, _) = Talk::of_member(connection, draft.conversation, draft.sender).await?;
    if let Some(id) = draft.id
        && let Some(known) = Known::find(connection, id).await?
    {
        return Ok(repetition(known.message, &draft, talk.members)?);
    }
    talk.refuse_blocked()?;
    let message = Message {
        id: draft.id.unwrap_or_else(|| Uuid::now_v7().into()),
        conversation: draft.conversation,
        seq: talk.seq.next(),
        sender: draft.sender,
        kind: draft.kind,
        content: draft.content,
        created_at: draft.at,
        edited_at: None,
        deleted: false,
    };
    sqlx::query(APPEND)
        .bind(message.conversation.blob())
        .bind(seq(message.seq))
        .bind(message.created_at.score())
        .bind(message.id.blob())
        .bind(message.sender.blob())
        .bind(message.kind.as_str())
        .bind(message.content.as_str())
        .execute(connection)
        .await?;
    let change = Change { seq: message.seq, kind: ChangeKind::Sent, message };
    Ok(Changed { change, members: talk.members, repeated: false })
}

fn repetition(known: Message, draft: &Draft, members: Vec<UserId>) -> Result<Changed, RecordsError> {
    if known.sender != draft.sender || known.conversation != draft.conversation {
        return Err(RecordsError::Conflict("the message's id is taken".into()));
    }
    let change = Change { seq: known.seq, kind: ChangeKind::Sent, message: known };
    Ok(Changed { change, members, repeated: true })
}

pub(super) async fn edit(connection: &mut SqliteConnection, edit: Edit) -> Stored<Changed> {
    let (talk, place) = Talk::of_member(connection, edit.conversation, edit.editor).await?;
    let known = Known::visible(connection, edit.conversation, edit.message, place.joined).await?;
    if known.message.deleted {
        return Err(RecordsError::NotFound("the message was deleted".into()).into());
    }
    known.own(edit.editor)?;
    if known.message.content == edit.content {
        return Ok(known.repeated(talk.members));
    }
    talk.refuse_blocked()?;
    let next = talk.seq.next();
    sqlx::query(EDIT)
        .bind(edit.conversation.blob())
        .bind(seq(next))
        .bind(edit.at.score())
        .bind(known.number)
        .bind(edit.content.as_str())
        .execute(connection)
        .await?;
    let message = Message { content: edit.content, edited_at: Some(edit.at), ..known.message };
    let change = Change { seq: next, kind: ChangeKind::Edited, message };
    Ok(Changed { change, members: talk.members, repeated: false })
}

pub(super) async fn delete(
    connection: &mut SqliteConnection,
    (conversation, id): (ConversationId, MessageId),
    actor: UserId,
    at: Timestamp,
) -> Stored<Changed> {
    let (talk, place) = Talk::of_member(connection, conversation, actor).await?;
    let known = Known::visible(connection, conversation, id, place.joined).await?;
    known.own(actor)?;
    if known.message.deleted {
        return Ok(known.repeated(talk.members));
    }
    let next = talk.seq.next();
    sqlx::query(DELETE)
        .bind(conversation.blob())
        .bind(seq(next))
        .bind(at.score())
        .bind(known.number)
        .execute(connection)
        .await?;
    let message = Message { content: String::new(), deleted: true, ..known.message };
    let change = Change { seq: next, kind: ChangeKind::Deleted, message };
    Ok(Changed { change, members: talk.members, repeated: false })
}
