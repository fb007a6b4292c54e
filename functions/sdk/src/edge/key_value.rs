//! The core's key-value port on the interface `key-value`.

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    AddressedEvent, Check, KeyValue, Mutation, Outcome, PublishedResult, Query, StoreError, Transaction, Value,
};

use super::{Edge, list, reading};
use crate::bindings::roost::edge::{key_value as wire, types};

impl KeyValue for Edge {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        reading::read(&queries)
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let texts = MutationTexts::of(&transactions);
        let users = addressed_users(&transactions);
        let parts = TransactionParts::of(&transactions, &texts, &users);
        wire::commit(&parts.borrow(&transactions)).map(list).map_err(StoreError::from)
    }
}

impl From<Space> for wire::Space {
    fn from(space: Space) -> Self {
        match space {
            Space::Online => Self::Online,
            Space::Presence => Self::Presence,
            Space::Devices => Self::Devices,
            Space::PresenceDue => Self::PresenceDue,
            Space::PresenceSweep => Self::PresenceSweep,
            Space::UnreadTotal => Self::UnreadTotal,
            Space::UnreadConversation => Self::UnreadConversation,
            Space::UnreadSequence => Self::UnreadSequence,
            Space::UnreadRead => Self::UnreadRead,
            Space::UnreadLease => Self::UnreadLease,
            Space::LastMessage => Self::LastMessage,
            Space::Followed => Self::Followed,
            Space::ReadReceipt => Self::ReadReceipt,
            Space::App => Self::App,
            Space::Host => Self::Host,
        }
    }
}

impl From<Owner> for wire::Owner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::User(user) => Self::User(user.into()),
            Owner::Conversation(conversation) => Self::Conversation(conversation.into()),
            Owner::Message { conversation, message } => {
                Self::Message(wire::MessageOwner { conversation: conversation.into(), message: message.into() })
            }
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
            Check::PresentEither(key, other) => {
                Self::PresentEither(wire::PresentEither { key: key.into(), other: (*other).into() })
            }
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

impl<'a> From<&'a PublishedResult> for wire::PublishedResult<'a> {
    fn from(published: &'a PublishedResult) -> Self {
        Self { publication: published.publication, name: &published.name, result: published.result }
    }
}

/// The field names and values that the mutations of all transactions mention, in order. One list for all of them: a
/// list for each mutation would cost more than everything else that the function does with them.
struct MutationTexts<'a> {
    fields: Vec<(&'a str, &'a str)>,
    names: Vec<&'a str>,
}

impl<'a> MutationTexts<'a> {
    fn of(transactions: &'a [Transaction]) -> Self {
        let mut texts = Self { fields: Vec::new(), names: Vec::new() };
        for mutation in transactions.iter().flat_map(|transaction| &transaction.mutations) {
            match mutation {
                Mutation::SetFields(_, fields) => {
                    texts.fields.extend(fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
                }
                Mutation::DeleteFields(_, names) => texts.names.extend(names.iter().map(AsRef::as_ref)),
                _ => {}
            }
        }
        texts
    }
}

/// The users of all addressed events, in order: one list for all of them, as for the texts.
fn addressed_users(transactions: &[Transaction]) -> Vec<types::Id> {
    let addressed = transactions.iter().flat_map(|transaction| &transaction.addressed);
    addressed.flat_map(|addressed| addressed.users.iter().map(|user| (*user).into())).collect()
}

/// The checks, mutations and publications of all transactions, in order.
struct TransactionParts<'a> {
    checks: Vec<wire::Check<'a>>,
    mutations: Vec<wire::Mutation<'a>>,
    publications: Vec<wire::Event<'a>>,
    published_results: Vec<wire::PublishedResult<'a>>,
    addressed: Vec<wire::AddressedEvent<'a>>,
}

impl<'a> TransactionParts<'a> {
    fn of(transactions: &'a [Transaction], texts: &'a MutationTexts<'a>, users: &'a [types::Id]) -> Self {
        let count = |of: fn(&Transaction) -> usize| transactions.iter().map(of).sum();
        let mut parts = Self {
            checks: Vec::with_capacity(count(|transaction| transaction.checks.len())),
            mutations: Vec::with_capacity(count(|transaction| transaction.mutations.len())),
            publications: Vec::with_capacity(count(|transaction| transaction.publications.len())),
            published_results: Vec::with_capacity(count(|transaction| transaction.published_results.len())),
            addressed: Vec::with_capacity(count(|transaction| transaction.addressed.len())),
        };
        let (mut fields, mut names, mut users) = (Remaining(&texts.fields), Remaining(&texts.names), Remaining(users));
        for transaction in transactions {
            parts.checks.extend(transaction.checks.iter().map(wire::Check::from));
            let mutations = transaction.mutations.iter();
            parts.mutations.extend(mutations.map(|mutation| borrow_mutation(mutation, &mut fields, &mut names)));
            parts.publications.extend(transaction.publications.iter().map(wire::Event::from));
            parts.published_results.extend(transaction.published_results.iter().map(wire::PublishedResult::from));
            let addressed = transaction.addressed.iter();
            parts.addressed.extend(addressed.map(|AddressedEvent { users: own, event }| wire::AddressedEvent {
                users: users.take(own.len()),
                event: event.into(),
            }));
        }
        parts
    }

    fn borrow(&'a self, transactions: &[Transaction]) -> Vec<wire::Transaction<'a>> {
        let (mut checks, mut mutations) = (Remaining(&self.checks), Remaining(&self.mutations));
        let (mut publications, mut addressed) = (Remaining(&self.publications), Remaining(&self.addressed));
        let mut results = Remaining(&self.published_results);
        let borrow = |transaction: &Transaction| wire::Transaction {
            owner: transaction.owner.into(),
            checks: checks.take(transaction.checks.len()),
            mutations: mutations.take(transaction.mutations.len()),
            publications: publications.take(transaction.publications.len()),
            published_results: results.take(transaction.published_results.len()),
            addressed: addressed.take(transaction.addressed.len()),
        };
        transactions.iter().map(borrow).collect()
    }
}

/// The items of a list that have not been taken yet.
struct Remaining<'a, T>(&'a [T]);

impl<'a, T> Remaining<'a, T> {
    /// Takes the next items. There are always enough: the same transactions are visited in the same order as when the
    /// list was filled.
    fn take(&mut self, count: usize) -> &'a [T] {
        let (next, rest) = self.0.split_at_checked(count).unwrap_or_default();
        self.0 = rest;
        next
    }
}

fn borrow_mutation<'a>(
    mutation: &'a Mutation,
    fields: &mut Remaining<'a, (&'a str, &'a str)>,
    names: &mut Remaining<'a, &'a str>,
) -> wire::Mutation<'a> {
    use wire::Mutation as Wire;
    match mutation {
        Mutation::Set(key, value, life) => Wire::Set(wire::Set { key: key.into(), value, time_to_live: *life }),
        Mutation::Delete(key) => Wire::Delete(key.into()),
        Mutation::Add { key, delta, floor } => Wire::Add(wire::Add { key: key.into(), delta: *delta, floor: *floor }),
        Mutation::SetFields(key, own) => {
            Wire::SetFields(wire::SetFields { key: key.into(), fields: fields.take(own.len()) })
        }
        Mutation::DeleteFields(key, own) => {
            Wire::DeleteFields(wire::DeleteFields { key: key.into(), names: names.take(own.len()) })
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

impl From<wire::Outcome> for Outcome {
    fn from(outcome: wire::Outcome) -> Self {
        match outcome {
            wire::Outcome::Committed(results) => Self::Committed(results.unwrap_or_default()),
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
            wire::Error::QuotaExceeded(text) => Self::QuotaExceeded(text),
            wire::Error::Invalid(text) => Self::Invalid(text),
            wire::Error::Unavailable(retry_after_ms) => Self::Unavailable { retry_after_ms },
        }
    }
}
