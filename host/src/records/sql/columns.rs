//! From rows to the core's types, whatever the database.

use roost_core::ids::{Seq, UserId};
use roost_core::port::{Change, ChangeKind, Conversation, Counter, Message};
use roost_core::time::Timestamp;

use super::values::Id;

pub(in crate::records) type Read<T> = Result<T, sqlx::Error>;

/// One row, column by column, in the order of [`super::Statements`].
pub(in crate::records) trait Columns {
    /// The bits of an id.
    fn bits(&self, column: usize) -> Read<u128>;
    /// The bits of several ids, in ascending order.
    fn all_bits(&self, column: usize) -> Read<Vec<u128>>;
    fn number(&self, column: usize) -> Read<i64>;
    fn text(&self, column: usize) -> Read<String>;
    fn flag(&self, column: usize) -> Read<bool>;
    fn is_null(&self, column: usize) -> Read<bool>;
}

pub(super) fn read_id<I: Id>(row: &impl Columns, column: usize) -> Read<I> {
    row.bits(column).map(I::of_bits)
}

pub(super) fn read_ids<I: Id>(row: &impl Columns, column: usize) -> Read<Vec<I>> {
    Ok(row.all_bits(column)?.into_iter().map(I::of_bits).collect())
}

pub(super) fn read_number(row: &impl Columns, column: usize) -> Read<u64> {
    row.number(column).and_then(|number| u64::try_from(number).map_err(decode))
}

pub(super) fn read_seq(row: &impl Columns, column: usize) -> Read<Seq> {
    read_number(row, column).map(Seq)
}

pub(super) fn read_moment(row: &impl Columns, column: usize) -> Read<Timestamp> {
    read_number(row, column).map(Timestamp)
}

/// The first nine columns, as every query of messages names them.
pub(super) fn read_message(row: &impl Columns) -> Read<Message> {
    Ok(Message {
        id: read_id(row, 0)?,
        conversation: read_id(row, 1)?,
        seq: read_seq(row, 2)?,
        sender: read_id(row, 3)?,
        kind: row.text(4)?,
        content: row.text(5)?,
        created_at: read_moment(row, 6)?,
        edited_at: if row.is_null(7)? { None } else { Some(read_moment(row, 7)?) },
        deleted: row.flag(8)?,
    })
}

/// A message and, behind it, the change's sequence and kind.
pub(super) fn read_change(row: &impl Columns) -> Read<Change> {
    let kind = match row.number(10)? {
        0 => ChangeKind::Sent,
        1 => ChangeKind::Edited,
        _ => ChangeKind::Deleted,
    };
    Ok(Change { seq: read_seq(row, 9)?, kind, message: read_message(row)? })
}

pub(super) fn read_counter(row: &impl Columns) -> Read<(UserId, Counter)> {
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

pub(super) fn read_conversation(row: &impl Columns) -> Read<Conversation> {
    Ok(Conversation {
        id: read_id(row, 0)?,
        updated_at: read_moment(row, 1)?,
        joined: read_seq(row, 2)?,
        members: read_ids(row, 3)?,
    })
}

pub(in crate::records) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
