//! Translates keys, transactions and events. Keys of the space `app` get the function that calls here, and nowhere
//! else: a function cannot name another one.

use std::sync::Arc;

use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    AddressedEvent, Check, Event, Mutation, Outcome, Publication, PublishedResult, StoreError, Transaction,
};

use super::super::bindings::{key_value as wit, pub_sub, types};
use super::list;

impl From<wit::Space> for Space {
    fn from(space: wit::Space) -> Self {
        match space {
            wit::Space::Online => Self::Online,
            wit::Space::Presence => Self::Presence,
            wit::Space::Devices => Self::Devices,
            wit::Space::PresenceDue => Self::PresenceDue,
            wit::Space::PresenceSweep => Self::PresenceSweep,
            wit::Space::UnreadTotal => Self::UnreadTotal,
            wit::Space::UnreadConversation => Self::UnreadConversation,
            wit::Space::UnreadSequence => Self::UnreadSequence,
            wit::Space::UnreadRead => Self::UnreadRead,
            wit::Space::UnreadLease => Self::UnreadLease,
            wit::Space::LastMessage => Self::LastMessage,
            wit::Space::Followed => Self::Followed,
            wit::Space::ReadReceipt => Self::ReadReceipt,
            wit::Space::App => Self::App,
            wit::Space::Host => Self::Host,
        }
    }
}

impl From<wit::Owner> for Owner {
    fn from(owner: wit::Owner) -> Self {
        match owner {
            wit::Owner::User(id) => Self::User(id.into()),
            wit::Owner::Conversation(id) => Self::Conversation(id.into()),
            wit::Owner::Message(of) => {
                Self::Message { conversation: of.conversation.into(), message: of.message.into() }
            }
            wit::Owner::Shard(shard) => Self::Shard(shard),
        }
    }
}

/// Translates what refers to keys, for the function with this name.
#[derive(Clone, Copy)]
pub(crate) struct KeysOf<'f>(pub(crate) &'f Arc<str>);

impl KeysOf<'_> {
    pub(super) fn key(self, key: wit::Key) -> Key {
        let space = key.space.into();
        let function = (space == Space::App).then(|| Arc::clone(self.0));
        Key { space, owner: key.owner.into(), function, item: key.item }
    }

    fn check(self, check: wit::Check) -> Check {
        let key = |key| self.key(key);
        match check {
            wit::Check::Absent(of) => Check::Absent(key(of)),
            wit::Check::Present(of) => Check::Present(key(of)),
            wit::Check::PresentEither(of) => Check::PresentEither(key(of.key), of.other.into()),
            wit::Check::Equals(of) => Check::Equals(key(of.key), of.value),
            wit::Check::FieldEquals(of) => Check::FieldEquals(key(of.key), of.field.into(), of.value.map(Into::into)),
            wit::Check::FieldBelow(of) => Check::FieldBelow(key(of.key), of.field.into(), of.limit),
            wit::Check::ScoreEquals(of) => Check::ScoreEquals(key(of.key), of.member.into(), of.score),
        }
    }

    fn mutation(self, mutation: wit::Mutation) -> Mutation {
        let key = |key| self.key(key);
        match mutation {
            wit::Mutation::Set(of) => Mutation::Set(key(of.key), of.value, of.time_to_live),
            wit::Mutation::Delete(of) => Mutation::Delete(key(of)),
            wit::Mutation::Add(of) => Mutation::Add { key: key(of.key), delta: of.delta, floor: of.floor },
            wit::Mutation::SetFields(of) => Mutation::SetFields(
                key(of.key),
                of.fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            ),
            wit::Mutation::DeleteFields(of) => Mutation::DeleteFields(key(of.key), list(of.names)),
            wit::Mutation::AddField(of) => Mutation::AddField(key(of.key), of.field.into(), of.delta),
            wit::Mutation::Expire(of) => Mutation::Expire(key(of.key), of.time_to_live),
            wit::Mutation::Persist(of) => Mutation::Persist(key(of)),
            wit::Mutation::OrderedPut(of) => Mutation::OrderedPut(key(of.key), of.member.into(), of.score),
            wit::Mutation::OrderedRemove(of) => Mutation::OrderedRemove(key(of.key), of.member.into()),
        }
    }

    pub(crate) fn transaction(self, transaction: wit::Transaction) -> Transaction {
        Transaction {
            owner: transaction.owner.into(),
            checks: transaction.checks.into_iter().map(|check| self.check(check)).collect(),
            mutations: transaction.mutations.into_iter().map(|mutation| self.mutation(mutation)).collect(),
            publications: list(transaction.publications),
            published_results: list(transaction.published_results),
            addressed: list(transaction.addressed),
            app_bound: None,
        }
    }
}

/// Lets events with the same content share it. A guest sends the event of a message once for each member; the host
/// keeps it in memory once, and the stores handle it once.
pub(crate) fn share_events(transactions: &mut [Transaction]) {
    let mut last: Option<Event> = None;
    for event in transactions.iter_mut().flat_map(|transaction| &mut transaction.publications) {
        match &last {
            Some(same) if *same == *event => *event = same.clone(),
            _ => last = Some(event.clone()),
        }
    }
}

impl From<types::Event> for Event {
    fn from(event: types::Event) -> Self {
        Self { name: event.name.into(), payload: event.payload.into(), durable: event.durable }
    }
}

impl From<wit::PublishedResult> for PublishedResult {
    fn from(published: wit::PublishedResult) -> Self {
        Self { publication: published.publication, name: published.name.into(), result: published.result }
    }
}

impl From<wit::AddressedEvent> for AddressedEvent {
    fn from(addressed: wit::AddressedEvent) -> Self {
        Self { users: list(addressed.users), event: addressed.event.into() }
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
            StoreError::QuotaExceeded(text) => Self::QuotaExceeded(text),
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

#[cfg(test)]
mod tests {
    use roost_core::key::Owner;

    use super::*;

    fn wit_key(space: wit::Space) -> wit::Key {
        wit::Key { space, owner: wit::Owner::Shard(0), item: Some("polls:user:1:votes".to_owned()) }
    }

    #[test]
    fn an_item_of_app_belongs_to_the_function_that_calls() {
        let function: Arc<str> = "weather".into();
        let key = KeysOf(&function).key(wit_key(wit::Space::App));
        assert_eq!(key.function.as_deref(), Some("weather"));
        assert_eq!(key.physical(), "app:weather:shard:0:polls%3Auser%3A1%3Avotes");
        assert_eq!(KeysOf(&function).key(wit_key(wit::Space::UnreadConversation)).function, None);
    }

    #[test]
    fn equal_events_share_their_payload() {
        let user = |number| Transaction::new(Owner::User(roost_core::ids::UserId::from_u128(number)));
        let event = |payload: &str| Event { name: "a".into(), payload: payload.into(), durable: true };
        let mut transactions =
            vec![user(1).publish(event("1")), user(2).publish(event("1")), user(3).publish(event("2"))];
        let before = transactions.clone();
        share_events(&mut transactions);
        assert_eq!(transactions, before);
        let payload = |index: usize| &transactions[index].publications[0].payload;
        assert!(Arc::ptr_eq(payload(0), payload(1)) && !Arc::ptr_eq(payload(1), payload(2)));
    }

    #[test]
    fn every_part_of_a_transaction_gets_the_function() {
        let function: Arc<str> = "weather".into();
        let key = || wit_key(wit::Space::App);
        let transaction = KeysOf(&function).transaction(wit::Transaction {
            owner: wit::Owner::Shard(0),
            checks: vec![wit::Check::Absent(key()), wit::Check::Present(key())],
            mutations: vec![wit::Mutation::Delete(key()), wit::Mutation::Persist(key())],
            publications: Vec::new(),
            published_results: Vec::new(),
            addressed: Vec::new(),
        });
        let keys = transaction.checks.iter().map(Check::key).chain(transaction.mutations.iter().map(Mutation::key));
        let expected = Key { function: Some(function.clone()), ..Key::app(Owner::Shard(0), "polls:user:1:votes") };
        assert_eq!(keys.filter(|key| **key == expected).count(), 4);
    }
}
