//! The keys and values of the model: what a query returns, when a check holds, and what a mutation does.
//!
//! The code is simple rather than fast, because the adapters are compared with it.

use std::collections::BTreeMap;

use crate::ids::UserId;
use crate::key::{Key, Space};
use crate::limits::FOLLOWED_TTL_MS;
use crate::port::{
    Check, ITEM_BYTES, Item, Mutation, Query, SCORE_BYTES, StoreError, Transaction, Value, app_function, parse_number,
};
use crate::time::Timestamp;

/// The value of a key. A counter is text that contains a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredValue {
    /// Bytes or a counter.
    Text(Vec<u8>),
    /// Fields by name.
    Hash(BTreeMap<String, String>),
    /// Scores by member.
    Ordered(BTreeMap<String, i64>),
}

impl StoredValue {
    /// The bytes of the content, as they count towards the bound of a function.
    fn content_bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Hash(fields) => fields.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum(),
            Self::Ordered(members) => members.keys().map(|member| member.len() as u64 + SCORE_BYTES).sum(),
        }
    }
}

#[derive(Clone, Debug)]
struct StoredEntry {
    stored: StoredValue,
    /// The time from which on the key no longer exists.
    deadline: Option<Timestamp>,
}

/// All keys at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyModel {
    entries: BTreeMap<Key, StoredEntry>,
    now: Timestamp,
}

impl KeyModel {
    /// Advances the time. A key that has expired never becomes visible again, even if the clock steps back.
    pub(super) fn advance_to(&mut self, now: Timestamp) -> &mut Self {
        self.now = self.now.max(now);
        self
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// All values by key.
    pub(super) fn all(&self) -> BTreeMap<Key, StoredValue> {
        let live = self.entries.keys().filter_map(|key| {
            let entry = self.entry(key)?;
            Some((key.clone(), entry.stored.clone()))
        });
        live.collect()
    }

    /// The milliseconds for which this user is still followed; `None` if nobody follows the user.
    pub(super) fn followed_ms(&self, user: UserId) -> Option<u64> {
        let entry = self.entry(&Key::followed(user))?;
        Some(entry.deadline.map_or(u64::MAX, |deadline| deadline.0 - self.now.0))
    }

    /// Writes the key by which events of this user are kept.
    pub(super) fn follow(&mut self, user: UserId) {
        let deadline = Some(self.now.plus(FOLLOWED_TTL_MS));
        self.entries.insert(Key::followed(user), StoredEntry { stored: StoredValue::Text(Vec::new()), deadline });
    }

    /// Writes a text that is not a number.
    pub(super) fn overwrite(&mut self, key: Key) {
        self.entries.insert(key, StoredEntry { stored: StoredValue::Text(b"text".to_vec()), deadline: None });
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Applies all mutations, or none.
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<Vec<i64>, StoreError> {
        let mutations = &transaction.mutations;
        let mut copy = self.copy_of(mutations.iter().map(Mutation::key));
        let before = copy.app_bytes(|_| true);
        let mut results = Vec::new();
        for mutation in mutations {
            results.extend(copy.mutate(mutation)?);
        }
        if let (Some(function), Some(bound)) = (app_function(transaction), transaction.app_bound) {
            let after = copy.app_bytes(|_| true);
            let total = self.app_bytes(|key| key.function_name() == function) - before + after;
            bound.check(function, total, after as i64 - before as i64)?;
        }
        for mutation in mutations {
            self.entries.remove(mutation.key());
        }
        self.entries.append(&mut copy.entries);
        Ok(results)
    }

    /// What the items of the space `app` take, as far as their keys are counted.
    fn app_bytes(&self, is_counted: impl Fn(&Key) -> bool) -> u64 {
        let counted = self.entries.keys().filter(|key| key.space == Space::App && is_counted(key));
        counted.filter_map(|key| self.entry(key)).map(|entry| ITEM_BYTES + entry.stored.content_bytes()).sum()
    }

    fn copy_of<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Self {
        let entries = keys.filter_map(|key| Some((key.clone(), self.entry(key)?.clone()))).collect();
        Self { entries, now: self.now }
    }

    /// The entry of a key that has not expired.
    fn entry(&self, key: &Key) -> Option<&StoredEntry> {
        self.entries.get(key).filter(|entry| entry.deadline.is_none_or(|deadline| self.now < deadline))
    }

    fn text(&self, key: &Key) -> Result<Option<&[u8]>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(StoredValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(key, "does not hold bytes")),
        }
    }

    fn counter(&self, key: &Key) -> Result<Option<i64>, StoreError> {
        self.text(key)?
            .map(|text| parse_number(text).ok_or_else(|| wrong_type(key, "does not hold a number")))
            .transpose()
    }

    fn hash(&self, key: &Key) -> Result<Option<&BTreeMap<String, String>>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(StoredValue::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(wrong_type(key, "does not hold a hash")),
        }
    }

    fn field(&self, key: &Key, field: &str) -> Result<Option<&str>, StoreError> {
        let hash = self.hash(key)?;
        Ok(hash.and_then(|hash| hash.get(field)).map(String::as_str))
    }

    fn number_field(&self, key: &Key, field: &str) -> Result<Option<i64>, StoreError> {
        self.field(key, field)?
            .map(|text| {
                parse_number(text.as_bytes()).ok_or_else(|| wrong_type(key, "holds a field that is not a number"))
            })
            .transpose()
    }

    fn ordered(&self, key: &Key) -> Result<Option<&BTreeMap<String, i64>>, StoreError> {
        match self.entry(key).map(|entry| &entry.stored) {
            None => Ok(None),
            Some(StoredValue::Ordered(ordered)) => Ok(Some(ordered)),
            Some(_) => Err(wrong_type(key, "does not hold an ordered set")),
        }
    }
}

impl KeyModel {
    /// Returns the answer to a valid query.
    pub(super) fn answer(&self, query: &Query) -> Result<Value, StoreError> {
        let answer = match query {
            Query::Bytes(key) => self.text(key)?.map(|text| Value::Bytes(text.to_vec())),
            Query::Counter(key) => self.counter(key)?.map(Value::Counter),
            Query::Fields(key) => self.hash(key)?.map(|hash| Value::Fields(hash.clone().into_iter().collect())),
            Query::NamedFields(key, names) => Some(self.named_fields(key, names)?),
            Query::TimeToLive(key) => self.entry(key).map(|entry| {
                let remaining = |deadline: Timestamp| deadline.0 - self.now.0;
                Value::TimeToLive(entry.deadline.map(remaining))
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
        // The sort is stable, so members with equal scores stay ordered by name.
        members.sort_by_key(|(_, score)| *score);
        Ok(members)
    }

    fn indexed(&self, index: &Key, space: Space) -> Result<Vec<(Item, i64)>, StoreError> {
        let mut counters = Vec::new();
        for item in self.hash(index)?.into_iter().flat_map(BTreeMap::keys) {
            let key = index.sibling(space, item.clone());
            // A field that is not a valid item has no counter.
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
            Check::PresentEither(key, other) => {
                self.entry(key).is_some() || self.entry(&Key::new(*other, key.owner)).is_some()
            }
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
            Mutation::Set(key, value, ttl_ms) => {
                let entry = StoredEntry {
                    stored: StoredValue::Text(value.clone()),
                    deadline: ttl_ms.map(|ttl_ms| self.now.plus(ttl_ms)),
                };
                self.entries.insert(key.clone(), entry);
            }
            Mutation::Delete(key) => self.remove(key),
            Mutation::Add { key, delta, floor } => return self.add(key, *delta, *floor).map(Some),
            Mutation::SetFields(key, fields) => {
                let mut hash = self.hash(key)?.cloned().unwrap_or_default();
                hash.extend(fields.iter().map(|(name, value)| (name.to_string(), value.to_string())));
                self.put(key, StoredValue::Hash(hash));
            }
            Mutation::DeleteFields(key, names) => {
                let mut hash = self.hash(key)?.cloned().unwrap_or_default();
                hash.retain(|name, _| !names.iter().any(|deleted| deleted == name));
                self.put(key, StoredValue::Hash(hash));
            }
            Mutation::AddField(key, field, delta) => {
                return self.add_field(key, field, *delta).map(Some);
            }
            Mutation::Expire(key, ttl_ms) => self.set_deadline(key, Some(self.now.plus(*ttl_ms))),
            Mutation::Persist(key) => self.set_deadline(key, None),
            Mutation::OrderedPut(key, member, score) => {
                let mut ordered = self.ordered(key)?.cloned().unwrap_or_default();
                ordered.insert(member.to_string(), *score);
                self.put(key, StoredValue::Ordered(ordered));
            }
            Mutation::OrderedRemove(key, member) => {
                let mut ordered = self.ordered(key)?.cloned().unwrap_or_default();
                ordered.remove(member.as_ref());
                self.put(key, StoredValue::Ordered(ordered));
            }
        }
        Ok(None)
    }

    fn add(&mut self, key: &Key, delta: i64, floor: Option<i64>) -> Result<i64, StoreError> {
        let sum = sum(key, self.counter(key)?, delta)?;
        let sum = floor.map_or(sum, |floor| sum.max(floor));
        self.put(key, StoredValue::Text(sum.to_string().into_bytes()));
        Ok(sum)
    }

    fn add_field(&mut self, key: &Key, field: &str, delta: i64) -> Result<i64, StoreError> {
        let sum = sum(key, self.number_field(key, field)?, delta)?;
        let mut hash = self.hash(key)?.cloned().unwrap_or_default();
        hash.insert(field.to_owned(), sum.to_string());
        self.put(key, StoredValue::Hash(hash));
        Ok(sum)
    }

    /// Writes a value and keeps the expiry. A hash or ordered set without elements is removed.
    fn put(&mut self, key: &Key, stored: StoredValue) {
        let deadline = self.entry(key).and_then(|entry| entry.deadline);
        let empty = match &stored {
            StoredValue::Text(_) => false,
            StoredValue::Hash(hash) => hash.is_empty(),
            StoredValue::Ordered(ordered) => ordered.is_empty(),
        };
        if empty {
            self.remove(key);
        } else {
            self.entries.insert(key.clone(), StoredEntry { stored, deadline });
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
    present.unwrap_or(0).checked_add(delta).ok_or_else(|| wrong_type(key, "would exceed 64 bits"))
}

fn wrong_type(key: &Key, problem: &str) -> StoreError {
    StoreError::WrongType(format!("{} {problem}", key.physical()))
}
