//! The core's ports on the imports of `roost:edge`: [`Edge`] is the world that a function's use cases run in.
//!
//! Types are converted by hand, those of one interface in one file. Arguments of imports borrow from the core's values
//! instead of copying them. No rule and no bound is checked here: the host does that.

mod documents;
mod erasing;
mod key_value;
mod outbox;
mod reading;
mod records;

use roost_core::ids::{ConversationId, MessageId, UserId};
use roost_core::port::{Clock, Event, PubSub, Publication, StoreError, Telemetry};
use roost_core::time::Timestamp;

use crate::bindings::roost::edge::{clock, pub_sub, telemetry, types as wire};
use crate::log::{Level, log};

/// The host, as an implementation of the core's ports. It has no state, and every call returns when its answer is
/// there.
#[derive(Clone, Copy, Debug)]
pub struct Edge;

impl Clock for Edge {
    fn now(&self) -> Timestamp {
        Timestamp(clock::now())
    }

    async fn wait(&self, milliseconds: u32) {
        clock::wait(milliseconds);
    }
}

impl PubSub for Edge {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        pub_sub::publish(&borrow_all(&publications)).map_err(StoreError::from)
    }
}

impl Telemetry for Edge {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        telemetry::count(name, labels, amount);
    }

    fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        log(Level::Warn, message, fields);
    }
}

/// Converts each item of a list; the converted items borrow from the originals.
pub(crate) fn borrow_all<'a, A, B: From<&'a A>>(items: &'a [A]) -> Vec<B> {
    items.iter().map(B::from).collect()
}

/// Converts each item of a list.
pub(crate) fn list<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}

/// The 128 bits of an id.
pub(crate) fn bits_of(id: wire::Id) -> u128 {
    u128::from(id.first) << 96 | u128::from(id.second) << 64 | u128::from(id.third) << 32 | u128::from(id.fourth)
}

macro_rules! convert_id {
    ($($id:ident),*) => {$(
        impl From<wire::Id> for $id {
            fn from(id: wire::Id) -> Self {
                Self::from_u128(bits_of(id))
            }
        }

        impl From<$id> for wire::Id {
            fn from(id: $id) -> Self {
                let bits = id.as_u128();
                Self {
                    first: (bits >> 96) as u32,
                    second: (bits >> 64) as u32,
                    third: (bits >> 32) as u32,
                    fourth: bits as u32,
                }
            }
        }
    )*};
}

convert_id!(UserId, ConversationId, MessageId);

impl<'a> From<&'a Event> for wire::Event<'a> {
    fn from(event: &'a Event) -> Self {
        Self { name: &event.name, payload: &event.payload, durable: event.durable }
    }
}

impl<'a> From<&'a Publication> for pub_sub::Publication<'a> {
    fn from(publication: &'a Publication) -> Self {
        Self { user: publication.user.into(), event: (&publication.event).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_both_of_its_halves() {
        let user = UserId::from_u128(0x6f1c_1fd4_3c5b_4a8e_9d1a_0c6a_2f1b_7e55);
        let id = wire::Id::from(user);
        assert_eq!((id.first, id.second, id.third, id.fourth), (0x6f1c_1fd4, 0x3c5b_4a8e, 0x9d1a_0c6a, 0x2f1b_7e55));
        assert_eq!(UserId::from(id), user);
    }
}
