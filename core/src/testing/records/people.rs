//! Who has added and who has blocked whom.

use std::collections::BTreeSet;

use crate::ids::UserId;
use crate::port::{Answer, records_bounds as bounds};

/// Two directed relations.
#[derive(Debug, Default)]
pub(super) struct People {
    contacts: BTreeSet<(UserId, UserId)>,
    blocks: BTreeSet<(UserId, UserId)>,
}

impl People {
    pub(super) fn contacts(&self, user: UserId) -> Vec<UserId> {
        of(&self.contacts, user).collect()
    }

    pub(super) fn audience(&self, user: UserId) -> Vec<UserId> {
        of(&self.contacts, user)
            .filter(|&other| self.contacts.contains(&(other, user)) && !self.apart(user, other))
            .collect()
    }

    /// One of the two has blocked the other.
    pub(super) fn apart(&self, one: UserId, other: UserId) -> bool {
        self.blocks.contains(&(one, other)) || self.blocks.contains(&(other, one))
    }

    pub(super) fn add_contact(&mut self, user: UserId, contact: UserId) -> Answer<()> {
        add(&mut self.contacts, user, contact)
    }

    pub(super) fn remove_contact(&mut self, user: UserId, contact: UserId) {
        self.contacts.remove(&(user, contact));
    }

    pub(super) fn block(&mut self, user: UserId, blocked: UserId) -> Answer<()> {
        add(&mut self.blocks, user, blocked)
    }

    pub(super) fn unblock(&mut self, user: UserId, blocked: UserId) {
        self.blocks.remove(&(user, blocked));
    }
}

fn of(relation: &BTreeSet<(UserId, UserId)>, user: UserId) -> impl Iterator<Item = UserId> {
    let all = (user, UserId::from_u128(0))..=(user, UserId::from_u128(u128::MAX));
    relation.range(all).map(|&(_, other)| other)
}

fn add(relation: &mut BTreeSet<(UserId, UserId)>, user: UserId, other: UserId) -> Answer<()> {
    if !relation.contains(&(user, other)) {
        bounds::contact_count(of(relation, user).count() + 1)?;
        relation.insert((user, other));
    }
    Ok(())
}
