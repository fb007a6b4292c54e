//! Carries out the mutations of a transaction, and undoes them when a later one cannot be carried out, or when the
//! items of the function would take more than they may.
//!
//! Undoing moves the former content back, so a transaction that succeeds copies nothing.

use roost_core::port::{Mutation, StoreError, Transaction, app_function};

use super::content::{HashFields, KeyContent, KeyEntry, NEVER, OrderedMembers, WrongType};
use super::keys::{KeyName, ShardKeys, wrong_type};

/// How to undo one change.
enum UndoStep<'a> {
    /// The whole key was created, replaced or removed.
    Key(KeyName, Option<KeyEntry>),
    Content(KeyName, KeyContent),
    Field(KeyName, &'a str, Option<Box<str>>),
    Score(KeyName, &'a str, Option<i64>),
    Deadline(KeyName, u64),
}

/// The result of an addition, or nothing.
type MutationResult = Result<Option<i64>, WrongType>;

/// The mutations of one transaction, carried out at one instant.
pub(super) struct MutationRun<'a, 'k> {
    keys: &'k mut ShardKeys,
    now: u64,
    undo: Vec<UndoStep<'a>>,
}

impl<'a, 'k> MutationRun<'a, 'k> {
    pub(super) const fn new(keys: &'k mut ShardKeys, now: u64) -> Self {
        Self { keys, now, undo: Vec::new() }
    }

    /// Carries out all valid mutations, or none. Returns the results of the additions.
    pub(super) fn carry_out(mut self, transaction: &'a Transaction) -> Result<Vec<i64>, StoreError> {
        self.keys.take_app_growth();
        let mut results = Vec::new();
        for mutation in &transaction.mutations {
            match self.mutate(mutation) {
                Ok(result) => results.extend(result),
                Err(problem) => {
                    self.undo();
                    return Err(wrong_type(mutation.key(), problem));
                }
            }
        }
        if let Err(exceeded) = self.check_app_bound(transaction) {
            self.undo();
            return Err(exceeded);
        }
        Ok(results)
    }

    /// The sum of all shards includes what this transaction has added.
    fn check_app_bound(&mut self, transaction: &Transaction) -> Result<(), StoreError> {
        let growth = self.keys.take_app_growth();
        match (app_function(transaction), transaction.app_bound) {
            (Some(function), Some(bound)) => bound.check(function, self.keys.app_bytes(function), growth),
            _ => Ok(()),
        }
    }

    /// Carries out one mutation, or changes nothing that `undo` cannot take back.
    fn mutate(&mut self, mutation: &'a Mutation) -> MutationResult {
        let name = KeyName::of(mutation.key());
        self.keys.drop_expired_item(self.now, &name);
        match mutation {
            Mutation::Set(_, value, lifetime_ms) => {
                let deadline = lifetime_ms.map_or(NEVER, |lifetime_ms| self.now.saturating_add(lifetime_ms));
                self.replace(name, KeyEntry::new(KeyContent::Bytes(value.as_slice().into()), deadline));
                Ok(None)
            }
            Mutation::Delete(_) => {
                self.remove(name);
                Ok(None)
            }
            Mutation::Add { delta, floor, .. } => self.add(name, *delta, *floor),
            Mutation::SetFields(_, fields) => {
                let fields = fields.iter().map(|(field, value)| (field.as_ref(), Some(value.as_ref())));
                self.put_fields(name, fields)
            }
            Mutation::DeleteFields(_, names) => self.put_fields(name, names.iter().map(|field| (field.as_ref(), None))),
            Mutation::AddField(_, field, delta) => self.add_field(name, field, *delta),
            Mutation::Expire(_, lifetime_ms) => self.set_deadline(name, self.now.saturating_add(*lifetime_ms)),
            Mutation::Persist(_) => self.set_deadline(name, NEVER),
            Mutation::OrderedPut(_, member, score) => self.put_member(name, member, Some(*score)),
            Mutation::OrderedRemove(_, member) => self.put_member(name, member, None),
        }
    }

    fn add(&mut self, name: KeyName, delta: i64, floor: Option<i64>) -> MutationResult {
        let at_least_floor = |sum: i64| floor.map_or(sum, |floor| sum.max(floor));
        let Some(entry) = self.keys.live(self.now, &name) else {
            let sum = at_least_floor(delta);
            self.replace(name, KeyEntry::new(KeyContent::Number(sum), NEVER));
            return Ok(Some(sum));
        };
        let sum = at_least_floor(sum(entry.content.number()?, delta)?);
        let number = KeyContent::Number(sum);
        let before = self.keys.change(&name, |content| std::mem::replace(content, number));
        self.undo.extend(before.map(|before| UndoStep::Content(name, before)));
        Ok(Some(sum))
    }

    fn add_field(&mut self, name: KeyName, field: &'a str, delta: i64) -> MutationResult {
        let hash = self.keys.live(self.now, &name).map(|entry| entry.content.hash()).transpose()?;
        let before = hash.map(|hash| hash.number(field)).transpose()?.flatten();
        let sum = sum(before.unwrap_or(0), delta)?;
        self.put_fields(name, std::iter::once((field, Some(sum.to_string().as_str()))))?;
        Ok(Some(sum))
    }

    fn put_fields<'v>(
        &mut self,
        name: KeyName,
        fields: impl Iterator<Item = (&'a str, Option<&'v str>)>,
    ) -> MutationResult {
        self.create_unless_live(&name, || KeyContent::Hash(HashFields::default()));
        let undo = &mut self.undo;
        let is_empty = self.keys.change(&name, |content| {
            let hash = content.hash_mut()?;
            for (field, value) in fields {
                let before = hash.put(field, value.map(Box::from));
                undo.push(UndoStep::Field(name.clone(), field, before));
            }
            Ok::<bool, WrongType>(hash.is_empty())
        });
        // A hash without fields does not exist.
        if is_empty.transpose()?.unwrap_or(false) {
            self.remove(name);
        }
        Ok(None)
    }

    fn put_member(&mut self, name: KeyName, member: &'a str, score: Option<i64>) -> MutationResult {
        self.create_unless_live(&name, || KeyContent::Ordered(OrderedMembers::default()));
        let undo = &mut self.undo;
        let is_empty = self.keys.change(&name, |content| {
            let ordered = content.ordered_mut()?;
            let before = ordered.put(member, score);
            undo.push(UndoStep::Score(name.clone(), member, before));
            Ok::<bool, WrongType>(ordered.is_empty())
        });
        // An ordered set without members does not exist.
        if is_empty.transpose()?.unwrap_or(false) {
            self.remove(name);
        }
        Ok(None)
    }

    fn set_deadline(&mut self, name: KeyName, deadline: u64) -> MutationResult {
        if self.keys.live(self.now, &name).is_some() {
            let before = self.keys.set_deadline(&name, deadline);
            self.undo.extend(before.map(|before| UndoStep::Deadline(name, before)));
        }
        Ok(None)
    }

    /// Puts a new key in place of one that is missing or expired.
    fn create_unless_live(&mut self, name: &KeyName, content: impl FnOnce() -> KeyContent) {
        if self.keys.live(self.now, name).is_none() {
            self.replace(name.clone(), KeyEntry::new(content(), NEVER));
        }
    }

    fn replace(&mut self, name: KeyName, entry: KeyEntry) {
        let before = self.keys.replace(&name, entry);
        self.undo.push(UndoStep::Key(name, before));
    }

    fn remove(&mut self, name: KeyName) {
        let before = self.keys.remove(&name);
        self.undo.push(UndoStep::Key(name, before));
    }

    /// Undoes all changes, the newest first, so that each step finds what the change left.
    fn undo(self) {
        let keys = self.keys;
        for step in self.undo.into_iter().rev() {
            match step {
                UndoStep::Key(name, Some(before)) => {
                    // Its entry in the expiry queue may be gone, so it is queued again.
                    keys.replace(&name, KeyEntry { queued_for: NEVER, ..before });
                }
                UndoStep::Key(name, None) => drop(keys.remove(&name)),
                UndoStep::Content(name, before) => {
                    keys.change(&name, |content| *content = before);
                }
                UndoStep::Field(name, field, before) => {
                    keys.change(&name, |content| content.hash_mut().map(|hash| hash.put(field, before)));
                }
                UndoStep::Score(name, member, before) => {
                    keys.change(&name, |content| content.ordered_mut().map(|ordered| ordered.put(member, before)));
                }
                UndoStep::Deadline(name, before) => {
                    keys.set_deadline(&name, before);
                }
            }
        }
    }
}

fn sum(present: i64, delta: i64) -> Result<i64, WrongType> {
    present.checked_add(delta).ok_or(WrongType("would exceed 64 bits"))
}
