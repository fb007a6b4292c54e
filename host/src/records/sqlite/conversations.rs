//! Conversations and who is in them.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{
    Conversation, ConversationPage, ConversationQuery, Created, MemberChange, NewConversation, RecordsError,
    records_bounds as bounds,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::super::cursor::Cursor;
use super::fault::Stored;
use super::rows::{Id, Read, list, read_id, read_list, read_moment, read_seq, seq};
use super::statements::{ADD_MEMBER, CONVERSATIONS, CONVERSATIONS_NAMED, CREATE_CONVERSATION, REMOVE_MEMBER};
use super::talk::{Talk, apart};

pub(super) async fn create(
    connection: &mut SqliteConnection,
    new: NewConversation,
    members: Vec<UserId>,
) -> Stored<Created> {
    if let Some(id) = new.id
        && let Some(talk) = Talk::find(connection, id, new.creator).await?
    {
        return Ok(existing(id, talk, &new, &members)?);
    }
    if let [one, other] = members.as_slice()
        && apart(connection, *one, *other).await?
    {
        return Err(RecordsError::Blocked.into());
    }
    let id = new.id.unwrap_or_else(|| Uuid::now_v7().into());
    sqlx::query(CREATE_CONVERSATION)
        .bind(id.blob())
        .bind(new.creator.blob())
        .bind(new.at.score())
        .bind(list(&members))
        .execute(connection)
        .await?;
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

pub(super) async fn page(
    connection: &mut SqliteConnection,
    user: UserId,
    query: ConversationQuery,
) -> Stored<ConversationPage> {
    match query {
        ConversationQuery::Named(ids) => {
            let rows =
                sqlx::query(CONVERSATIONS_NAMED).bind(user.blob()).bind(list(&ids)).fetch_all(connection).await?;
            let conversations = rows.iter().map(read_conversation).collect::<Read<_>>()?;
            Ok(ConversationPage { conversations, next: None })
        }
        ConversationQuery::Page { cursor, limit } => {
            let after = cursor.as_deref().map_or(Ok(Cursor::START), Cursor::read)?;
            let rows = sqlx::query(CONVERSATIONS)
                .bind(user.blob())
                .bind(after.updated_at.score())
                .bind(after.id.blob())
                .bind(i64::from(limit) + 1)
                .fetch_all(connection)
                .await?;
            let page = rows.iter().take(limit as usize).map(read_conversation).collect::<Read<Vec<_>>>()?;
            let last = page.last().filter(|_| rows.len() > page.len());
            let next = last.map(|last| Cursor { updated_at: last.updated_at, id: last.id }.write());
            Ok(ConversationPage { conversations: page, next })
        }
    }
}

fn read_conversation(row: &SqliteRow) -> Read<Conversation> {
    Ok(Conversation {
        id: read_id(row, 0)?,
        updated_at: read_moment(row, 1)?,
        joined: read_seq(row, 2)?,
        members: read_list(row, 3)?,
    })
}

/// The conversation whose members somebody wants to change. Only services learn that there is none.
async fn to_change(connection: &mut SqliteConnection, change: &MemberChange) -> Stored<Talk> {
    let asking = change.actor.unwrap_or(change.user);
    let talk = Talk::find(connection, change.conversation, asking).await?;
    match (talk, change.actor) {
        (Some(talk), Some(_)) if talk.place.is_none() => Err(RecordsError::NotAMember.into()),
        (Some(talk), _) => Ok(talk),
        (None, Some(_)) => Err(RecordsError::NotAMember.into()),
        (None, None) => Err(RecordsError::NotFound("no such conversation".into()).into()),
    }
}

pub(super) async fn add_member(connection: &mut SqliteConnection, change: MemberChange) -> Stored<Vec<UserId>> {
    let mut talk = to_change(connection, &change).await?;
    let Err(place) = talk.members.binary_search(&change.user) else {
        return Ok(talk.members);
    };
    if let Some(actor) = change.actor
        && apart(connection, actor, change.user).await?
    {
        return Err(RecordsError::Blocked.into());
    }
    bounds::member_count(talk.members.len() + 1)?;
    sqlx::query(ADD_MEMBER)
        .bind(change.conversation.blob())
        .bind(change.user.blob())
        .bind(change.at.score())
        .bind(seq(talk.seq))
        .execute(connection)
        .await?;
    talk.members.insert(place, change.user);
    Ok(talk.members)
}

pub(super) async fn remove_member(connection: &mut SqliteConnection, change: MemberChange) -> Stored<Vec<UserId>> {
    let mut talk = to_change(connection, &change).await?;
    if change.actor.is_some_and(|actor| actor != change.user && actor != talk.creator) {
        return Err(RecordsError::Forbidden("only the creator removes others".into()).into());
    }
    let Ok(place) = talk.members.binary_search(&change.user) else {
        return Ok(talk.members);
    };
    sqlx::query(REMOVE_MEMBER)
        .bind(change.conversation.blob())
        .bind(change.user.blob())
        .bind(change.at.score())
        .execute(connection)
        .await?;
    talk.members.remove(place);
    Ok(talk.members)
}
