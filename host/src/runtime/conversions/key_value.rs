//! Translates keys, transactions and events.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Event, Mutation, Outcome, Publication, StoreError, Transaction};

use super::super::bindings::{key_value as wit, pub_sub, types};
use super::list;

impl From<wit::Space> for Space {
    fn from(space: wit::Space) -> Self {
        match space {
            wit::Space::Online => Self::Online,
            wit::Space::Presence => Self::Presence,
            wit::Space::Devices => Self::Devices,
            wit::Space::PresenceDue => Self::PresenceDue,
            wit::Space::UnreadTotal => Self::UnreadTotal,
            wit::Space::UnreadConversation => Self::UnreadConversation,
            wit::Space::UnreadSequence => Self::UnreadSequence,
            wit::Space::UnreadRead => Self::UnreadRead,
            wit::Space::UnreadLease => Self::UnreadLease,
            wit::Space::LastMessage => Self::LastMessage,
            wit::Space::App => Self::App,
        }
    }
}

impl From<wit::Owner> for Owner {
    fn from(owner: wit::Owner) -> Self {
        match owner {
            wit::Owner::User(id) => Self::User(id.into()),
            wit::Owner::Conversation(id) => Self::Conversation(id.into()),
            wit::Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

impl From<wit::Key> for Key {
    fn from(key: wit::Key) -> Self {
        Self { space: key.space.into(), owner: key.owner.into(), item: key.item }
    }
}

impl From<wit::Check> for Check {
    fn from(check: wit::Check) -> Self {
        match check {
            wit::Check::Absent(key) => Self::Absent(key.into()),
            wit::Check::Present(key) => Self::Present(key.into()),
            wit::Check::Equals(of) => Self::Equals(of.key.into(), of.value),
            wit::Check::FieldEquals(of) => Self::FieldEquals(of.key.into(), of.field.into(), of.value.map(Into::into)),
            wit::Check::FieldBelow(of) => Self::FieldBelow(of.key.into(), of.field.into(), of.limit),
            wit::Check::ScoreEquals(of) => Self::ScoreEquals(of.key.into(), of.member.into(), of.score),
        }
    }
}

impl From<wit::Mutation> for Mutation {
    fn from(mutation: wit::Mutation) -> Self {
        match mutation {
            wit::Mutation::Set(of) => Self::Set(of.key.into(), of.value, of.time_to_live),
            wit::Mutation::Delete(key) => Self::Delete(key.into()),
            wit::Mutation::Add(of) => Self::Add { key: of.key.into(), delta: of.delta, floor: of.floor },
            wit::Mutation::SetFields(of) => Self::SetFields(
                of.key.into(),
                of.fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            ),
            wit::Mutation::DeleteFields(of) => Self::DeleteFields(of.key.into(), list(of.names)),
            wit::Mutation::AddField(of) => Self::AddField(of.key.into(), of.field.into(), of.delta),
            wit::Mutation::Expire(of) => Self::Expire(of.key.into(), of.time_to_live),
            wit::Mutation::Persist(key) => Self::Persist(key.into()),
            wit::Mutation::OrderedPut(of) => Self::OrderedPut(of.key.into(), of.member.into(), of.score),
            wit::Mutation::OrderedRemove(of) => Self::OrderedRemove(of.key.into(), of.member.into()),
        }
    }
}

impl From<types::Event> for Event {
    fn from(event: types::Event) -> Self {
        Self { name: event.name.into(), payload: event.payload.into(), durable: event.durable }
    }
}

impl From<wit::Transaction> for Transaction {
    fn from(transaction: wit::Transaction) -> Self {
        Self {
            owner: transaction.owner.into(),
            checks: list(transaction.checks),
            mutations: list(transaction.mutations),
            publications: list(transaction.publications),
        }
    }
}

impl From<pub_sub::Publication> for Publication {
    fn from(publication: pub_sub::Publication) -> Self {
        Self { user: publication.user.into(), event: publication.event.into() }
    }
}

impl From<StoreError> for wit::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Denied(text) => Self::Denied(text),
            StoreError::WrongType(text) => Self::WrongType(text),
            StoreError::CrossPartition(text) => Self::CrossPartition(text),
            StoreError::TooLarge(text) => Self::TooLarge(text),
            StoreError::Invalid(text) => Self::Invalid(text),
            StoreError::Unavailable { retry_after_ms } => Self::Unavailable(retry_after_ms),
        }
    }
}

impl From<Outcome> for wit::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed(results) => Self::Committed(Some(results).filter(|results| !results.is_empty())),
            Outcome::Refused(check) => Self::Refused(check),
            Outcome::Failed(error) => Self::Failed(error.into()),
        }
    }
}
