//! Between rows and the core's types, both ways.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Change, ChangeKind, Counter, Message};
use roost_core::time::Timestamp;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub(super) type Read<T> = Result<T, sqlx::Error>;

/// An id of 16 bytes.
pub(super) trait Id: Sized {
    fn bits(&self) -> u128;
    fn of_bits(bits: u128) -> Self;

    fn blob(&self) -> Vec<u8> {
        self.bits().to_be_bytes().to_vec()
    }

    fn hex(&self) -> String {
        format!("{:032x}", self.bits())
    }
}

macro_rules! id {
    ($($name:ident),*) => {
        $(impl Id for $name {
            fn bits(&self) -> u128 {
                self.as_u128()
            }

            fn of_bits(bits: u128) -> Self {
                Self::from_u128(bits)
            }
        })*
    };
}

id!(UserId, ConversationId, MessageId);

/// A list of ids for `json_each`.
pub(super) fn list<I: Id>(ids: &[I]) -> String {
    Value::from(ids.iter().map(Id::hex).collect::<Vec<_>>()).to_string()
}

/// A sequence as SQLite's integer; one beyond any that exists stays beyond.
pub(super) fn seq(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(super) fn read_id<I: Id>(row: &SqliteRow, column: usize) -> Read<I> {
    let bytes: &[u8] = row.try_get(column)?;
    let bytes: [u8; 16] = bytes.try_into().map_err(decode)?;
    Ok(I::of_bits(u128::from_be_bytes(bytes)))
}

pub(super) fn read_number(row: &SqliteRow, column: usize) -> Read<u64> {
    row.try_get::<i64, _>(column).and_then(|number| u64::try_from(number).map_err(decode))
}

pub(super) fn read_seq(row: &SqliteRow, column: usize) -> Read<Seq> {
    read_number(row, column).map(Seq)
}

pub(super) fn read_moment(row: &SqliteRow, column: usize) -> Read<Timestamp> {
    read_number(row, column).map(Timestamp)
}

pub(super) fn is_null(row: &SqliteRow, column: usize) -> Read<bool> {
    use sqlx::ValueRef;
    Ok(row.try_get_raw(column)?.is_null())
}

/// Ids that came out as one hexadecimal text, in ascending order.
pub(super) fn read_list<I: Id + Ord>(row: &SqliteRow, column: usize) -> Read<Vec<I>> {
    let text: Option<&str> = row.try_get(column)?;
    let digits = text.unwrap_or_default().as_bytes();
    let mut ids = digits
        .chunks(32)
        .map(|digits| {
            let digits = std::str::from_utf8(digits).map_err(decode)?;
            u128::from_str_radix(digits, 16).map(I::of_bits).map_err(decode)
        })
        .collect::<Read<Vec<I>>>()?;
    ids.sort_unstable();
    Ok(ids)
}

/// The first nine columns, as every query of messages names them.
pub(super) fn read_message(row: &SqliteRow) -> Read<Message> {
    let edited_at: Option<i64> = row.try_get(7)?;
    Ok(Message {
        id: read_id(row, 0)?,
        conversation: read_id(row, 1)?,
        seq: read_seq(row, 2)?,
        sender: read_id(row, 3)?,
        kind: row.try_get(4)?,
        content: row.try_get(5)?,
        created_at: read_moment(row, 6)?,
        edited_at: edited_at.map(u64::try_from).transpose().map_err(decode)?.map(Timestamp),
        deleted: row.try_get(8)?,
    })
}

/// A message and, behind it, the change's sequence and kind.
pub(super) fn read_change(row: &SqliteRow) -> Read<Change> {
    let kind = match row.try_get::<i64, _>(10)? {
        0 => ChangeKind::Sent,
        1 => ChangeKind::Edited,
        _ => ChangeKind::Deleted,
    };
    Ok(Change { seq: read_seq(row, 9)?, kind, message: read_message(row)? })
}

pub(super) fn read_counter(row: &SqliteRow) -> Read<(UserId, Counter)> {
    let seq = read_seq(row, 4)?;
    let announced = if is_null(row, 6)? { seq } else { read_seq(row, 6)?.previous() };
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

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
