//! The keys of one shard: what queries answer, when checks hold, and what has expired.
//!
//! Whoever calls holds the shard's lock and gives the present moment.

use std::collections::hash_map::Entry as Slot;

use foldhash::HashMap;
use roost_core::key::{Key, Space};
use roost_core::port::{Check, Item, Query, StoreError, Value};

use super::content::{Data, Entry, Hash, NEVER, WrongType};
use super::expiry::Due;
use super::name::Name;

/// All keys of a shard, expired ones among them until they are evicted.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) entries: HashMap<Name, Entry>,
    due: Due<Name>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn notes(&self) -> usize {
        self.due.len()
    }

    /// Rough size of everything.
    pub(super) fn bytes(&self) -> usize {
        let heap = |(name, entry): (&Name, &Entry)| name.heap_bytes() + entry.data.heap_bytes();
        self.entries.capacity() * size_of::<(Name, Entry)>() + self.entries.iter().map(heap).sum::<usize>()
    }

    pub(super) fn live(&self, now: u64, name: &Name) -> Option<&Entry> {
        self.entries.get(name).filter(|entry| entry.is_live(now))
    }

    pub(super) fn live_mut(&mut self, now: u64, name: &Name) -> Option<&mut Entry> {
        self.entries.get_mut(name).filter(|entry| entry.is_live(now))
    }

    /// Puts a key in place of what was there, expired or not; answers that.
    pub(super) fn replace(&mut self, name: &Name, mut entry: Entry) -> Option<Entry> {
        let late = entry.deadline;
        let before = match self.entries.entry(name.clone()) {
            Slot::Occupied(mut slot) => {
                entry.noted = slot.get().noted;
                Some(slot.insert(entry))
            }
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
        };
        if late < before.as_ref().map_or(NEVER, |before| before.noted) {
            self.note(name);
        }
        before
    }

    /// Sees to it that the key is looked at no later than its deadline. After every change of one.
    pub(super) fn note(&mut self, name: &Name) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.deadline < entry.noted {
            entry.noted = entry.deadline;
            self.due.push(entry.deadline, name.clone());
        }
        if self.due.is_bloated(self.entries.len()) {
            let ending = self.entries.iter_mut().filter(|(_, entry)| entry.deadline != NEVER);
            self.due = ending
                .map(|(name, entry)| {
                    entry.noted = entry.deadline;
                    (entry.deadline, name.clone())
                })
                .collect();
        }
    }

    /// Removes up to so many expired keys; answers how many notes it looked at, and how many keys went.
    pub(super) fn evict(&mut self, now: u64, notes_max: usize) -> (usize, usize) {
        let before = self.entries.len();
        let mut notes = 0;
        while notes < notes_max
            && let Some((moment, name)) = self.due.pop(now)
        {
            notes += 1;
            match self.entries.get_mut(&name) {
                Some(entry) if !entry.is_live(now) => drop(self.entries.remove(&name)),
                // Another note stands for it.
                Some(entry) if entry.noted != moment => {}
                Some(entry) => {
                    entry.noted = NEVER;
                    self.note(&name);
                }
                None => {}
            }
        }
        (notes, before - self.entries.len())
    }

    /// Answers a valid query.
    pub(super) fn answer(&self, now: u64, query: &Query) -> Result<Value, StoreError> {
        let answer = self.find(now, query);
        answer.map(|found| found.unwrap_or(Value::Missing)).map_err(|wrong| named(query.key(), wrong))
    }

    fn find(&self, now: u64, query: &Query) -> Result<Option<Value>, WrongType> {
        let entry = self.live(now, &Name::of(query.key()));
        let data = entry.map(|entry| &entry.data);
        Ok(match query {
            Query::Bytes(_) => data.map(Data::bytes).transpose()?.map(Value::Bytes),
            Query::Counter(_) => data.map(Data::number).transpose()?.map(Value::Counter),
            Query::Fields(_) => data.map(Data::hash).transpose()?.map(|hash| Value::Fields(hash.to_vec())),
            Query::NamedFields(_, names) => {
                let hash = data.map(Data::hash).transpose()?;
                let field = |name: &String| hash.and_then(|hash| hash.get(name)).map(str::to_owned);
                Some(Value::NamedFields(names.iter().map(field).collect()))
            }
            Query::TimeToLive(_) => entry.map(|entry| {
                let left = (entry.deadline != NEVER).then(|| entry.deadline.saturating_sub(now));
                Value::TimeToLive(left)
            }),
            Query::OrderedRange { minimum, maximum, limit, .. } => {
                let ordered = data.map(Data::ordered).transpose()?;
                let members = ordered.map(|ordered| ordered.range(*minimum, *maximum, *limit as usize));
                Some(Value::Ordered(members.unwrap_or_default()))
            }
            Query::Presence(_) => Some(Value::Presence(entry.is_some())),
            Query::IndexedCounters { index, space } => {
                let hash = data.map(Data::hash).transpose()?;
                Some(Value::Counters(self.indexed(now, index, *space, hash)?))
            }
        })
    }

    fn indexed(&self, now: u64, index: &Key, space: Space, hash: Option<&Hash>) -> Result<Vec<(Item, i64)>, WrongType> {
        let mut counters = Vec::new();
        for item in hash.into_iter().flat_map(Hash::names).map(Item::from) {
            if let Some(entry) = self.live(now, &Name::indexed(index.owner, space, &item)) {
                counters.push((item, entry.data.number()?));
            }
        }
        counters.sort_unstable();
        Ok(counters)
    }

    /// Whether a valid check holds.
    pub(super) fn holds(&self, now: u64, check: &Check) -> Result<bool, StoreError> {
        self.agrees(now, check).map_err(|wrong| named(check.key(), wrong))
    }

    fn agrees(&self, now: u64, check: &Check) -> Result<bool, WrongType> {
        let data = self.live(now, &Name::of(check.key())).map(|entry| &entry.data);
        match check {
            Check::Absent(_) => Ok(data.is_none()),
            Check::Present(_) => Ok(data.is_some()),
            Check::Equals(_, value) => data.map_or(Ok(false), |data| data.equals(value)),
            Check::FieldEquals(_, field, value) => {
                let hash = data.map(Data::hash).transpose()?;
                Ok(hash.and_then(|hash| hash.get(field)) == value.as_deref())
            }
            Check::FieldBelow(_, field, limit) => {
                let hash = data.map(Data::hash).transpose()?;
                let number = hash.map(|hash| hash.number(field)).transpose()?.flatten();
                Ok(number.is_none_or(|number| number < *limit))
            }
            Check::ScoreEquals(_, member, score) => {
                let ordered = data.map(Data::ordered).transpose()?;
                Ok(ordered.and_then(|ordered| ordered.score(member)) == *score)
            }
        }
    }
}

/// The fault, with the key that has it.
pub(super) fn named(key: &Key, wrong: WrongType) -> StoreError {
    StoreError::WrongType(format!("{} {}", key.physical(), wrong.0))
}
