//! How mutations of the memory store are done, and undone when a later one of the same transaction cannot be.
//!
//! Undoing moves old content back; nothing is copied for transactions that succeed.

use std::collections::hash_map::Entry as Slot;

use roost_core::port::{Mutation, StoreError};

use super::content::{Data, Entry, Hash, NEVER, Ordered, WrongType};
use super::keys::{Keys, named};
use super::name::Name;

/// How to take one change back.
enum Undo<'a> {
    /// The whole key was put, replaced or removed.
    Entry(Name, Option<Entry>),
    Data(Name, Data),
    Field(Name, &'a str, Option<Box<str>>),
    Score(Name, &'a str, Option<i64>),
    Deadline(Name, u64),
}

type Mutated = Result<Option<i64>, WrongType>;

/// One transaction's work at one moment.
pub(super) struct Work<'a, 'k> {
    keys: &'k mut Keys,
    now: u64,
    undo: Vec<Undo<'a>>,
}

impl<'a, 'k> Work<'a, 'k> {
    pub(super) const fn new(keys: &'k mut Keys, now: u64) -> Self {
        Self { keys, now, undo: Vec::new() }
    }

    /// Carries out all valid mutations, or none. Answers their results.
    pub(super) fn carry_out(mut self, mutations: &'a [Mutation]) -> Result<Vec<i64>, StoreError> {
        let mut results = Vec::new();
        for mutation in mutations {
            match self.mutate(mutation) {
                Ok(result) => results.extend(result),
                Err(wrong) => {
                    self.take_back();
                    return Err(named(mutation.key(), wrong));
                }
            }
        }
        Ok(results)
    }

    /// Carries out one mutation, or changes nothing.
    fn mutate(&mut self, mutation: &'a Mutation) -> Mutated {
        let name = Name::of(mutation.key());
        match mutation {
            Mutation::Set(_, value, life_ms) => {
                let deadline = life_ms.map_or(NEVER, |life_ms| self.now.saturating_add(life_ms));
                self.replace(name, Entry::new(Data::Bytes(value.as_slice().into()), deadline));
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
            Mutation::Expire(_, life_ms) => self.end_at(name, self.now.saturating_add(*life_ms)),
            Mutation::Persist(_) => self.end_at(name, NEVER),
            Mutation::OrderedPut(_, member, score) => self.put_member(name, member, Some(*score)),
            Mutation::OrderedRemove(_, member) => self.put_member(name, member, None),
        }
    }

    fn add(&mut self, name: Name, delta: i64, floor: Option<i64>) -> Mutated {
        let raised = |sum: i64| floor.map_or(sum, |floor| sum.max(floor));
        let Some(entry) = self.keys.live_mut(self.now, &name) else {
            let sum = raised(delta);
            self.replace(name, Entry::new(Data::Number(sum), NEVER));
            return Ok(Some(sum));
        };
        let sum = raised(sum(entry.data.number()?, delta)?);
        let before = std::mem::replace(&mut entry.data, Data::Number(sum));
        self.undo.push(Undo::Data(name, before));
        Ok(Some(sum))
    }

    fn add_field(&mut self, name: Name, field: &'a str, delta: i64) -> Mutated {
        let hash = self.keys.live(self.now, &name).map(|entry| entry.data.hash()).transpose()?;
        let before = hash.map(|hash| hash.number(field)).transpose()?.flatten();
        let sum = sum(before.unwrap_or(0), delta)?;
        self.put_fields(name, std::iter::once((field, Some(sum.to_string().as_str()))))?;
        Ok(Some(sum))
    }

    fn put_fields<'v>(&mut self, name: Name, fields: impl Iterator<Item = (&'a str, Option<&'v str>)>) -> Mutated {
        let Self { keys, undo, now } = self;
        let hash = live_or_new(keys, *now, &name, undo, || Data::Hash(Hash::default())).hash_mut()?;
        for (field, value) in fields {
            let before = hash.put(field, value.map(Box::from));
            undo.push(Undo::Field(name.clone(), field, before));
        }
        // A hash that lost its last field is gone.
        if hash.is_empty() {
            self.remove(name);
        }
        Ok(None)
    }

    fn put_member(&mut self, name: Name, member: &'a str, score: Option<i64>) -> Mutated {
        let Self { keys, undo, now } = self;
        let ordered = live_or_new(keys, *now, &name, undo, || Data::Ordered(Ordered::default())).ordered_mut()?;
        let before = ordered.put(member, score);
        undo.push(Undo::Score(name.clone(), member, before));
        // So is an ordered set without a member.
        if ordered.is_empty() {
            self.remove(name);
        }
        Ok(None)
    }

    fn end_at(&mut self, name: Name, deadline: u64) -> Mutated {
        if let Some(entry) = self.keys.live_mut(self.now, &name) {
            let before = std::mem::replace(&mut entry.deadline, deadline);
            self.keys.note(&name);
            self.undo.push(Undo::Deadline(name, before));
        }
        Ok(None)
    }

    fn replace(&mut self, name: Name, entry: Entry) {
        let before = self.keys.replace(&name, entry);
        self.undo.push(Undo::Entry(name, before));
    }

    fn remove(&mut self, name: Name) {
        let before = self.keys.entries.remove(&name);
        self.undo.push(Undo::Entry(name, before));
    }

    /// The newest change first, so that each finds what it left.
    fn take_back(self) {
        let keys = self.keys;
        for undo in self.undo.into_iter().rev() {
            match undo {
                Undo::Entry(name, Some(mut before)) => {
                    // Its note may be gone by now.
                    before.noted = NEVER;
                    keys.entries.insert(name.clone(), before);
                    keys.note(&name);
                }
                Undo::Entry(name, None) => drop(keys.entries.remove(&name)),
                Undo::Data(name, before) => {
                    if let Some(entry) = keys.entries.get_mut(&name) {
                        entry.data = before;
                    }
                }
                Undo::Field(name, field, before) => {
                    if let Some(Data::Hash(hash)) = keys.entries.get_mut(&name).map(|entry| &mut entry.data) {
                        hash.put(field, before);
                    }
                }
                Undo::Score(name, member, before) => {
                    if let Some(Data::Ordered(ordered)) = keys.entries.get_mut(&name).map(|entry| &mut entry.data) {
                        ordered.put(member, before);
                    }
                }
                Undo::Deadline(name, before) => {
                    if let Some(entry) = keys.entries.get_mut(&name) {
                        entry.deadline = before;
                    }
                    keys.note(&name);
                }
            }
        }
    }
}

fn live_or_new<'k>(
    keys: &'k mut Keys,
    now: u64,
    name: &Name,
    undo: &mut Vec<Undo<'_>>,
    new: impl FnOnce() -> Data,
) -> &'k mut Data {
    let entry = match keys.entries.entry(name.clone()) {
        Slot::Occupied(slot) if slot.get().is_live(now) => slot.into_mut(),
        Slot::Occupied(slot) => {
            let entry = slot.into_mut();
            let noted = entry.noted;
            let before = std::mem::replace(entry, Entry { noted, ..Entry::new(new(), NEVER) });
            undo.push(Undo::Entry(name.clone(), Some(before)));
            entry
        }
        Slot::Vacant(slot) => {
            undo.push(Undo::Entry(name.clone(), None));
            slot.insert(Entry::new(new(), NEVER))
        }
    };
    &mut entry.data
}

fn sum(present: i64, delta: i64) -> Result<i64, WrongType> {
    present.checked_add(delta).ok_or(WrongType("would pass 64 bits"))
}
