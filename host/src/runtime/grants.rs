//! What a function may do, or asks for: key spaces, publishing, calls for publications, operations of the records.
//!
//! A use of an import outside the grants is answered `denied`, and the answer names what is missing. `allowance`
//! decides which grants a function gets, and `call_recipients` to whom a call may publish.

use roost_core::key::Space;
use roost_core::port::{Check, Mutation, Operation, Query, Transaction};
use roost_core::recipients::Recipients;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A set of key spaces: one bit for each, in the order of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spaces(u16);

impl Spaces {
    /// The set without any key space.
    pub const NONE: Self = Self(0);

    /// This set and one more key space.
    #[must_use]
    pub const fn with(self, space: Space) -> Self {
        Self(self.0 | 1 << space as u16)
    }

    /// Whether the key space is in the set.
    pub const fn has(self, space: Space) -> bool {
        self.0 & 1 << space as u16 != 0
    }

    /// The names of the key spaces, in the order of the contract.
    pub fn names(self) -> Vec<&'static str> {
        Space::ALL.into_iter().filter(|space| self.has(*space)).map(Space::name).collect()
    }
}

impl FromIterator<Space> for Spaces {
    fn from_iter<I: IntoIterator<Item = Space>>(spaces: I) -> Self {
        spaces.into_iter().fold(Self::default(), Self::with)
    }
}

/// A set of records operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations(u32);

impl Operations {
    /// The set without any operation.
    pub const NONE: Self = Self(0);

    /// This set and one more operation.
    #[must_use]
    pub const fn with(self, operation: Operation) -> Self {
        Self(self.0 | 1 << operation as u32)
    }

    /// Whether the operation is in the set.
    pub const fn has(self, operation: Operation) -> bool {
        self.0 & 1 << operation as u32 != 0
    }

    /// The names of the operations, in the order of the contract.
    pub fn names(self) -> Vec<&'static str> {
        Operation::ALL.into_iter().filter(|operation| self.has(*operation)).map(Operation::name).collect()
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        operations.into_iter().fold(Self::default(), Self::with)
    }
}

/// What a function asks for, is allowed, or is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The key spaces that the function reads.
    pub read: Spaces,
    /// The key spaces that the function writes.
    pub write: Spaces,
    /// To whom the function publishes events.
    pub publish: Recipients,
    /// Whether the function is called for what other functions publish.
    pub subscribe: bool,
    /// The records operations that the function uses.
    pub records: Operations,
}

impl Grants {
    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self {
            read: Spaces(self.read.0 & other.read.0),
            write: Spaces(self.write.0 & other.write.0),
            publish: self.publish.intersection(other.publish),
            subscribe: self.subscribe && other.subscribe,
            records: Operations(self.records.0 & other.records.0),
        }
    }

    /// What is in one of them.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            read: Spaces(self.read.0 | other.read.0),
            write: Spaces(self.write.0 | other.write.0),
            publish: self.publish.union(other.publish),
            subscribe: self.subscribe || other.subscribe,
            records: Operations(self.records.0 | other.records.0),
        }
    }

    /// What is in this and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            read: Spaces(self.read.0 & !other.read.0),
            write: Spaces(self.write.0 & !other.write.0),
            publish: self.publish.without(other.publish),
            subscribe: self.subscribe && !other.subscribe,
            records: Operations(self.records.0 & !other.records.0),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The name of each grant, such as `read.app`, `publish.members` or `records.history`.
    pub fn names(self) -> Vec<String> {
        let prefixed = |prefix: &str, names: Vec<&str>| {
            names.into_iter().map(|name| format!("{prefix}.{name}")).collect::<Vec<String>>()
        };
        let publish = self.publishes().then(|| format!("publish.{}", self.publish.name()));
        let subscribe = self.subscribe.then(|| "subscribe".to_owned());
        let (read, write) = (prefixed("read", self.read.names()), prefixed("write", self.write.names()));
        read.into_iter()
            .chain(write)
            .chain(publish)
            .chain(subscribe)
            .chain(prefixed("records", self.records.names()))
            .collect()
    }

    /// The settings of the configuration, below the name of the function, that allow exactly these grants.
    pub fn settings(self) -> Vec<String> {
        let list = |key: &str, names: Vec<&str>| {
            (!names.is_empty()).then(|| format!("grants.{key} = [\"{}\"]", names.join("\", \"")))
        };
        let publish = self.publishes().then(|| format!("grants.publish = \"{}\"", self.publish.name()));
        let subscribe = self.subscribe.then(|| "grants.subscribe = true".to_owned());
        let (read, write) = (list("read", self.read.names()), list("write", self.write.names()));
        [read, write, publish, subscribe, list("records", self.records.names())].into_iter().flatten().collect()
    }

    /// Checks that the function may make these queries; the error names what is missing.
    pub(crate) fn check_read(&self, queries: &[Query]) -> Result<(), String> {
        for query in queries {
            self.may_read(query.key().space)?;
            if let Query::IndexedCounters { space, .. } = query {
                self.may_read(*space)?;
            }
        }
        Ok(())
    }

    /// Checks that the function may commit these transactions; the error names what is missing. A check of a
    /// transaction needs the grant to read or the grant to write its key space.
    pub(crate) fn check_commit(&self, transactions: &[Transaction]) -> Result<(), String> {
        for transaction in transactions {
            let others = transaction.checks.iter().filter_map(|check| match check {
                Check::PresentEither(_, other) => Some(*other),
                _ => None,
            });
            for space in transaction.checks.iter().map(Check::key).map(|key| key.space).chain(others) {
                if !self.write.has(space) {
                    self.may_read(space)?;
                }
            }
            for space in transaction.mutations.iter().map(Mutation::key).map(|key| key.space) {
                if !self.write.has(space) {
                    return Err(format!("writing the key space {space}"));
                }
            }
            if !transaction.publications.is_empty() || !transaction.addressed.is_empty() {
                self.check_publish()?;
            }
        }
        Ok(())
    }

    /// Checks that the function may publish at all; the error names what is missing.
    pub(crate) fn check_publish(&self) -> Result<(), String> {
        if self.publishes() { Ok(()) } else { Err("publishing to users".to_owned()) }
    }

    fn publishes(self) -> bool {
        self.publish != Recipients::Nobody
    }

    /// Checks that the function may use the operation; the error names what is missing.
    pub(crate) fn check_records(&self, operation: Operation) -> Result<(), String> {
        if self.records.has(operation) { Ok(()) } else { Err(format!("the records operation {}", operation.name())) }
    }

    fn may_read(&self, space: Space) -> Result<(), String> {
        if self.read.has(space) { Ok(()) } else { Err(format!("reading the key space {space}")) }
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut grants = serializer.serialize_struct("Grants", 5)?;
        grants.serialize_field("read", &self.read.names())?;
        grants.serialize_field("write", &self.write.names())?;
        grants.serialize_field("publish", self.publish.name())?;
        grants.serialize_field("subscribe", &self.subscribe)?;
        grants.serialize_field("records", &self.records.names())?;
        grants.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_core::ids::UserId;
    use roost_core::key::{Key, Owner};
    use roost_core::port::Event;

    fn user() -> UserId {
        UserId::from_u128(7)
    }

    fn key(space: Space) -> Key {
        Key::of_user(space, user())
    }

    fn asked() -> Grants {
        Grants {
            read: [Space::Online, Space::Presence].into_iter().collect(),
            write: [Space::Presence].into_iter().collect(),
            publish: Recipients::Members,
            subscribe: false,
            records: [Operation::Unread, Operation::History].into_iter().collect(),
        }
    }

    #[test]
    fn grants_are_named_like_their_settings() {
        assert_eq!(
            asked().names(),
            ["read.online", "read.presence", "write.presence", "publish.members", "records.unread", "records.history"]
        );
        let settings = [
            "grants.read = [\"online\", \"presence\"]",
            "grants.write = [\"presence\"]",
            "grants.publish = \"members\"",
            "grants.records = [\"unread\", \"history\"]",
        ];
        assert_eq!(asked().settings(), settings);
        assert!(Grants::default().names().is_empty() && Grants::default().settings().is_empty());
    }

    #[test]
    fn a_difference_and_an_intersection_make_up_the_whole() {
        let other = Grants {
            read: [Space::Presence, Space::Devices].into_iter().collect(),
            records: [Operation::History].into_iter().collect(),
            ..Grants::default()
        };
        let (common, rest) = (asked().intersection(other), asked().without(other));
        assert_eq!(common.names(), ["read.presence", "records.history"]);
        assert_eq!(rest.names(), ["read.online", "write.presence", "publish.members", "records.unread"]);
        assert_eq!(common.union(rest), asked());
        assert!(common.intersection(rest).is_empty() && !asked().is_empty());
    }

    #[test]
    fn a_query_needs_the_grant_to_read() {
        assert_eq!(asked().check_read(&[Query::Bytes(key(Space::Online))]), Ok(()));
        let foreign = [Query::Bytes(key(Space::Online)), Query::Fields(key(Space::Devices))];
        assert_eq!(asked().check_read(&foreign).unwrap_err(), "reading the key space devices");
        let indexed = Query::IndexedCounters { index: key(Space::Presence), space: Space::UnreadConversation };
        assert_eq!(asked().check_read(&[indexed]).unwrap_err(), "reading the key space unread-conversation");
    }

    #[test]
    fn a_transaction_needs_the_grants_for_all_its_parts() {
        let transaction = || Transaction::new(Owner::User(user()));
        let event = Event { name: "a".into(), payload: "{}".into(), durable: false };
        let checks = |grants: Grants, transaction| grants.check_commit(&[transaction]);
        let change =
            transaction().check(Check::Present(key(Space::Online))).mutate(Mutation::Delete(key(Space::Presence)));
        assert_eq!(checks(asked(), change), Ok(()));
        let foreign_check = transaction().check(Check::Present(key(Space::Devices)));
        assert_eq!(checks(asked(), foreign_check).unwrap_err(), "reading the key space devices");
        let foreign_other = transaction().check(Check::PresentEither(key(Space::Online), Space::Devices));
        assert_eq!(checks(asked(), foreign_other).unwrap_err(), "reading the key space devices");
        let only_read = transaction().mutate(Mutation::Delete(key(Space::Online)));
        assert_eq!(checks(asked(), only_read).unwrap_err(), "writing the key space online");
        let silent = Grants { publish: Recipients::Nobody, ..asked() };
        assert_eq!(checks(silent, transaction().publish(event.clone())).unwrap_err(), "publishing to users");
        assert_eq!(checks(silent, transaction().address(vec![user()], event)).unwrap_err(), "publishing to users");
        let of_host = Key::of_host(Owner::User(user()), "outbox.1".to_owned());
        assert!(checks(asked(), transaction().check(Check::Absent(of_host))).is_err());
    }

    #[test]
    fn an_operation_that_was_not_granted_is_named() {
        assert_eq!(asked().check_records(Operation::History), Ok(()));
        assert_eq!(asked().check_records(Operation::Block).unwrap_err(), "the records operation block");
    }
}
