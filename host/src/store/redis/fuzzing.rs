//! Runs the parsers of Redis replies on any bytes, for the fuzz target of the tests. The store itself does not use this
//! file.

use redis::Value as Reply;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Mutation, Query, Transaction};

use super::connections::Address;
use super::connections::topology::read_slots;
use super::{commit, feed, read, subscriptions};

/// Parses the bytes as one reply, and interprets the reply as the answer to each kind of request. A reply that makes no
/// sense must be an error, never a panic.
pub fn interpret_reply(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(subscriptions::message::read(text.as_bytes()));
    }
    let Ok(reply) = redis::parse_redis_value(bytes) else { return };
    let user = UserId::from_u128(1);
    let key = || Key::of_user(Space::UnreadTotal, user);
    let queries = [
        Query::Bytes(key()),
        Query::Counter(key()),
        Query::Fields(key()),
        Query::NamedFields(key(), ["a".into(), "b".into()].into()),
        Query::TimeToLive(key()),
        Query::Presence(key()),
        Query::OrderedRange { key: key(), minimum: 0, maximum: 1, limit: 10 },
        Query::IndexedCounters { index: key(), space: Space::UnreadConversation },
    ];
    for query in &queries {
        drop(read::interpret(query, reply.clone()));
    }
    let transaction = || Transaction::new(Owner::User(user));
    let add = |key: Key| transaction().mutate(Mutation::Add { key, delta: 1, floor: None });
    for transaction in [transaction(), add(key()), add(Key::app(Owner::User(user), "item"))] {
        drop(commit::answer(&transaction, reply.clone()));
    }
    if let Ok(entries) = feed::entries(reply.clone(), user) {
        entries.into_iter().for_each(|entry| drop(entry.into_delivery()));
    }
    if let Reply::Array(_) = &reply {
        drop(read_slots(&reply, &Address { host: "localhost".to_owned(), port: 6_379 }));
    }
}
