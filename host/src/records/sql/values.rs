//! What goes into a statement, before the database's own types.

use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::time::Timestamp;

/// One parameter of a statement. Ids are the 128 bits of a UUID.
#[derive(Clone, Debug)]
pub(in crate::records) enum Value {
    Id(u128),
    Number(i64),
    Text(String),
    Ids(Vec<u128>),
    /// Conversation and user.
    Pairs(Vec<(u128, u128)>),
    /// Conversation and sequence.
    Steps(Vec<(u128, i64)>),
    /// Conversation, user, and how many moves.
    Moves(Vec<(u128, u128, i64)>),
}

/// An id of 16 bytes.
pub(super) trait Id: Copy {
    fn bits(self) -> u128;
    fn of_bits(bits: u128) -> Self;
}

macro_rules! id {
    ($($name:ident),*) => {
        $(impl Id for $name {
            fn bits(self) -> u128 {
                self.as_u128()
            }

            fn of_bits(bits: u128) -> Self {
                Self::from_u128(bits)
            }
        })*
    };
}

id!(UserId, ConversationId, MessageId);

impl<I: Id> From<I> for Value {
    fn from(id: I) -> Self {
        Self::Id(id.bits())
    }
}

impl<I: Id> From<&[I]> for Value {
    fn from(ids: &[I]) -> Self {
        Self::Ids(ids.iter().map(|id| id.bits()).collect())
    }
}

impl From<Seq> for Value {
    fn from(seq: Seq) -> Self {
        Self::Number(number(seq.0))
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Number(moment.score())
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Number(number(count))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// As the databases count; a number beyond any that exists stays beyond.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
