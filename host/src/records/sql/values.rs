//! The values of statements between the core's types and a database's own: parameters on the way in, columns of rows on
//! the way out.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::limits::READS_SHOWN_MAX;
use roost_core::port::{Change, ChangeKind, Conversation, Counter, Member, Message};
use roost_core::time::Timestamp;

/// One parameter of a statement. Ids are the 128 bits of a UUID.
#[derive(Clone, Debug)]
pub(in crate::records) enum Parameter {
    Id(u128),
    Number(i64),
    Text(String),
    Ids(Vec<u128>),
    /// Members: conversation and user.
    Members(Vec<(u128, u128)>),
    /// Changes: conversation and sequence number.
    Changes(Vec<(u128, i64)>),
    /// Moves of one kind: the first id, the second one, and the number of moves.
    Moves(Vec<(u128, u128, i64)>),
    /// Attempts of changes: conversation, sequence number, attempts, and the time of the next one.
    ChangeAttempts(Vec<(u128, i64, i64, i64)>),
    /// Attempts of moves of one kind: the first id, the second one, attempts, and the time of the next one.
    MoveAttempts(Vec<(u128, u128, i64, i64)>),
    /// Documents by their keys.
    Documents(Vec<ListedDocument>),
}

/// The key of a document, as the columns of the schema.
#[derive(Clone, Debug)]
pub(in crate::records) struct ListedDocument {
    pub(in crate::records) owner_kind: i64,
    pub(in crate::records) owner: u128,
    pub(in crate::records) function: String,
    pub(in crate::records) name: String,
}

/// An id of 16 bytes.
pub(super) trait UuidId: Copy {
    fn bits(self) -> u128;
    fn from_bits(bits: u128) -> Self;
}

macro_rules! uuid_id {
    ($($name:ident),*) => {
        $(impl UuidId for $name {
            fn bits(self) -> u128 {
                self.as_u128()
            }

            fn from_bits(bits: u128) -> Self {
                Self::from_u128(bits)
            }
        })*
    };
}

uuid_id!(UserId, ConversationId, MessageId);

impl<I: UuidId> From<I> for Parameter {
    fn from(id: I) -> Self {
        Self::Id(id.bits())
    }
}

impl<I: UuidId> From<&[I]> for Parameter {
    fn from(ids: &[I]) -> Self {
        Self::Ids(ids.iter().map(|id| id.bits()).collect())
    }
}

impl From<Seq> for Parameter {
    fn from(seq: Seq) -> Self {
        Self::Number(signed(seq.0))
    }
}

impl From<Timestamp> for Parameter {
    fn from(timestamp: Timestamp) -> Self {
        Self::Number(timestamp.score())
    }
}

impl From<u64> for Parameter {
    fn from(number: u64) -> Self {
        Self::Number(signed(number))
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Databases have signed numbers only. A number that is too large becomes the largest, which no stored number reaches.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A value read from a row, or the reason why it cannot be read.
pub(in crate::records) type ColumnResult<T> = Result<T, sqlx::Error>;

/// The columns of one row, in the order that [`super::Statements`] states.
pub(in crate::records) trait Columns {
    /// An id, as 128 bits.
    fn bits(&self, column: usize) -> ColumnResult<u128>;
    /// A list of ids, each as 128 bits, in ascending order.
    fn all_bits(&self, column: usize) -> ColumnResult<Vec<u128>>;
    fn number(&self, column: usize) -> ColumnResult<i64>;
    /// A list of numbers.
    fn numbers(&self, column: usize) -> ColumnResult<Vec<i64>>;
    fn text(&self, column: usize) -> ColumnResult<String>;
    fn flag(&self, column: usize) -> ColumnResult<bool>;
    fn is_null(&self, column: usize) -> ColumnResult<bool>;
}

pub(super) fn read_id<I: UuidId>(row: &impl Columns, column: usize) -> ColumnResult<I> {
    row.bits(column).map(I::from_bits)
}

pub(super) fn read_ids<I: UuidId>(row: &impl Columns, column: usize) -> ColumnResult<Vec<I>> {
    Ok(row.all_bits(column)?.into_iter().map(I::from_bits).collect())
}

pub(super) fn read_number(row: &impl Columns, column: usize) -> ColumnResult<u64> {
    row.number(column).and_then(|number| u64::try_from(number).map_err(decode_error))
}

pub(super) fn read_seq(row: &impl Columns, column: usize) -> ColumnResult<Seq> {
    read_number(row, column).map(Seq)
}

pub(super) fn read_timestamp(row: &impl Columns, column: usize) -> ColumnResult<Timestamp> {
    read_number(row, column).map(Timestamp)
}

/// The first nine columns of every query of messages.
pub(super) fn read_message(row: &impl Columns) -> ColumnResult<Message> {
    Ok(Message {
        id: read_id(row, 0)?,
        conversation: read_id(row, 1)?,
        seq: read_seq(row, 2)?,
        sender: read_id(row, 3)?,
        kind: row.text(4)?,
        content: row.text(5)?,
        created_at: read_timestamp(row, 6)?,
        edited_at: if row.is_null(7)? { None } else { Some(read_timestamp(row, 7)?) },
        deleted: row.flag(8)?,
    })
}

/// A message, followed by the change's sequence number and kind.
pub(super) fn read_change(row: &impl Columns) -> ColumnResult<Change> {
    let kind = match row.number(10)? {
        0 => ChangeKind::Sent,
        1 => ChangeKind::Edited,
        _ => ChangeKind::Deleted,
    };
    Ok(Change { seq: read_seq(row, 9)?, kind, message: read_message(row)? })
}

/// A user and the user's counter in a conversation.
pub(super) fn read_counter(row: &impl Columns) -> ColumnResult<(UserId, Counter)> {
    let seq = read_seq(row, 4)?;
    let announced = if row.is_null(6)? { seq } else { read_seq(row, 6)?.previous() };
    let counter = Counter {
        conversation: read_id(row, 1)?,
        joined: read_seq(row, 2)?,
        read: read_seq(row, 3)?,
        seq,
        count: read_number(row, 5)?,
        announced,
    };
    Ok((read_id(row, 0)?, counter))
}

/// A conversation as one member sees it.
pub(super) fn read_conversation(row: &impl Columns) -> ColumnResult<Conversation> {
    let member_count = read_number(row, 4)?;
    let seq = |number: i64| u64::try_from(number).map(Seq).map_err(decode_error);
    let reads = if member_count > READS_SHOWN_MAX as u64 {
        Vec::new()
    } else {
        row.numbers(6)?.into_iter().map(seq).collect::<ColumnResult<_>>()?
    };
    Ok(Conversation {
        id: read_id(row, 0)?,
        direct: row.flag(7)?,
        updated_at: read_timestamp(row, 1)?,
        joined: read_seq(row, 2)?,
        read: read_seq(row, 3)?,
        member_count,
        members: read_ids(row, 5)?,
        reads,
    })
}

/// A member of a conversation.
pub(super) fn read_member(row: &impl Columns) -> ColumnResult<Member> {
    Ok(Member { user: read_id(row, 0)?, joined: read_seq(row, 1)?, read: read_seq(row, 2)? })
}

/// The error of a column whose content is not what the schema promises.
pub(in crate::records) fn decode_error(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
