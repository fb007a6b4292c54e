//! Translates between the generated types of the contract and the host's own types.
//!
//! Nothing is checked here. What comes from a function is checked where it is used.

mod call;
mod documents;
mod key_value;
mod reading;
mod records;

pub(super) use documents::{document_key, document_put, document_scope};
pub(super) use key_value::KeysOf;
pub(super) use reading::ReadRequest;
use roost_core::ids::{ConversationId, MessageId, UserId};

use super::bindings::types::Id;

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self::from_u128(u128::from(id.high) << 64 | u128::from(id.low))
            }
        }

        impl From<$name> for Id {
            fn from(id: $name) -> Self {
                let bits = id.as_u128();
                Self { high: (bits >> 64) as u64, low: bits as u64 }
            }
        }
    )*};
}

ids!(UserId, ConversationId, MessageId);

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
        assert_eq!((id.high, id.low), (0x0123_4567_89ab_cdef, 0x0011_2233_4455_6677));
        assert_eq!(UserId::from(id), user);
    }
}
