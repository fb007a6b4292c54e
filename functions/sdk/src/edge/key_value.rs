//! The core's key-value port on the interface `key-value`.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};

use super::{Edge, list};
use crate::bindings::roost::edge::key_value as wire;

impl KeyValue for Edge {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        wire::read(&list::<_, wire::Query>(queries)).map(list).map_err(StoreError::from)
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        wire::commit(&list::<_, wire::Transaction>(transactions)).map(list).map_err(StoreError::from)
    }
}

impl From<Space> for wire::Space {
    fn from(space: Space) -> Self {
        match space {
            Space::Online => Self::Online,
            Space::Presence => Self::Presence,
            Space::Devices => Self::Devices,
            Space::PresenceDue => Self::PresenceDue,
            Space::UnreadTotal => Self::UnreadTotal,
            Space::UnreadConversation => Self::UnreadConversation,
            Space::UnreadSequence => Self::UnreadSequence,
            Space::UnreadRead => Self::UnreadRead,
            Space::UnreadLease => Self::UnreadLease,
            Space::LastMessage => Self::LastMessage,
            Space::App => Self::App,
        }
    }
}

impl From<Owner> for wire::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::User(user) => Self::User(user.into()),
            Owner::Conversation(conversation) => Self::Conversation(conversation.into()),
            Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

impl From<Key> for wire::Key {
    fn from(key: Key) -> Self {
        Self { space: key.space.into(), owner: key.owner.into(), item: key.item }
    }
}

impl From<Query> for wire::Query {
    fn from(query: Query) -> Self {
        match query {
            Query::Bytes(key) => Self::Bytes(key.into()),
            Query::Counter(key) => Self::Counter(key.into()),
            Query::Fields(key) => Self::Fields(key.into()),
            Query::NamedFields(key, names) => Self::NamedFields(wire::NamedFields { key: key.into(), names }),
            Query::TimeToLive(key) => Self::TimeToLive(key.into()),
            Query::OrderedRange { key, minimum, maximum, limit } => {
                Self::OrderedRange(wire::OrderedRange { key: key.into(), minimum, maximum, limit })
            }
            Query::Presence(key) => Self::Presence(key.into()),
            Query::IndexedCounters { index, space } => {
                Self::IndexedCounters(wire::IndexedCounters { index: index.into(), space: space.into() })
            }
        }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        match value {
            wire::Value::Missing => Self::Missing,
            wire::Value::Bytes(bytes) => Self::Bytes(bytes),
            wire::Value::Counter(number) => Self::Counter(number),
            wire::Value::Fields(fields) => Self::Fields(fields),
            wire::Value::NamedFields(values) => Self::NamedFields(values),
            wire::Value::TimeToLive(left_ms) => Self::TimeToLive(left_ms),
            wire::Value::Ordered(members) => Self::Ordered(members),
            wire::Value::Presence(present) => Self::Presence(present),
            wire::Value::Counters(counters) => Self::Counters(counters),
        }
    }
}

impl From<Check> for wire::Check {
    fn from(check: Check) -> Self {
        match check {
            Check::Absent(key) => Self::Absent(key.into()),
            Check::Present(key) => Self::Present(key.into()),
            Check::Equals(key, value) => Self::Equals(wire::Equals { key: key.into(), value }),
            Check::FieldEquals(key, field, value) => {
                Self::FieldEquals(wire::FieldEquals { key: key.into(), field, value })
            }
            Check::FieldBelow(key, field, limit) => {
                Self::FieldBelow(wire::FieldBelow { key: key.into(), field, limit })
            }
            Check::ScoreEquals(key, member, score) => {
                Self::ScoreEquals(wire::ScoreEquals { key: key.into(), member, score })
            }
        }
    }
}

impl From<Mutation> for wire::Mutation {
    fn from(mutation: Mutation) -> Self {
        match mutation {
            Mutation::Set(key, value, time_to_live) => Self::Set(wire::Set { key: key.into(), value, time_to_live }),
            Mutation::Delete(key) => Self::Delete(key.into()),
            Mutation::Add { key, delta, floor } => Self::Add(wire::Add { key: key.into(), delta, floor }),
            Mutation::SetFields(key, fields) => Self::SetFields(wire::SetFields { key: key.into(), fields }),
            Mutation::DeleteFields(key, names) => Self::DeleteFields(wire::DeleteFields { key: key.into(), names }),
            Mutation::AddField(key, field, delta) => Self::AddField(wire::AddField { key: key.into(), field, delta }),
            Mutation::Expire(key, time_to_live) => Self::Expire(wire::Expire { key: key.into(), time_to_live }),
            Mutation::Persist(key) => Self::Persist(key.into()),
            Mutation::OrderedPut(key, member, score) => {
                Self::OrderedPut(wire::OrderedPut { key: key.into(), member, score })
            }
            Mutation::OrderedRemove(key, member) => {
                Self::OrderedRemove(wire::OrderedRemove { key: key.into(), member })
            }
        }
    }
}

impl From<Transaction> for wire::Transaction {
    fn from(transaction: Transaction) -> Self {
        Self {
            owner: transaction.owner.into(),
            checks: list(transaction.checks),
            mutations: list(transaction.mutations),
            publications: list(transaction.publications),
        }
    }
}

impl From<wire::Outcome> for Outcome {
    fn from(outcome: wire::Outcome) -> Self {
        match outcome {
            wire::Outcome::Committed(results) => Self::Committed(results),
            wire::Outcome::Refused(check) => Self::Refused(check),
            wire::Outcome::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl From<wire::Error> for StoreError {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::Denied(text) => Self::Denied(text),
            wire::Error::WrongType(text) => Self::WrongType(text),
            wire::Error::CrossPartition(text) => Self::CrossPartition(text),
            wire::Error::TooLarge(text) => Self::TooLarge(text),
            wire::Error::Invalid(text) => Self::Invalid(text),
            wire::Error::Unavailable(retry_after_ms) => Self::Unavailable { retry_after_ms },
        }
    }
}
