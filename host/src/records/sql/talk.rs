//! A conversation as every write reads it first: where it stands, who is in it, what the one who asks may do.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Membership, RecordsError};
use roost_core::time::Timestamp;

use super::rows::{Columns, Read, read_id, read_ids, read_moment, read_seq};
use super::{Sql, Stored, lock};

/// A member's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) joined: Seq,
    pub(super) read: Seq,
}

#[derive(Debug)]
pub(super) struct Talk {
    pub(super) seq: Seq,
    pub(super) creator: UserId,
    pub(super) updated_at: Timestamp,
    /// Of the one who asks.
    pub(super) place: Option<Place>,
    pub(super) members: Vec<UserId>,
    /// There are two members, and one of them has blocked the other.
    pub(super) blocked: bool,
}

impl Talk {
    /// `None`: there is no such conversation.
    pub(super) async fn find<C: Sql>(sql: &mut C, conversation: ConversationId, user: UserId) -> Stored<Option<Self>> {
        let rows = sql.rows(C::STATEMENTS.talk, vec![conversation.into(), user.into()]).await?;
        Ok(rows.first().map(Self::read).transpose()?)
    }

    /// As [`Talk::find`]; it stays like this until the transaction ends.
    pub(super) async fn find_to_change<C: Sql>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> Stored<Option<Self>> {
        lock(sql, C::STATEMENTS.lock_conversation, vec![conversation.into()]).await?;
        Self::find(sql, conversation, user).await
    }

    /// The conversation and the user's place in it.
    pub(super) async fn of_member<C: Sql>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> Stored<(Self, Place)> {
        Ok(Self::joined(Self::find(sql, conversation, user).await?)?)
    }

    /// As [`Talk::of_member`]; it stays like this until the transaction ends.
    pub(super) async fn of_member_to_change<C: Sql>(
        sql: &mut C,
        conversation: ConversationId,
        user: UserId,
    ) -> Stored<(Self, Place)> {
        Ok(Self::joined(Self::find_to_change(sql, conversation, user).await?)?)
    }

    fn joined(talk: Option<Self>) -> Result<(Self, Place), RecordsError> {
        let talk = talk.ok_or(RecordsError::NotAMember)?;
        let place = talk.place.ok_or(RecordsError::NotAMember)?;
        Ok((talk, place))
    }

    fn read(row: &impl Columns) -> Read<Self> {
        let place =
            if row.is_null(3)? { None } else { Some(Place { joined: read_seq(row, 3)?, read: read_seq(row, 4)? }) };
        Ok(Self {
            seq: read_seq(row, 0)?,
            creator: read_id(row, 1)?,
            updated_at: read_moment(row, 2)?,
            place,
            members: read_ids(row, 5)?,
            blocked: row.flag(6)?,
        })
    }

    pub(super) const fn refuse_blocked(&self) -> Result<(), RecordsError> {
        if self.blocked { Err(RecordsError::Blocked) } else { Ok(()) }
    }

    pub(super) fn membership(self, place: Place) -> Membership {
        Membership { joined: place.joined, members: self.members, blocked: self.blocked }
    }
}
