//! Pairs: the one conversation that two users have with each other.

use roost_core::ids::{ConversationId, UserId};
use roost_core::port::{Conversation, ConversationQuery, Created, DirectRequest, NewConversation, RecordsError};

use super::conversations::{page, store};
use super::values::read_id;
use super::{QueryResult, SqlConnection, lock, run};

pub(super) async fn create_direct<C: SqlConnection>(sql: &mut C, request: DirectRequest) -> QueryResult<Created> {
    let users = request.users();
    if let Some(conversation) = existing(sql, users, request.user).await? {
        return Ok(Created { conversation, repeated: true });
    }
    if !request.may_create {
        return Err(RecordsError::NotFound("the two users have no direct conversation".into()).into());
    }
    // Both users may ask at once. Whoever waits here finds the pair of the other one.
    lock(sql, C::STATEMENTS.lock_counts, users.map(Into::into).into()).await?;
    if let Some(conversation) = existing(sql, users, request.user).await? {
        return Ok(Created { conversation, repeated: true });
    }
    let new = NewConversation { id: None, creator: request.user, members: users.into(), at: request.at };
    let conversation = store(sql, new, users.into()).await?;
    let [first, second] = users;
    run(sql, C::STATEMENTS.make_direct, vec![conversation.id.into(), first.into(), second.into()]).await?;
    Ok(Created { conversation: Conversation { direct: true, ..conversation }, repeated: false })
}

/// The pair of two users, in ascending order, as one of them sees it.
async fn existing<C: SqlConnection>(
    sql: &mut C,
    [first, second]: [UserId; 2],
    user: UserId,
) -> QueryResult<Option<Conversation>> {
    let rows = sql.rows(C::STATEMENTS.pair, vec![first.into(), second.into()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let id: ConversationId = read_id(row, 0)?;
    Ok(page(sql, user, ConversationQuery::Named(vec![id])).await?.conversations.into_iter().next())
}
