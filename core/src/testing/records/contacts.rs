//! Contacts and blocks: which users a user has added, and which a user has blocked.

use std::collections::BTreeSet;

use super::erasing::first;
use crate::ids::UserId;
use crate::port::{Answer, Relation, records_bounds as bounds};

/// Two directed relations.
#[derive(Debug, Default)]
pub(super) struct ContactsAndBlocks {
    contacts: BTreeSet<(UserId, UserId)>,
    blocks: BTreeSet<(UserId, UserId)>,
}

impl ContactsAndBlocks {
    pub(super) fn contacts(&self, user: UserId) -> Vec<UserId> {
        related(&self.contacts, user).collect()
    }

    pub(super) fn blocks(&self, user: UserId) -> Vec<UserId> {
        related(&self.blocks, user).collect()
    }

    pub(super) fn audience(&self, user: UserId) -> Vec<UserId> {
        related(&self.contacts, user)
            .filter(|&other| self.contacts.contains(&(other, user)) && !self.is_blocked(user, other))
            .collect()
    }

    /// Whether one of the two users has blocked the other.
    pub(super) fn is_blocked(&self, one: UserId, other: UserId) -> bool {
        self.blocks.contains(&(one, other)) || self.blocks.contains(&(other, one))
    }

    /// Whether one of these users has blocked another one of them.
    pub(super) fn is_any_blocked(&self, users: &[UserId]) -> bool {
        let users: BTreeSet<UserId> = users.iter().copied().collect();
        users.iter().any(|user| related(&self.blocks, *user).any(|blocked| users.contains(&blocked)))
    }

    pub(super) fn relation(&self, user: UserId, other: UserId) -> Relation {
        Relation {
            contact: self.contacts.contains(&(user, other)),
            blocked: self.blocks.contains(&(user, other)),
            contact_of: self.contacts.contains(&(other, user)),
            blocked_by: self.blocks.contains(&(other, user)),
        }
    }

    /// Answers whether something changed, like the other changes.
    pub(super) fn add_contact(&mut self, user: UserId, contact: UserId) -> Answer<bool> {
        add(&mut self.contacts, user, contact)
    }

    pub(super) fn remove_contact(&mut self, user: UserId, contact: UserId) -> bool {
        self.contacts.remove(&(user, contact))
    }

    pub(super) fn block(&mut self, user: UserId, blocked: UserId) -> Answer<bool> {
        add(&mut self.blocks, user, blocked)
    }

    pub(super) fn unblock(&mut self, user: UserId, blocked: UserId) -> bool {
        self.blocks.remove(&(user, blocked))
    }

    /// Removes what the user has added and blocked, and the user from what so many others have. Answers the others.
    pub(super) fn erase(&mut self, user: UserId, others_max: usize) -> Vec<UserId> {
        for relation in [&mut self.contacts, &mut self.blocks] {
            relation.retain(|(one, _)| *one != user);
        }
        let others = |relation: &BTreeSet<(UserId, UserId)>| -> Vec<UserId> {
            relation.iter().filter(|(_, other)| *other == user).map(|(one, _)| *one).collect()
        };
        let related = first(others(&self.contacts).into_iter().chain(others(&self.blocks)), others_max);
        for other in &related {
            self.contacts.remove(&(*other, user));
            self.blocks.remove(&(*other, user));
        }
        related
    }
}

/// The other users of a user's relation, in ascending order.
fn related(relation: &BTreeSet<(UserId, UserId)>, user: UserId) -> impl Iterator<Item = UserId> {
    let range = (user, UserId::from_u128(0))..=(user, UserId::from_u128(u128::MAX));
    relation.range(range).map(|&(_, other)| other)
}

fn add(relation: &mut BTreeSet<(UserId, UserId)>, user: UserId, other: UserId) -> Answer<bool> {
    if relation.contains(&(user, other)) {
        return Ok(false);
    }
    bounds::contact_count(related(relation, user).count() + 1)?;
    Ok(relation.insert((user, other)))
}
