//! The keys of one shard: the answers to queries, whether checks hold, and which keys have expired.
//!
//! The caller holds the shard's lock and passes the present time. The bytes that all keys take are counted with every
//! change, so that the store's size can be read at any time.

use std::collections::hash_map;

use foldhash::HashMap;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space};
use roost_core::limits::FOLLOWED_TTL_MS;
use roost_core::port::{Check, ITEM_BYTES, Item, Query, StoreError, Value};

use super::app_usage::AppUsage;
use super::content::{HashFields, KeyContent, KeyEntry, NEVER, WrongType};
use super::expiry::ExpiryQueue;

/// A key as the store files it: ids are numbers, not text. UUIDs, which nearly all items are, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyName {
    /// The id of the partition.
    partition: u128,
    kind: OwnerKind,
    space: Space,
    /// In the space `app` the text is the name of the function, the id of the message if there is one, and the item.
    item: Option<Item>,
}

/// The kinds of [`Owner`], without their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum OwnerKind {
    User,
    Conversation,
    Message,
    Shard,
}

impl KeyName {
    pub(super) fn of(key: &Key) -> Self {
        let item = match key.space {
            Space::App => Some(Item::Text(app_item(key))),
            _ => key.item.as_deref().map(Item::from),
        };
        Self::new(key.owner, key.space, item)
    }

    fn followed(user: UserId) -> Self {
        Self::new(Owner::User(user), Space::Followed, None)
    }

    fn new(owner: Owner, space: Space, item: Option<Item>) -> Self {
        let (kind, partition) = match owner {
            Owner::User(user) => (OwnerKind::User, user.as_u128()),
            Owner::Conversation(conversation) => (OwnerKind::Conversation, conversation.as_u128()),
            Owner::Message { conversation, .. } => (OwnerKind::Message, conversation.as_u128()),
            Owner::Shard(shard) => (OwnerKind::Shard, u128::from(shard)),
        };
        Self { partition, kind, space, item }
    }

    /// The key of this space and of the index's owner whose item is a field of the index. No such key exists if the
    /// field is not a valid item.
    fn indexed(index: &Key, space: Space, field: &Item) -> Self {
        match space {
            Space::App => Self::of(&index.sibling(space, field.to_string())),
            _ => Self::new(index.owner, space, Some(field.clone())),
        }
    }

    /// The function whose item this is; `None` in other spaces than `app`.
    fn function(&self) -> Option<&str> {
        match &self.item {
            Some(Item::Text(text)) if self.space == Space::App => text.split(':').next(),
            _ => None,
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.item {
            None | Some(Item::Uuid(_)) => 0,
            Some(Item::Text(text)) => text.len(),
        }
    }
}

/// What tells the items of a partition apart. The name of a function contains no colon.
fn app_item(key: &Key) -> String {
    let (function, item) = (key.function_name(), key.item.as_deref().unwrap_or_default());
    match key.owner {
        Owner::Message { message, .. } => format!("{function}:{message}:{item}"),
        _ => format!("{function}:{item}"),
    }
}

/// All keys of a shard, including those that expired and are not evicted yet.
#[derive(Debug, Default)]
pub(super) struct ShardKeys {
    entries: HashMap<KeyName, KeyEntry>,
    /// The bytes that the names and contents take beside `entries` itself.
    heap_bytes: usize,
    expiring: ExpiryQueue<KeyName>,
    app_usage: AppUsage,
    /// By how much the items of the space `app` have grown since [`ShardKeys::take_app_growth`].
    app_growth: i64,
}

/// What an item takes for as long as it exists.
fn item_bytes(entry: Option<&KeyEntry>) -> i64 {
    entry.map_or(0, |entry| (ITEM_BYTES + entry.content.content_bytes()) as i64)
}

impl ShardKeys {
    /// An empty shard that adds what items take to the sums of all shards.
    pub(super) fn new(app_usage: AppUsage) -> Self {
        Self { app_usage, ..Self::default() }
    }

    /// By how much the items of the space `app` have grown since this was called before.
    pub(super) const fn take_app_growth(&mut self) -> i64 {
        std::mem::replace(&mut self.app_growth, 0)
    }

    /// What the items of a function take, over all shards.
    pub(super) fn app_bytes(&self, function: &str) -> u64 {
        self.app_usage.of(function)
    }

    /// Removes an item that has expired, so that what takes its place counts as new.
    pub(super) fn drop_expired_item(&mut self, now: u64, name: &KeyName) {
        if name.function().is_some() && self.entries.get(name).is_some_and(|entry| !entry.is_live(now)) {
            let growth = self.app_growth;
            self.remove(name);
            self.app_growth = growth;
        }
    }

    fn count_app(&mut self, name: &KeyName, before: i64, after: i64) {
        if let Some(function) = name.function() {
            self.app_usage.add(function, after - before);
            self.app_growth += after - before;
        }
    }

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

    /// The milliseconds for which this user is still followed; `None` if nobody follows the user.
    pub(super) fn followed_ms(&self, now: u64, user: UserId) -> Option<u64> {
        let entry = self.live(now, &KeyName::followed(user))?;
        Some(if entry.deadline == NEVER { NEVER } else { entry.deadline.saturating_sub(now) })
    }

    /// Writes the key by which events of this user are kept.
    pub(super) fn follow(&mut self, now: u64, user: UserId) {
        let deadline = now.saturating_add(FOLLOWED_TTL_MS);
        self.replace(&KeyName::followed(user), KeyEntry::new(KeyContent::Bytes(Box::default()), deadline));
    }

    /// Puts a key in place of the present one, whether that is expired or not; returns the present one.
    pub(super) fn replace(&mut self, name: &KeyName, mut entry: KeyEntry) -> Option<KeyEntry> {
        let deadline = entry.deadline;
        self.heap_bytes += entry.content.heap_bytes();
        let after = item_bytes(Some(&entry));
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
        self.count_app(name, item_bytes(before.as_ref()), after);
        if deadline < before.as_ref().map_or(NEVER, |before| before.queued_for) {
            self.queue(name);
        }
        before
    }

    /// Removes a key, whether it is expired or not.
    pub(super) fn remove(&mut self, name: &KeyName) -> Option<KeyEntry> {
        let removed = self.entries.remove(name)?;
        self.heap_bytes -= name.heap_bytes() + removed.content.heap_bytes();
        self.count_app(name, item_bytes(Some(&removed)), 0);
        Some(removed)
    }

    /// Changes the content of a key, whether it is expired or not; `None` if there is no such key.
    pub(super) fn change<R>(&mut self, name: &KeyName, change: impl FnOnce(&mut KeyContent) -> R) -> Option<R> {
        let entry = self.entries.get_mut(name)?;
        let (before, item_before) = (entry.content.heap_bytes(), item_bytes(Some(entry)));
        let result = change(&mut entry.content);
        self.heap_bytes = self.heap_bytes + entry.content.heap_bytes() - before;
        let item_after = item_bytes(Some(entry));
        self.count_app(name, item_before, item_after);
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

    #[cfg(test)]
    pub(super) const fn app_usage(&self) -> &AppUsage {
        &self.app_usage
    }

    /// What the items of each function take, from a walk over all keys.
    #[cfg(test)]
    pub(super) fn walked_app_bytes(&self) -> Vec<(String, i64)> {
        let items = self.entries.iter().filter_map(|(name, entry)| Some((name.function()?, item_bytes(Some(entry)))));
        items.map(|(function, bytes)| (function.to_owned(), bytes)).collect()
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
            if let Some(entry) = self.live(now, &KeyName::indexed(index, space, &item)) {
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
            Check::PresentEither(key, other) => {
                let other = || self.live(now, &KeyName::new(key.owner, *other, None));
                Ok(content.is_some() || other().is_some())
            }
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
