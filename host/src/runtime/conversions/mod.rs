//! Translates between the generated types of the contract and the host's own types.
//!
//! Nothing is checked here. What comes from a function is checked where it is used.

mod call;
mod documents;
mod erasing;
mod key_value;
mod reading;
mod records;

pub(super) use documents::{document_key, document_put, document_scope};
pub(super) use key_value::{KeysOf, share_events};
pub(super) use reading::ReadRequest;
use roost_core::ids::{ConversationId, MessageId, UserId};

use super::bindings::types::Id;

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self::from_u128(bits_of(id))
            }
        }

        impl From<$name> for Id {
            fn from(id: $name) -> Self {
                id_of(id.as_u128())
            }
        }
    )*};
}

ids!(UserId, ConversationId, MessageId);

/// The 128 bits of an id.
const fn bits_of(id: Id) -> u128 {
    (id.first as u128) << 96 | (id.second as u128) << 64 | (id.third as u128) << 32 | id.fourth as u128
}

/// The id with these 128 bits.
const fn id_of(bits: u128) -> Id {
    Id { first: (bits >> 96) as u32, second: (bits >> 64) as u32, third: (bits >> 32) as u32, fourth: bits as u32 }
}

/// Translates a list element by element.
pub(super) fn list<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_bits_in_both_directions() {
        let user = UserId::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let id = Id::from(user);
        assert_eq!((id.first, id.second, id.third, id.fourth), (0x0123_4567, 0x89ab_cdef, 0x0011_2233, 0x4455_6677));
        assert_eq!(UserId::from(id), user);
    }
}
