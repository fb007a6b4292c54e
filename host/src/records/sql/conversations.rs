//! Conversations: their state, their members, and a user's pages of them.

use std::fmt;

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::limits::{CONVERSATIONS_MAX, MEMBERS_SHOWN_MAX, READS_SHOWN_MAX};
use roost_core::port::{
    Conversation, ConversationPage, ConversationQuery, Created, MemberChange, MembersPage, MembersQuery, Membership,
    NOBODY, NewConversation, RecordsError, records_bounds as bounds,
};
use roost_core::time::Timestamp;
use uuid::Uuid;

use super::contacts::{is_any_blocked, is_blocked_with_any};
use super::values::{UuidId, read_conversation, read_id, read_ids, read_member, read_seq};
use super::{ColumnResult, Columns, Parameter, QueryResult, SqlConnection, lock, run};

/// A member's position in a conversation: what the member may see, and what is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberPosition {
    pub(super) joined: Seq,
    pub(super) read: Seq,
}

/// A conversation as every write reads it first: its sequence number, its members, and the position of the user who
/// asks.
#[derive(Debug)]
pub(super) struct ConversationState {
    pub(super) seq: Seq,
    pub(super) creator: UserId,
    /// The position of the user who asks; `None`: the user is no member.
    pub(super) position: Option<MemberPosition>,
    pub(super) members: Vec<UserId>,
    /// There are two members, and one of them has blocked the other.
    pub(super) blocked: bool,
    /// This is the pair of two users.
    pub(super) direct: bool,
}

impl ConversationState {
    /// Reads the conversation; `None`: there is no such conversation.
    pub(super) async fn find<C: SqlConnection>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> QueryResult<Option<Self>> {
        let rows = sql.rows(C::STATEMENTS.conversation_state, vec![conversation.into(), user.into()]).await?;
        Ok(rows.first().map(Self::read).transpose()?)
    }

    /// As [`Self::find`], and locks the conversation until the transaction ends.
    pub(super) async fn find_locked<C: SqlConnection>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> QueryResult<Option<Self>> {
        lock(sql, C::STATEMENTS.lock_conversation, vec![conversation.into()]).await?;
        Self::find(sql, conversation, user).await
    }

    /// Reads the conversation and the position of a user, who must be a member.
    pub(super) async fn of_member<C: SqlConnection>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> QueryResult<(Self, MemberPosition)> {
        Ok(Self::require_member(Self::find(sql, conversation, user).await?)?)
    }

    /// As [`Self::of_member`], and locks the conversation until the transaction ends.
    pub(super) async fn of_member_locked<C: SqlConnection>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> QueryResult<(Self, MemberPosition)> {
        Ok(Self::require_member(Self::find_locked(sql, conversation, user).await?)?)
    }

    fn require_member(found: Option<Self>) -> Result<(Self, MemberPosition), RecordsError> {
        let state = found.ok_or(RecordsError::NotAMember)?;
        let position = state.position.ok_or(RecordsError::NotAMember)?;
        Ok((state, position))
    }

    fn read(row: &impl Columns) -> ColumnResult<Self> {
        let position = if row.is_null(2)? {
            None
        } else {
            Some(MemberPosition { joined: read_seq(row, 2)?, read: read_seq(row, 3)? })
        };
        Ok(Self {
            seq: read_seq(row, 0)?,
            creator: read_id(row, 1)?,
            position,
            members: read_ids(row, 4)?,
            blocked: row.flag(5)?,
            direct: row.flag(6)?,
        })
    }

    /// Whether the user created the conversation. Nobody has created those of a user who was erased.
    pub(super) fn is_creator(&self, user: UserId) -> bool {
        self.creator == user && user != NOBODY
    }

    /// Refuses what a block between two members forbids.
    pub(super) const fn refuse_blocked(&self) -> Result<(), RecordsError> {
        if self.blocked { Err(RecordsError::Blocked) } else { Ok(()) }
    }

    /// The membership of the user with this position.
    pub(super) fn membership(self, position: MemberPosition) -> Membership {
        Membership { joined: position.joined, members: self.members, blocked: self.blocked }
    }
}

pub(super) async fn create<C: SqlConnection>(
    sql: &mut C,
    new: NewConversation,
    members: Vec<UserId>,
) -> QueryResult<Created> {
    if let Some(id) = new.id
        && let Some(state) = ConversationState::find(sql, id, new.creator).await?
    {
        return existing(sql, id, &state, &new, &members).await;
    }
    Ok(Created { conversation: store(sql, new, members).await?, repeated: false })
}

/// Stores a new conversation, if its members may be in one together.
pub(super) async fn store<C: SqlConnection>(
    sql: &mut C,
    new: NewConversation,
    members: Vec<UserId>,
) -> QueryResult<Conversation> {
    let one_too_many = join(sql, &members).await?;
    if is_any_blocked(sql, &members).await? {
        return Err(RecordsError::Blocked.into());
    }
    one_too_many?;
    let id = new.id.unwrap_or_else(|| Uuid::now_v7().into());
    let stored = vec![id.into(), new.creator.into(), new.at.into(), members.as_slice().into()];
    run(sql, C::STATEMENTS.create_conversation, stored).await?;
    let (member_count, reads) = (members.len(), members.len() <= READS_SHOWN_MAX);
    Ok(Conversation {
        id,
        direct: false,
        member_count: member_count as u64,
        reads: if reads { vec![Seq::ZERO; member_count] } else { Vec::new() },
        read: Seq::ZERO,
        members: members.into_iter().take(MEMBERS_SHOWN_MAX).collect(),
        joined: Seq::ZERO,
        updated_at: new.at,
    })
}

/// Counts one conversation more for users in ascending order, and locks their counts: from now on no block between two
/// of them is stored until the transaction ends. The inner error says that one of them is in too many.
async fn join<C: SqlConnection>(sql: &mut C, users: &[UserId]) -> QueryResult<Result<(), RecordsError>> {
    let asked = vec![users.into(), (CONVERSATIONS_MAX as u64).into()];
    let rows = sql.rows(C::STATEMENTS.join_conversation, asked).await?;
    let too_many = rows.first().map(|row| read_id(row, 0)).transpose()?;
    Ok(too_many.map_or(Ok(()), |user| Err(bounds::too_many_conversations(user))))
}

/// The conversation that has this id already: a repetition by the same creator with the same members, or a conflict.
async fn existing<C: SqlConnection>(
    sql: &mut C,
    id: ConversationId,
    state: &ConversationState,
    new: &NewConversation,
    members: &[UserId],
) -> QueryResult<Created> {
    let is_repeated = state.creator == new.creator && state.members == members;
    let named = ConversationQuery::Named(vec![id]);
    let found = if is_repeated { page(sql, new.creator, named).await?.conversations } else { Vec::new() };
    let conflict = || RecordsError::Conflict("the conversation's id is taken".into());
    let conversation = found.into_iter().next().ok_or_else(conflict)?;
    Ok(Created { conversation, repeated: true })
}

pub(super) async fn page<C: SqlConnection>(
    sql: &mut C,
    user: UserId,
    query: ConversationQuery,
) -> QueryResult<ConversationPage> {
    match query {
        ConversationQuery::Named(ids) => {
            let asked = vec![user.into(), ids.as_slice().into()];
            let rows = sql.rows(C::STATEMENTS.conversations_named, asked).await?;
            let conversations = rows.iter().map(read_conversation).collect::<ColumnResult<_>>()?;
            Ok(ConversationPage { conversations, next: None })
        }
        ConversationQuery::Page { cursor, limit } => {
            let after = cursor.as_deref().map_or(Ok(Cursor::START), Cursor::parse)?;
            let asked = vec![user.into(), after.updated_at.into(), after.id.into(), (u64::from(limit) + 1).into()];
            let rows = sql.rows(C::STATEMENTS.conversations, asked).await?;
            let page = rows.iter().take(limit as usize).map(read_conversation).collect::<ColumnResult<Vec<_>>>()?;
            let last = page.last().filter(|_| rows.len() > page.len());
            let next = last.map(|last| Cursor { updated_at: last.updated_at, id: last.id }.to_string());
            Ok(ConversationPage { conversations: page, next })
        }
    }
}

/// Locks and reads the conversation whose members change. Only services learn that there is no such conversation.
async fn lock_for<C: SqlConnection>(sql: &mut C, change: &MemberChange) -> QueryResult<ConversationState> {
    let asking = change.actor.unwrap_or(change.user);
    let found = ConversationState::find_locked(sql, change.conversation, asking).await?;
    match (found, change.actor) {
        (Some(state), Some(_)) if state.position.is_none() => Err(RecordsError::NotAMember.into()),
        (Some(state), _) => Ok(state),
        (None, Some(_)) => Err(RecordsError::NotAMember.into()),
        (None, None) => Err(RecordsError::NotFound("no such conversation".into()).into()),
    }
}

pub(super) async fn add_member<C: SqlConnection>(sql: &mut C, change: MemberChange) -> QueryResult<Vec<UserId>> {
    let mut state = lock_for(sql, &change).await?;
    if state.direct {
        return Err(RecordsError::Direct.into());
    }
    let Err(index) = state.members.binary_search(&change.user) else {
        return Ok(state.members);
    };
    let one_too_many = join(sql, &[change.user]).await?;
    if is_blocked_with_any(sql, change.user, &state.members).await? {
        return Err(RecordsError::Blocked.into());
    }
    bounds::member_count(state.members.len() + 1)?;
    one_too_many?;
    let stored = vec![change.conversation.into(), change.user.into(), change.at.into(), state.seq.into()];
    run(sql, C::STATEMENTS.add_member, stored).await?;
    state.members.insert(index, change.user);
    Ok(state.members)
}

pub(super) async fn remove_member<C: SqlConnection>(sql: &mut C, change: MemberChange) -> QueryResult<Vec<UserId>> {
    let mut state = lock_for(sql, &change).await?;
    // The other member of a pair may have been erased.
    if state.direct && state.members.len() > 1 {
        return Err(RecordsError::Direct.into());
    }
    if change.actor.is_some_and(|actor| actor != change.user && !state.is_creator(actor)) {
        return Err(RecordsError::Forbidden(
            "only the conversation's creator and services may remove other members".into(),
        )
        .into());
    }
    let Ok(index) = state.members.binary_search(&change.user) else {
        return Ok(state.members);
    };
    // As for a member who joins, the count is locked before the outbox.
    run(sql, C::STATEMENTS.leave_conversation, vec![change.user.into()]).await?;
    let removed = vec![change.conversation.into(), change.user.into(), change.at.into()];
    run(sql, C::STATEMENTS.remove_member, removed).await?;
    state.members.remove(index);
    Ok(state.members)
}

pub(super) async fn members<C: SqlConnection>(sql: &mut C, query: MembersQuery) -> QueryResult<MembersPage> {
    // A service is shown every position: nobody has blocked this user.
    let asking = query.actor.unwrap_or(NOBODY);
    let rows = sql.rows(C::STATEMENTS.membership, vec![query.conversation.into(), asking.into()]).await?;
    match (rows.first().map(|row| row.flag(0)).transpose()?, query.actor) {
        (Some(true), Some(_)) | (Some(_), None) => {}
        (_, Some(_)) => return Err(RecordsError::NotAMember.into()),
        (None, None) => return Err(RecordsError::NotFound("no such conversation".into()).into()),
    }
    let Some(first) = query.after.map_or(Some(0), |after| after.bits().checked_add(1)) else {
        return Ok(MembersPage { members: Vec::new(), next: None });
    };
    let limit = query.limit as usize;
    let asked = vec![query.conversation.into(), Parameter::Id(first), (limit as u64 + 1).into(), asking.into()];
    let rows = sql.rows(C::STATEMENTS.members, asked).await?;
    let members = rows.iter().take(limit).map(read_member).collect::<ColumnResult<Vec<_>>>()?;
    let next = members.last().filter(|_| rows.len() > limit).map(|last| last.user);
    Ok(MembersPage { members, next })
}

/// The position where a page of conversations continues: the activity and the id of the last entry of the page before.
/// It stays right whatever happens to the conversations above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    updated_at: Timestamp,
    id: ConversationId,
}

impl Cursor {
    /// The position before the first entry.
    const START: Self = Self { updated_at: Timestamp(i64::MAX as u64), id: ConversationId::from_u128(u128::MAX) };

    fn parse(text: &str) -> Result<Self, RecordsError> {
        let parse = || {
            let (timestamp, id) = text.split_once('.')?;
            let updated_at = timestamp.parse().ok().filter(|timestamp| i64::try_from(*timestamp).is_ok())?;
            Some(Self { updated_at: Timestamp(updated_at), id: id.parse().ok()? })
        };
        parse().ok_or_else(|| {
            RecordsError::Invalid("the cursor is not one of an earlier page; leave it out for the first page".into())
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.updated_at.0, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_parsed_from_its_own_text() {
        let cursor = Cursor { updated_at: Timestamp(1_790_000_000_123), id: ConversationId::from_u128(7) };
        assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        assert_eq!(Cursor::parse(&Cursor::START.to_string()), Ok(Cursor::START));
    }

    #[test]
    fn text_that_is_no_cursor_is_refused() {
        let id = "00000000-0000-0000-0000-000000000007";
        for text in ["", ".", "1", &format!("-1.{id}"), &format!("18446744073709551615.{id}"), "1.7", "é.é"] {
            assert!(matches!(Cursor::parse(text), Err(RecordsError::Invalid(_))), "{text}");
        }
    }
}
