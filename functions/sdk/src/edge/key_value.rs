//! The core's key-value port on the interface `key-value`.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, KeyValue, Mutation, Outcome, Query, StoreError, Transaction, Value};

use super::{Edge, lent, list, reading};
use crate::bindings::roost::edge::key_value as wire;

impl KeyValue for Edge {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        reading::read(&queries)
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
