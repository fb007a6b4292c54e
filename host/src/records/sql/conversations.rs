//! Conversations and who is in them.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{
    Conversation, ConversationPage, ConversationQuery, Created, MemberChange, NewConversation, RecordsError,
    records_bounds as bounds,
};
use uuid::Uuid;

use super::super::cursor::Cursor;
use super::people::apart;
use super::rows::{Read, read_conversation};
use super::talk::Talk;
use super::{Sql, Stored, run};

pub(super) async fn create<C: Sql>(sql: &mut C, new: NewConversation, members: Vec<UserId>) -> Stored<Created> {
    if let Some(id) = new.id
        && let Some(talk) = Talk::find(sql, id, new.creator).await?
    {
        return Ok(existing(id, talk, &new, &members)?);
    }
    if let [one, other] = members.as_slice()
        && apart(sql, *one, *other).await?
    {
        return Err(RecordsError::Blocked.into());
    }
    let id = new.id.unwrap_or_else(|| Uuid::now_v7().into());
    let stored = vec![id.into(), new.creator.into(), new.at.into(), members.as_slice().into()];
    run(sql, C::STATEMENTS.create_conversation, stored).await?;
    let conversation = Conversation { id, members, joined: Seq::ZERO, updated_at: new.at };
    Ok(Created { conversation, repeated: false })
}

/// The same creator and the same members: asked for again.
fn existing(
    id: ConversationId,
    talk: Talk,
    new: &NewConversation,
    members: &[UserId],
) -> Result<Created, RecordsError> {
    let conflict = || RecordsError::Conflict("the conversation's id is taken".into());
    let place = talk.place.filter(|_| talk.creator == new.creator && talk.members == members).ok_or_else(conflict)?;
    let conversation = Conversation { id, members: talk.members, joined: place.joined, updated_at: talk.updated_at };
    Ok(Created { conversation, repeated: true })
}

pub(super) async fn page<C: Sql>(sql: &mut C, user: UserId, query: ConversationQuery) -> Stored<ConversationPage> {
    match query {
        ConversationQuery::Named(ids) => {
            let asked = vec![user.into(), ids.as_slice().into()];
            let rows = sql.rows(C::STATEMENTS.conversations_named, asked).await?;
            let conversations = rows.iter().map(read_conversation).collect::<Read<_>>()?;
            Ok(ConversationPage { conversations, next: None })
        }
        ConversationQuery::Page { cursor, limit } => {
            let after = cursor.as_deref().map_or(Ok(Cursor::START), Cursor::read)?;
            let asked = vec![user.into(), after.updated_at.into(), after.id.into(), (u64::from(limit) + 1).into()];
            let rows = sql.rows(C::STATEMENTS.conversations, asked).await?;
            let page = rows.iter().take(limit as usize).map(read_conversation).collect::<Read<Vec<_>>>()?;
            let last = page.last().filter(|_| rows.len() > page.len());
            let next = last.map(|last| Cursor { updated_at: last.updated_at, id: last.id }.write());
            Ok(ConversationPage { conversations: page, next })
        }
    }
}

/// The conversation whose members somebody wants to change. Only services learn that there is none.
async fn to_change<C: Sql>(sql: &mut C, change: &MemberChange) -> Stored<Talk> {
    let asking = change.actor.unwrap_or(change.user);
    let talk = Talk::find_to_change(sql, change.conversation, asking).await?;
    match (talk, change.actor) {
        (Some(talk), Some(_)) if talk.place.is_none() => Err(RecordsError::NotAMember.into()),
        (Some(talk), _) => Ok(talk),
        (None, Some(_)) => Err(RecordsError::NotAMember.into()),
        (None, None) => Err(RecordsError::NotFound("no such conversation".into()).into()),
    }
}

pub(super) async fn add_member<C: Sql>(sql: &mut C, change: MemberChange) -> Stored<Vec<UserId>> {
    let mut talk = to_change(sql, &change).await?;
    let Err(place) = talk.members.binary_search(&change.user) else {
        return Ok(talk.members);
    };
    if let Some(actor) = change.actor
        && apart(sql, actor, change.user).await?
    {
        return Err(RecordsError::Blocked.into());
    }
    bounds::member_count(talk.members.len() + 1)?;
    let stored = vec![change.conversation.into(), change.user.into(), change.at.into(), talk.seq.into()];
    run(sql, C::STATEMENTS.add_member, stored).await?;
    talk.members.insert(place, change.user);
    Ok(talk.members)
}

pub(super) async fn remove_member<C: Sql>(sql: &mut C, change: MemberChange) -> Stored<Vec<UserId>> {
    let mut talk = to_change(sql, &change).await?;
    if change.actor.is_some_and(|actor| actor != change.user && actor != talk.creator) {
        return Err(RecordsError::Forbidden("only the creator removes others".into()).into());
    }
    let Ok(place) = talk.members.binary_search(&change.user) else {
        return Ok(talk.members);
    };
    let stored = vec![change.conversation.into(), change.user.into(), change.at.into()];
    run(sql, C::STATEMENTS.remove_member, stored).await?;
    talk.members.remove(place);
    Ok(talk.members)
}
