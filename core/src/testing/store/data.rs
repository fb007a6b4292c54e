//! Keys and values of the model: what a query answers, when a check holds, what a mutation does.
//!
//! Written to be obviously right, not fast: the adapters are compared with it.

use std::collections::BTreeMap;

use crate::key::{Key, Space};
use crate::port::{Check, Item, Mutation, Query, StoreError, Value, parse_number};
use crate::time::Timestamp;

/// What a key holds. A counter is text that spells a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Bytes, or a counter.
    Text(Vec<u8>),
    /// Fields by name.
    Hash(BTreeMap<String, String>),
    /// Scores by member.
    Ordered(BTreeMap<String, i64>),
}

#[derive(Clone, Debug)]
struct Entry {
    stored: Stored,
    /// The first moment at which the key is gone.
    deadline: Option<Timestamp>,
}

/// All keys, as they are at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    entries: BTreeMap<Key, Entry>,
    now: Timestamp,
}

impl Keys {
    /// Lets time go on. What has expired by then is never seen again, even if the clock steps back.
    pub(super) fn at(&mut self, now: Timestamp) -> &mut Self {
        self.now = self.now.max(now);
        self
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Everything there is.
    pub(super) fn all(&self) -> BTreeMap<Key, Stored> {
        let live = self.entries.keys().filter_map(|key| {
            let entry = self.entry(key)?;
            Some((key.clone(), entry.stored.clone()))
        });
        live.collect()
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Carries out all of them, or none.
    pub(super) fn apply(&mut self, mutations: &[Mutation]) -> Result<Vec<i64>, StoreError> {
        let mut copy = self.copy_of(mutations.iter().map(Mutation::key));
        let mut results = Vec::new();
        for mutation in mutations {
            results.extend(copy.mutate(mutation)?);
        }
        for mutation in mutations {
            self.entries.remove(mutation.key());
        }
        self.entries.append(&mut copy.entries);
        Ok(results)
    }

    fn copy_of<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Self {
        let entries = keys.filter_map(|key| Some((key.clone(), self.entry(key)?.clone()))).collect();
        Self { entries, now: self.now }
    }

    /// The first moment at which a key is gone is its deadline.
    fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.deadline.is_none_or(|deadline| self.now < deadline))
    }

    fn text(&self, key: &Key) -> Result<Option<&[u8]>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(Stored::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(key, "holds no bytes")),
        }
    }

    fn counter(&self, key: &Key) -> Result<Option<i64>, StoreError> {
        self.text(key)?.map(|text| parse_number(text).ok_or_else(|| wrong_type(key, "holds no number"))).transpose()
    }

    fn hash(&self, key: &Key) -> Result<Option<&BTreeMap<String, String>>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(Stored::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(wrong_type(key, "holds no hash")),
        }
    }

    fn field(&self, key: &Key, field: &str) -> Result<Option<&str>, StoreError> {
        let hash = self.hash(key)?;
        Ok(hash.and_then(|hash| hash.get(field)).map(String::as_str))
    }

    fn number_field(&self, key: &Key, field: &str) -> Result<Option<i64>, StoreError> {
        self.field(key, field)?
            .map(|text| parse_number(text.as_bytes()).ok_or_else(|| wrong_type(key, "holds a field that is no number")))
            .transpose()
    }

    fn ordered(&self, key: &Key) -> Result<Option<&BTreeMap<String, i64>>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(Stored::Ordered(ordered)) => Ok(Some(ordered)),
            Some(_) => Err(wrong_type(key, "holds no ordered set")),
        }
    }
}

impl Keys {
    /// Answers a valid query.
    pub(super) fn answer(&self, query: &Query) -> Result<Value, StoreError> {
        let answer = match query {
            Query::Bytes(key) => self.text(key)?.map(|text| Value::Bytes(text.to_vec())),
            Query::Counter(key) => self.counter(key)?.map(Value::Counter),
            Query::Fields(key) => self.hash(key)?.map(|hash| Value::Fields(hash.clone().into_iter().collect())),
            Query::NamedFields(key, names) => Some(self.named_fields(key, names)?),
            Query::TimeToLive(key) => self.entry(key).map(|entry| {
                let left = |deadline: Timestamp| deadline.0 - self.now.0;
                Value::TimeToLive(entry.deadline.map(left))
            }),
            Query::OrderedRange { key, minimum, maximum, limit } => {
                let mut members = self.members(key, *minimum, *maximum)?;
                members.truncate(*limit as usize);
                Some(Value::Ordered(members))
            }
            Query::Presence(key) => Some(Value::Presence(self.entry(key).is_some())),
            Query::IndexedCounters { index, space } => Some(Value::Counters(self.indexed(index, *space)?)),
        };
        Ok(answer.unwrap_or(Value::Missing))
    }

    fn named_fields(&self, key: &Key, names: &[String]) -> Result<Value, StoreError> {
        let fields = names
            .iter()
            .map(|name| Ok(self.field(key, name)?.map(str::to_owned)))
            .collect::<Result<_, StoreError>>()?;
        self.hash(key)?;
        Ok(Value::NamedFields(fields))
    }

    fn members(&self, key: &Key, minimum: i64, maximum: i64) -> Result<Vec<(String, i64)>, StoreError> {
        let ordered = self.ordered(key)?.into_iter().flatten();
        let mut members: Vec<_> = ordered
            .filter(|(_, score)| (minimum..=maximum).contains(score))
            .map(|(member, score)| (member.clone(), *score))
            .collect();
        // Stable: equal scores stay ordered by member.
        members.sort_by_key(|(_, score)| *score);
        Ok(members)
    }

    fn indexed(&self, index: &Key, space: Space) -> Result<Vec<(Item, i64)>, StoreError> {
        let mut counters = Vec::new();
        for item in self.hash(index)?.into_iter().flat_map(BTreeMap::keys) {
            let key = Key { space, owner: index.owner, item: Some(item.clone()) };
            // A field that is no item has no counter either.
            if let Some(number) = self.counter(&key)? {
                counters.push((Item::from(item.as_str()), number));
            }
        }
        counters.sort_unstable();
        Ok(counters)
    }

    /// Whether a valid check holds.
    pub(super) fn holds(&self, check: &Check) -> Result<bool, StoreError> {
        Ok(match check {
            Check::Absent(key) => self.entry(key).is_none(),
            Check::Present(key) => self.entry(key).is_some(),
            Check::Equals(key, value) => self.text(key)? == Some(value),
            Check::FieldEquals(key, field, value) => self.field(key, field)? == value.as_deref(),
            Check::FieldBelow(key, field, limit) => self.number_field(key, field)?.is_none_or(|number| number < *limit),
            Check::ScoreEquals(key, member, score) => {
                self.ordered(key)?.and_then(|ordered| ordered.get(member.as_ref())) == score.as_ref()
            }
        })
    }

    fn mutate(&mut self, mutation: &Mutation) -> Result<Option<i64>, StoreError> {
        match mutation {
            Mutation::Set(key, value, life_ms) => {
                let entry = Entry {
                    stored: Stored::Text(value.clone()),
                    deadline: life_ms.map(|life_ms| self.now.plus(life_ms)),
                };
                self.entries.insert(key.clone(), entry);
            }
            Mutation::Delete(key) => self.remove(key),
            Mutation::Add { key, delta, floor } => return self.add(key, *delta, *floor).map(Some),
            Mutation::SetFields(key, fields) => {
                let mut hash = self.hash(key)?.cloned().unwrap_or_default();
                hash.extend(fields.iter().map(|(name, value)| (name.to_string(), value.to_string())));
                self.put(key, Stored::Hash(hash));
            }
            Mutation::DeleteFields(key, names) => {
                let mut hash = self.hash(key)?.cloned().unwrap_or_default();
                hash.retain(|name, _| !names.iter().any(|gone| gone == name));
                self.put(key, Stored::Hash(hash));
            }
            Mutation::AddField(key, field, delta) => {
                return self.add_field(key, field, *delta).map(Some);
            }
            Mutation::Expire(key, life_ms) => self.set_deadline(key, Some(self.now.plus(*life_ms))),
            Mutation::Persist(key) => self.set_deadline(key, None),
            Mutation::OrderedPut(key, member, score) => {
                let mut ordered = self.ordered(key)?.cloned().unwrap_or_default();
                ordered.insert(member.to_string(), *score);
                self.put(key, Stored::Ordered(ordered));
            }
            Mutation::OrderedRemove(key, member) => {
                let mut ordered = self.ordered(key)?.cloned().unwrap_or_default();
                ordered.remove(member.as_ref());
                self.put(key, Stored::Ordered(ordered));
            }
        }
        Ok(None)
    }

    fn add(&mut self, key: &Key, delta: i64, floor: Option<i64>) -> Result<i64, StoreError> {
        let sum = sum(key, self.counter(key)?, delta)?;
        let sum = floor.map_or(sum, |floor| sum.max(floor));
        self.put(key, Stored::Text(sum.to_string().into_bytes()));
        Ok(sum)
    }

    fn add_field(&mut self, key: &Key, field: &str, delta: i64) -> Result<i64, StoreError> {
        let sum = sum(key, self.number_field(key, field)?, delta)?;
        let mut hash = self.hash(key)?.cloned().unwrap_or_default();
        hash.insert(field.to_owned(), sum.to_string());
        self.put(key, Stored::Hash(hash));
        Ok(sum)
    }

    /// Writes and keeps the expiry; nothing is left of a hash or ordered set without elements.
    fn put(&mut self, key: &Key, stored: Stored) {
        let deadline = self.entry(key).and_then(|entry| entry.deadline);
        let empty = match &stored {
            Stored::Text(_) => false,
            Stored::Hash(hash) => hash.is_empty(),
            Stored::Ordered(ordered) => ordered.is_empty(),
        };
        if empty {
            self.remove(key);
        } else {
            self.entries.insert(key.clone(), Entry { stored, deadline });
        }
    }

    fn set_deadline(&mut self, key: &Key, deadline: Option<Timestamp>) {
        if self.entry(key).is_some()
            && let Some(entry) = self.entries.get_mut(key)
        {
            entry.deadline = deadline;
        }
    }
}

fn sum(key: &Key, present: Option<i64>, delta: i64) -> Result<i64, StoreError> {
    present.unwrap_or(0).checked_add(delta).ok_or_else(|| wrong_type(key, "would pass 64 bits"))
}

fn wrong_type(key: &Key, fault: &str) -> StoreError {
    StoreError::WrongType(format!("{} {fault}", key.physical()))
}
