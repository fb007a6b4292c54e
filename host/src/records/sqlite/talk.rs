//! A conversation as every write reads it first: where it stands, who is in it, what the one who asks may do.

use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Counter, Membership, RecordsError};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::fault::Stored;
use super::rows::{Id, Read, is_null, read_counter, read_id, read_list, read_moment, read_seq};
use super::statements::{APART, COUNTERS_OF_PAIRS, TALK};
use roost_core::time::Timestamp;

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
    pub(super) async fn find(
        connection: &mut SqliteConnection,
        conversation: ConversationId,
        user: UserId,
    ) -> Stored<Option<Self>> {
        let query = sqlx::query(TALK).bind(conversation.blob()).bind(user.blob());
        let row = query.fetch_optional(connection).await?;
        Ok(row.as_ref().map(Self::read).transpose()?)
    }

    /// The conversation and the user's place in it.
    pub(super) async fn of_member(
        connection: &mut SqliteConnection,
        conversation: ConversationId,
        user: UserId,
    ) -> Stored<(Self, Place)> {
        let talk = Self::find(connection, conversation, user).await?.ok_or(RecordsError::NotAMember)?;
        let place = talk.place.ok_or(RecordsError::NotAMember)?;
        Ok((talk, place))
    }

    fn read(row: &SqliteRow) -> Read<Self> {
        use sqlx::Row;
        let place =
            if is_null(row, 3)? { None } else { Some(Place { joined: read_seq(row, 3)?, read: read_seq(row, 4)? }) };
        Ok(Self {
            seq: read_seq(row, 0)?,
            creator: read_id(row, 1)?,
            updated_at: read_moment(row, 2)?,
            place,
            members: read_list(row, 5)?,
            blocked: row.try_get(6)?,
        })
    }

    pub(super) const fn refuse_blocked(&self) -> Result<(), RecordsError> {
        if self.blocked { Err(RecordsError::Blocked) } else { Ok(()) }
    }

    pub(super) fn membership(self, place: Place) -> Membership {
        Membership { joined: place.joined, members: self.members, blocked: self.blocked }
    }
}

/// One user's standing in one conversation.
pub(super) async fn counter(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    user: UserId,
) -> Stored<Counter> {
    let pair = serde_json::json!([[conversation.hex(), user.hex()]]).to_string();
    let row = sqlx::query(COUNTERS_OF_PAIRS).bind(pair).fetch_optional(connection).await?;
    let row = row.ok_or(RecordsError::NotAMember)?;
    Ok(read_counter(&row)?.1)
}

/// One of the two has blocked the other.
pub(super) async fn apart(connection: &mut SqliteConnection, one: UserId, other: UserId) -> Stored<bool> {
    Ok(sqlx::query_scalar(APART).bind(one.blob()).bind(other.blob()).fetch_one(connection).await?)
}
