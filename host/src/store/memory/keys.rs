//! The keys of one shard: the answers to queries, whether checks hold, and which keys have expired.
//!
//! The caller holds the shard's lock and passes the present time. The bytes that all keys take are counted with every
//! change, so that the store's size can be read at any time.

use std::collections::hash_map;

use foldhash::HashMap;
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Item, Query, StoreError, Value};

use super::content::{HashFields, KeyContent, KeyEntry, NEVER, WrongType};
use super::expiry::ExpiryQueue;

/// A key as the store files it: ids are numbers, not text. UUIDs, which nearly all items are, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyName {
    owner: Owner,
    space: Space,
    item: Option<Item>,
}

impl KeyName {
    pub(super) fn of(key: &Key) -> Self {
        Self { owner: key.owner, space: key.space, item: key.item.as_deref().map(Item::from) }
    }

    /// The key of this owner and space whose item is a field of a hash. No such key exists if the field is not a valid
    /// item.
    fn indexed(owner: Owner, space: Space, field: &Item) -> Self {
        Self { owner, space, item: Some(field.clone()) }
    }

    fn heap_bytes(&self) -> usize {
        match &self.item {
            None | Some(Item::Uuid(_)) => 0,
            Some(Item::Text(text)) => text.len(),
        }
    }
}

/// All keys of a shard, including those that expired and are not evicted yet.
#[derive(Debug, Default)]
pub(super) struct ShardKeys {
    entries: HashMap<KeyName, KeyEntry>,
    /// The bytes that the names and contents take beside `entries` itself.
    heap_bytes: usize,
    expiring: ExpiryQueue<KeyName>,
}

impl ShardKeys {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn queue_len(&self) -> usize {
        self.expiring.len()
    }

    /// An estimate of the bytes that all keys take. Takes constant time.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(KeyName, KeyEntry)>() + self.heap_bytes
    }

    /// The same as [`ShardKeys::bytes`], from a walk over all keys.
    #[cfg(test)]
    pub(super) fn walked_bytes(&self) -> usize {
        let heap = self.entries.iter().map(|(name, entry)| name.heap_bytes() + entry.content.heap_bytes());
        self.entries.capacity() * size_of::<(KeyName, KeyEntry)>() + heap.sum::<usize>()
    }

    pub(super) fn live(&self, now: u64, name: &KeyName) -> Option<&KeyEntry> {
        self.entries.get(name).filter(|entry| entry.is_live(now))
    }

    /// Puts a key in place of the present one, whether that is expired or not; returns the present one.
    pub(super) fn replace(&mut self, name: &KeyName, mut entry: KeyEntry) -> Option<KeyEntry> {
        let deadline = entry.deadline;
        self.heap_bytes += entry.content.heap_bytes();
        let before = match self.entries.entry(name.clone()) {
            hash_map::Entry::Occupied(mut slot) => {
                entry.queued_for = slot.get().queued_for;
                Some(slot.insert(entry))
            }
            hash_map::Entry::Vacant(slot) => {
                self.heap_bytes += name.heap_bytes();
                slot.insert(entry);
                None
            }
        };
        self.heap_bytes -= before.as_ref().map_or(0, |before| before.content.heap_bytes());
        if deadline < before.as_ref().map_or(NEVER, |before| before.queued_for) {
            self.queue(name);
        }
        before
    }

    /// Removes a key, whether it is expired or not.
    pub(super) fn remove(&mut self, name: &KeyName) -> Option<KeyEntry> {
        let removed = self.entries.remove(name)?;
        self.heap_bytes -= name.heap_bytes() + removed.content.heap_bytes();
        Some(removed)
    }

    /// Changes the content of a key, whether it is expired or not; `None` if there is no such key.
    pub(super) fn change<R>(&mut self, name: &KeyName, change: impl FnOnce(&mut KeyContent) -> R) -> Option<R> {
        let content = &mut self.entries.get_mut(name)?.content;
        let before = content.heap_bytes();
        let result = change(content);
        self.heap_bytes = self.heap_bytes + content.heap_bytes() - before;
        Some(result)
    }

    /// Moves the deadline of a key, whether it is expired or not; returns the former one.
    pub(super) fn set_deadline(&mut self, name: &KeyName, deadline: u64) -> Option<u64> {
        let before = std::mem::replace(&mut self.entries.get_mut(name)?.deadline, deadline);
        self.queue(name);
        Some(before)
    }

    /// Makes sure that the key is checked no later than at its deadline. Called after every change of a deadline.
    fn queue(&mut self, name: &KeyName) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.deadline < entry.queued_for {
            entry.queued_for = entry.deadline;
            self.expiring.push(entry.deadline, name.clone());
        }
        if self.expiring.is_bloated(self.entries.len()) {
            let expiring = self.entries.iter_mut().filter(|(_, entry)| entry.deadline != NEVER);
            self.expiring = expiring
                .map(|(name, entry)| {
                    entry.queued_for = entry.deadline;
                    (entry.deadline, name.clone())
                })
                .collect();
        }
    }

    /// Takes up to `checks_max` entries from the expiry queue and removes the keys that are expired. Returns the number
    /// of entries taken and of keys removed.
    pub(super) fn evict(&mut self, now: u64, checks_max: usize) -> (usize, usize) {
        let before = self.entries.len();
        let mut checks = 0;
        while checks < checks_max
            && let Some((time, name)) = self.expiring.pop(now)
        {
            checks += 1;
            match self.entries.get_mut(&name) {
                Some(entry) if !entry.is_live(now) => drop(self.remove(&name)),
                // Another entry of the queue is the valid one.
                Some(entry) if entry.queued_for != time => {}
                Some(entry) => {
                    entry.queued_for = NEVER;
                    self.queue(&name);
                }
                None => {}
            }
        }
        (checks, before - self.entries.len())
    }

    /// Answers a valid query.
    pub(super) fn answer(&self, now: u64, query: &Query) -> Result<Value, StoreError> {
        let answer = self.find(now, query);
        answer.map(|found| found.unwrap_or(Value::Missing)).map_err(|problem| wrong_type(query.key(), problem))
    }

    fn find(&self, now: u64, query: &Query) -> Result<Option<Value>, WrongType> {
        let entry = self.live(now, &KeyName::of(query.key()));
        let content = entry.map(|entry| &entry.content);
        Ok(match query {
            Query::Bytes(_) => content.map(KeyContent::bytes).transpose()?.map(Value::Bytes),
            Query::Counter(_) => content.map(KeyContent::number).transpose()?.map(Value::Counter),
            Query::Fields(_) => content.map(KeyContent::hash).transpose()?.map(|hash| Value::Fields(hash.to_vec())),
            Query::NamedFields(_, names) => {
                let hash = content.map(KeyContent::hash).transpose()?;
                let field = |name: &String| hash.and_then(|hash| hash.get(name)).map(str::to_owned);
                Some(Value::NamedFields(names.iter().map(field).collect()))
            }
            Query::TimeToLive(_) => entry.map(|entry| {
                let left = (entry.deadline != NEVER).then(|| entry.deadline.saturating_sub(now));
                Value::TimeToLive(left)
            }),
            Query::OrderedRange { minimum, maximum, limit, .. } => {
                let ordered = content.map(KeyContent::ordered).transpose()?;
                let members = ordered.map(|ordered| ordered.range(*minimum, *maximum, *limit as usize));
                Some(Value::Ordered(members.unwrap_or_default()))
            }
            Query::Presence(_) => Some(Value::Presence(entry.is_some())),
            Query::IndexedCounters { index, space } => {
                let hash = content.map(KeyContent::hash).transpose()?;
                Some(Value::Counters(self.indexed(now, index, *space, hash)?))
            }
        })
    }

    fn indexed(
        &self,
        now: u64,
        index: &Key,
        space: Space,
        hash: Option<&HashFields>,
    ) -> Result<Vec<(Item, i64)>, WrongType> {
        let mut counters = Vec::new();
        for item in hash.into_iter().flat_map(HashFields::names).map(Item::from) {
            if let Some(entry) = self.live(now, &KeyName::indexed(index.owner, space, &item)) {
                counters.push((item, entry.content.number()?));
            }
        }
        counters.sort_unstable();
        Ok(counters)
    }

    /// Whether a valid check holds.
    pub(super) fn holds(&self, now: u64, check: &Check) -> Result<bool, StoreError> {
        self.agrees(now, check).map_err(|problem| wrong_type(check.key(), problem))
    }

    fn agrees(&self, now: u64, check: &Check) -> Result<bool, WrongType> {
        let content = self.live(now, &KeyName::of(check.key())).map(|entry| &entry.content);
        match check {
            Check::Absent(_) => Ok(content.is_none()),
            Check::Present(_) => Ok(content.is_some()),
            Check::Equals(_, value) => content.map_or(Ok(false), |content| content.equals(value)),
            Check::FieldEquals(_, field, value) => {
                let hash = content.map(KeyContent::hash).transpose()?;
                Ok(hash.and_then(|hash| hash.get(field)) == value.as_deref())
            }
            Check::FieldBelow(_, field, limit) => {
                let hash = content.map(KeyContent::hash).transpose()?;
                let number = hash.map(|hash| hash.number(field)).transpose()?.flatten();
                Ok(number.is_none_or(|number| number < *limit))
            }
            Check::ScoreEquals(_, member, score) => {
                let ordered = content.map(KeyContent::ordered).transpose()?;
                Ok(ordered.and_then(|ordered| ordered.score(member)) == *score)
            }
        }
    }
}

/// The error about this key.
pub(super) fn wrong_type(key: &Key, problem: WrongType) -> StoreError {
    StoreError::WrongType(format!("{} {}", key.physical(), problem.0))
}
