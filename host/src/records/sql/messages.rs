//! What changes a conversation: sending, editing, taking back. Each reads, judges and writes in one transaction.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Change, ChangeKind, Changed, Draft, Edit, Message, RecordsError};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::rows::{read_message, read_seq};
use super::talk::Talk;
use super::{Sql, Stored, run};

/// A message and what its row knows besides.
struct Known {
    message: Message,
    /// The sequence of its newest change.
    changed: Seq,
}

impl Known {
    async fn find<C: Sql>(sql: &mut C, id: MessageId) -> Stored<Option<Self>> {
        let rows = sql.rows(C::STATEMENTS.message, vec![id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Self { message: read_message(row)?, changed: read_seq(row, 9)? }))
    }

    /// A message that a member with this place may see.
    async fn visible<C: Sql>(sql: &mut C, conversation: ConversationId, id: MessageId, joined: Seq) -> Stored<Self> {
        let known = Self::find(sql, id).await?;
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

pub(super) async fn append<C: Sql>(sql: &mut C, draft: Draft) -> Stored<Changed> {
    let (talk, _) = Talk::of_member_to_change(sql, draft.conversation, draft.sender).await?;
    if let Some(id) = draft.id
        && let Some(known) = Known::find(sql, id).await?
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
    let stored = vec![
        message.conversation.into(),
        message.seq.into(),
        message.created_at.into(),
        message.id.into(),
        message.sender.into(),
        message.kind.as_str().into(),
        message.content.as_str().into(),
    ];
    run(sql, C::STATEMENTS.append, stored).await?;
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

pub(super) async fn edit<C: Sql>(sql: &mut C, edit: Edit) -> Stored<Changed> {
    let (talk, place) = Talk::of_member_to_change(sql, edit.conversation, edit.editor).await?;
    let known = Known::visible(sql, edit.conversation, edit.message, place.joined).await?;
    if known.message.deleted {
        return Err(RecordsError::NotFound("the message was deleted".into()).into());
    }
    known.own(edit.editor)?;
    if known.message.content == edit.content {
        return Ok(known.repeated(talk.members));
    }
    talk.refuse_blocked()?;
    let next = talk.seq.next();
    let content = edit.content.as_str().into();
    let stored = vec![edit.conversation.into(), next.into(), edit.at.into(), edit.message.into(), content];
    run(sql, C::STATEMENTS.edit, stored).await?;
    let message = Message { content: edit.content, edited_at: Some(edit.at), ..known.message };
    let change = Change { seq: next, kind: ChangeKind::Edited, message };
    Ok(Changed { change, members: talk.members, repeated: false })
}

pub(super) async fn delete<C: Sql>(
    sql: &mut C,
    (conversation, id): (ConversationId, MessageId),
    actor: UserId,
    at: Timestamp,
) -> Stored<Changed> {
    let (talk, place) = Talk::of_member_to_change(sql, conversation, actor).await?;
    let known = Known::visible(sql, conversation, id, place.joined).await?;
    known.own(actor)?;
    if known.message.deleted {
        return Ok(known.repeated(talk.members));
    }
    let next = talk.seq.next();
    run(sql, C::STATEMENTS.delete, vec![conversation.into(), next.into(), at.into(), id.into()]).await?;
    let message = Message { content: String::new(), deleted: true, ..known.message };
    let change = Change { seq: next, kind: ChangeKind::Deleted, message };
    Ok(Changed { change, members: talk.members, repeated: false })
}
