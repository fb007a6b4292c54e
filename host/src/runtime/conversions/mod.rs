//! Translation between the contract's generated types and the host's own, by hand, in one place.
//!
//! Nothing is checked here: what a function says is checked where it is used.

mod call;
mod key_value;
mod reading;
mod records;

pub(super) use reading::Reading;
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

/// Element by element.
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
