//! The core's key-value port on the interface `key-value`.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Item, KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};

use super::{Edge, lent, list};
use crate::bindings::roost::edge::key_value as wire;

impl KeyValue for Edge {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        let names: Vec<_> = queries.iter().map(names_asked).collect();
        let queries: Vec<_> = queries.iter().zip(&names).map(|(query, names)| lend_query(query, names)).collect();
        wire::read(&queries).map(list).map_err(StoreError::from)
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let lists: Vec<Vec<_>> = transactions.iter().map(|it| it.mutations.iter().map(Lists::of).collect()).collect();
        let parts: Vec<_> = transactions.iter().zip(&lists).map(|(it, lists)| Parts::of(it, lists)).collect();
        let transactions: Vec<_> = transactions.iter().zip(&parts).map(|(it, parts)| parts.lend(it)).collect();
        wire::commit(&transactions).map(list).map_err(StoreError::from)
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

impl<'a> From<&'a Key> for wire::Key<'a> {
    fn from(key: &'a Key) -> Self {
        Self { space: key.space.into(), owner: key.owner.into(), item: key.item.as_deref() }
    }
}

fn names_asked(query: &Query) -> Vec<&str> {
    match query {
        Query::NamedFields(_, names) => names.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

fn lend_query<'a>(query: &'a Query, names: &'a [&'a str]) -> wire::Query<'a> {
    match query {
        Query::Bytes(key) => wire::Query::Bytes(key.into()),
        Query::Counter(key) => wire::Query::Counter(key.into()),
        Query::Fields(key) => wire::Query::Fields(key.into()),
        Query::NamedFields(key, _) => wire::Query::NamedFields(wire::NamedFields { key: key.into(), names }),
        Query::TimeToLive(key) => wire::Query::TimeToLive(key.into()),
        Query::OrderedRange { key, minimum, maximum, limit } => wire::Query::OrderedRange(wire::OrderedRange {
            key: key.into(),
            minimum: *minimum,
            maximum: *maximum,
            limit: *limit,
        }),
        Query::Presence(key) => wire::Query::Presence(key.into()),
        Query::IndexedCounters { index, space } => {
            wire::Query::IndexedCounters(wire::IndexedCounters { index: index.into(), space: (*space).into() })
        }
    }
}

/// Texts that stand one behind the other.
struct Unpacking<'a> {
    joined: &'a str,
    at: usize,
}

impl<'a> Unpacking<'a> {
    const fn of(joined: &'a str) -> Self {
        Self { joined, at: 0 }
    }

    /// The next text; the host's ends lie between characters, in ascending order.
    fn up_to(&mut self, end: u32) -> String {
        let end = end as usize;
        let text = self.joined.get(self.at..end).unwrap_or_default().to_owned();
        self.at = end;
        text
    }
}

impl From<wire::Item> for Item {
    fn from(item: wire::Item) -> Self {
        match item {
            wire::Item::Uuid(id) => Self::Uuid(u128::from(id.high) << 64 | u128::from(id.low)),
            wire::Item::Text(text) => Self::Text(text),
        }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        match value {
            wire::Value::Missing => Self::Missing,
            wire::Value::Bytes(bytes) => Self::Bytes(bytes),
            wire::Value::Counter(number) => Self::Counter(number),
            wire::Value::Fields(packed) => {
                let mut texts = Unpacking::of(&packed.joined);
                let pairs = packed.ends.chunks_exact(2);
                Self::Fields(
                    pairs.filter_map(|ends| Some((texts.up_to(*ends.first()?), texts.up_to(*ends.last()?)))).collect(),
                )
            }
            wire::Value::NamedFields(packed) => {
                let mut texts = Unpacking::of(&packed.joined);
                Self::NamedFields(packed.ends.into_iter().map(|end| Some(texts.up_to(end?))).collect())
            }
            wire::Value::TimeToLive(left_ms) => Self::TimeToLive(left_ms),
            wire::Value::Ordered(members) => Self::Ordered(members),
            wire::Value::Presence(present) => Self::Presence(present),
            wire::Value::Counters(counters) => {
                Self::Counters(counters.into_iter().map(|(item, number)| (item.into(), number)).collect())
            }
        }
    }
}

impl<'a> From<&'a Check> for wire::Check<'a> {
    fn from(check: &'a Check) -> Self {
        match check {
            Check::Absent(key) => Self::Absent(key.into()),
            Check::Present(key) => Self::Present(key.into()),
            Check::Equals(key, value) => Self::Equals(wire::Equals { key: key.into(), value }),
            Check::FieldEquals(key, field, value) => {
                Self::FieldEquals(wire::FieldEquals { key: key.into(), field, value: value.as_deref() })
            }
            Check::FieldBelow(key, field, limit) => {
                Self::FieldBelow(wire::FieldBelow { key: key.into(), field, limit: *limit })
            }
            Check::ScoreEquals(key, member, score) => {
                Self::ScoreEquals(wire::ScoreEquals { key: key.into(), member, score: *score })
            }
        }
    }
}

/// The lists inside a mutation, for its lent form to point at.
enum Lists<'a> {
    None,
    Fields(Vec<(&'a str, &'a str)>),
    Names(Vec<&'a str>),
}

impl<'a> Lists<'a> {
    fn of(mutation: &'a Mutation) -> Self {
        match mutation {
            Mutation::SetFields(_, fields) => {
                Self::Fields(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            }
            Mutation::DeleteFields(_, names) => Self::Names(names.iter().map(String::as_str).collect()),
            _ => Self::None,
        }
    }

    fn fields(&self) -> &[(&'a str, &'a str)] {
        if let Self::Fields(fields) = self { fields } else { &[] }
    }

    fn names(&self) -> &[&'a str] {
        if let Self::Names(names) = self { names } else { &[] }
    }
}

fn lend_mutation<'a>(mutation: &'a Mutation, lists: &'a Lists<'a>) -> wire::Mutation<'a> {
    use wire::Mutation as Wire;
    match mutation {
        Mutation::Set(key, value, life) => Wire::Set(wire::Set { key: key.into(), value, time_to_live: *life }),
        Mutation::Delete(key) => Wire::Delete(key.into()),
        Mutation::Add { key, delta, floor } => Wire::Add(wire::Add { key: key.into(), delta: *delta, floor: *floor }),
        Mutation::SetFields(key, _) => Wire::SetFields(wire::SetFields { key: key.into(), fields: lists.fields() }),
        Mutation::DeleteFields(key, _) => {
            Wire::DeleteFields(wire::DeleteFields { key: key.into(), names: lists.names() })
        }
        Mutation::AddField(key, field, delta) => {
            Wire::AddField(wire::AddField { key: key.into(), field, delta: *delta })
        }
        Mutation::Expire(key, life) => Wire::Expire(wire::Expire { key: key.into(), time_to_live: *life }),
        Mutation::Persist(key) => Wire::Persist(key.into()),
        Mutation::OrderedPut(key, member, score) => {
            Wire::OrderedPut(wire::OrderedPut { key: key.into(), member, score: *score })
        }
        Mutation::OrderedRemove(key, member) => Wire::OrderedRemove(wire::OrderedRemove { key: key.into(), member }),
    }
}

/// The lists inside a transaction, for its lent form to point at.
struct Parts<'a> {
    checks: Vec<wire::Check<'a>>,
    mutations: Vec<wire::Mutation<'a>>,
    publications: Vec<wire::Event<'a>>,
}

impl<'a> Parts<'a> {
    fn of(transaction: &'a Transaction, lists: &'a [Lists<'a>]) -> Self {
        let mutations = transaction.mutations.iter().zip(lists);
        Self {
            checks: lent(&transaction.checks),
            mutations: mutations.map(|(mutation, lists)| lend_mutation(mutation, lists)).collect(),
            publications: lent(&transaction.publications),
        }
    }

    fn lend(&'a self, transaction: &Transaction) -> wire::Transaction<'a> {
        wire::Transaction {
            owner: transaction.owner.into(),
            checks: &self.checks,
            mutations: &self.mutations,
            publications: &self.publications,
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
