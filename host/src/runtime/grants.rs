//! What a function may do: the intersection of what its manifest asks for and what the operator allows.
//!
//! A use of an import outside the grants is answered `denied`, and the answer names what is missing.

use roost_core::key::Space;
use roost_core::port::{Check, Mutation, Operation, Query, Transaction};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::config::GrantsConfig;

/// A set of key spaces: one bit for each, in the order of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spaces(u16);

impl Spaces {
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
    /// Whether the function publishes events to users.
    pub publish: bool,
    /// The records operations that the function uses.
    pub records: Operations,
}

impl Grants {
    /// What the operator allows. Unknown names are refused when the configuration is read; here they allow nothing.
    pub fn allowed(config: &GrantsConfig) -> Self {
        let spaces = |names: &[String]| {
            Space::ALL.into_iter().filter(|space| names.iter().any(|name| name == space.name())).collect()
        };
        Self {
            read: spaces(&config.read),
            write: spaces(&config.write),
            publish: config.publish,
            records: Operation::ALL
                .into_iter()
                .filter(|operation| config.records.iter().any(|name| name == operation.name()))
                .collect(),
        }
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self {
            read: Spaces(self.read.0 & other.read.0),
            write: Spaces(self.write.0 & other.write.0),
            publish: self.publish && other.publish,
            records: Operations(self.records.0 & other.records.0),
        }
    }

    /// Checks that the function may make these queries; the error names what is missing.
    pub fn check_read(&self, queries: &[Query]) -> Result<(), String> {
        for query in queries {
            self.may_read(query.key().space)?;
            if let Query::IndexedCounters { space, .. } = query {
                self.may_read(*space)?;
            }
        }
        Ok(())
    }

    /// Checks that the function may commit these transactions; the error names what is missing. A check of a transaction
    /// needs the grant to read or the grant to write its key space.
    pub fn check_commit(&self, transactions: &[Transaction]) -> Result<(), String> {
        for transaction in transactions {
            for space in transaction.checks.iter().map(Check::key).map(|key| key.space) {
                if !self.write.has(space) {
                    self.may_read(space)?;
                }
            }
            for space in transaction.mutations.iter().map(Mutation::key).map(|key| key.space) {
                if !self.write.has(space) {
                    return Err(format!("writing the key space {space}"));
                }
            }
            if !transaction.publications.is_empty() {
                self.check_publish()?;
            }
        }
        Ok(())
    }

    /// Checks that the function may publish; the error names what is missing.
    pub fn check_publish(&self) -> Result<(), String> {
        if self.publish { Ok(()) } else { Err("publishing to users".to_owned()) }
    }

    /// Checks that the function may use the operation; the error names what is missing.
    pub fn check_records(&self, operation: Operation) -> Result<(), String> {
        if self.records.has(operation) { Ok(()) } else { Err(format!("the records operation {}", operation.name())) }
    }

    fn may_read(&self, space: Space) -> Result<(), String> {
        if self.read.has(space) { Ok(()) } else { Err(format!("reading the key space {space}")) }
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut grants = serializer.serialize_struct("Grants", 4)?;
        grants.serialize_field("read", &self.read.names())?;
        grants.serialize_field("write", &self.write.names())?;
        grants.serialize_field("publish", &self.publish)?;
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
            publish: true,
            records: [Operation::Unread, Operation::History].into_iter().collect(),
        }
    }

    #[test]
    fn a_grant_is_both_asked_for_and_allowed() {
        let config = GrantsConfig {
            read: vec!["presence".into(), "devices".into(), "nonsense".into()],
            write: vec!["online".into()],
            publish: false,
            records: vec!["history".into(), "block".into()],
        };
        let granted = asked().intersection(Grants::allowed(&config));
        assert_eq!(granted.read.names(), ["presence"]);
        assert!(granted.write.names().is_empty());
        assert!(!granted.publish);
        assert_eq!(granted.records.names(), ["history"]);
    }

    #[test]
    fn an_operator_can_allow_every_name_of_the_contract() {
        let all = |names: Vec<&'static str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let spaces = Space::ALL.into_iter().collect::<Spaces>();
        let operations = Operation::ALL.into_iter().collect::<Operations>();
        let config = GrantsConfig {
            read: all(spaces.names()),
            write: all(spaces.names()),
            publish: true,
            records: all(operations.names()),
        };
        assert_eq!((spaces.names().len(), operations.names().len()), (Space::ALL.len(), Operation::ALL.len()));
        let everything = Grants { read: spaces, write: spaces, publish: true, records: operations };
        assert_eq!(Grants::allowed(&config), everything);
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
        let only_read = transaction().mutate(Mutation::Delete(key(Space::Online)));
        assert_eq!(checks(asked(), only_read).unwrap_err(), "writing the key space online");
        let silent = Grants { publish: false, ..asked() };
        assert_eq!(checks(silent, transaction().publish(event)).unwrap_err(), "publishing to users");
    }

    #[test]
    fn an_operation_that_was_not_granted_is_named() {
        assert_eq!(asked().check_records(Operation::History), Ok(()));
        assert_eq!(asked().check_records(Operation::Block).unwrap_err(), "the records operation block");
    }
}
