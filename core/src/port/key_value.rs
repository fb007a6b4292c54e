//! The key-value port: strings, counters, hashes and ordered sets, partitioned by owner.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Item;
use crate::ids::UserId;
use crate::key::{Key, KeyError, Owner, Space};
use crate::limits::{
    CALL_BYTES_MAX, CALL_ITEMS_MAX, EVENT_NAME_BYTES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RANGE_MAX,
    TRANSACTION_ITEMS_MAX, TTL_MS_MAX, VALUE_BYTES_MAX,
};

/// A field name, a field value or a member. Most of those that the rules write are constants and need no allocation.
pub type Text = Cow<'static, str>;

/// A query about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Answer: [`Value::Bytes`], or [`Value::Missing`].
    Bytes(Key),
    /// Answer: [`Value::Counter`], or [`Value::Missing`]; a missing counter is not zero.
    Counter(Key),
    /// Answer: [`Value::Fields`] by name, or [`Value::Missing`].
    Fields(Key),
    /// Answer: [`Value::NamedFields`] in the order of the names, all `None` if the key is missing.
    /// The names are shared, because many queries ask for the same ones.
    NamedFields(Key, Arc<[String]>),
    /// Answer: [`Value::TimeToLive`], or [`Value::Missing`].
    TimeToLive(Key),
    /// Members with `minimum <= score <= maximum`, lowest score first, then by member.
    /// Answer: [`Value::Ordered`].
    OrderedRange {
        /// The ordered set.
        key: Key,
        /// The lowest score, inclusive.
        minimum: i64,
        /// The highest score, inclusive.
        maximum: i64,
        /// The number of members, 1 to [`RANGE_MAX`].
        limit: u32,
    },
    /// Whether the key exists. The answer is a [`Value::Presence`].
    Presence(Key),
    /// All counters of `space`, with the owner of the hash `index`, whose items are the field names of the hash.
    /// Counters of the space `app` are indexed by a hash of that space, so that both belong to one function. Answer:
    /// [`Value::Counters`] in the order of [`Item`], without missing counters.
    IndexedCounters {
        /// The hash whose field names are the items.
        index: Key,
        /// The space of the counters.
        space: Space,
    },
}

impl Query {
    /// The key of the query.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Bytes(key)
            | Self::Counter(key)
            | Self::Fields(key)
            | Self::NamedFields(key, _)
            | Self::TimeToLive(key)
            | Self::Presence(key)
            | Self::OrderedRange { key, .. }
            | Self::IndexedCounters { index: key, .. } => key,
        }
    }
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The key does not exist, or has expired.
    Missing,
    /// The bytes of the key.
    Bytes(Vec<u8>),
    /// The number of a counter.
    Counter(i64),
    /// All fields, sorted by name.
    Fields(Vec<(String, String)>),
    /// The named fields.
    NamedFields(Vec<Option<String>>),
    /// The remaining time to live in ms; `None` if the key does not expire.
    TimeToLive(Option<u64>),
    /// Members with their scores.
    Ordered(Vec<(String, i64)>),
    /// Whether the key exists.
    Presence(bool),
    /// Items with the numbers of their counters.
    Counters(Vec<(Item, i64)>),
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key does not exist.
    Absent(Key),
    /// The key exists.
    Present(Key),
    /// The key exists, or the key of this other space that the same owner has. Neither space is `app`, and the other
    /// space has no items.
    PresentEither(Key, Space),
    /// The key holds exactly these bytes; a counter is compared as its decimal text.
    Equals(Key, Vec<u8>),
    /// The field holds this text; `None` if the field or the whole key is missing.
    FieldEquals(Key, Text, Option<Text>),
    /// The field is missing, or is a number below the limit.
    FieldBelow(Key, Text, i64),
    /// The member has this score; `None` if it is not in the set.
    ScoreEquals(Key, Text, Option<i64>),
}

impl Check {
    /// The key of the check; of [`Check::PresentEither`] the first one.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Absent(key)
            | Self::Present(key)
            | Self::PresentEither(key, _)
            | Self::Equals(key, _)
            | Self::FieldEquals(key, _, _)
            | Self::FieldBelow(key, _, _)
            | Self::ScoreEquals(key, _, _) => key,
        }
    }
}

/// One change of a transaction. Mutations are applied in order; a later one sees the result of an earlier one. A hash
/// or ordered set that loses its last element is removed. `Expire` and `Persist` change the expiry of a key, and `Set`
/// and `Delete` replace it; other mutations keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Replaces the key, whatever its type. The time to live is in milliseconds.
    Set(Key, Vec<u8>, Option<u64>),
    /// Removes the key.
    Delete(Key),
    /// Adds to a counter (a missing one counts from zero). Result: the new value.
    Add {
        /// The counter that the check compares.
        key: Key,
        /// The number to add; it may be negative.
        delta: i64,
        /// The result is raised to this number if it would be lower.
        floor: Option<i64>,
    },
    /// Sets fields of a hash.
    SetFields(Key, Vec<(Text, Text)>),
    /// Removes fields of a hash.
    DeleteFields(Key, Vec<Text>),
    /// Adds to a field of a hash. Result: the new value.
    AddField(Key, Text, i64),
    /// Lets an existing key expire after so many milliseconds.
    Expire(Key, u64),
    /// Removes the expiry of a key.
    Persist(Key),
    /// Adds a member with a score, or changes its score.
    OrderedPut(Key, Text, i64),
    /// Removes a member.
    OrderedRemove(Key, Text),
}

impl Mutation {
    /// The key of the mutation.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Set(key, _, _)
            | Self::Delete(key)
            | Self::Add { key, .. }
            | Self::SetFields(key, _)
            | Self::DeleteFields(key, _)
            | Self::AddField(key, _, _)
            | Self::Expire(key, _)
            | Self::Persist(key)
            | Self::OrderedPut(key, _, _)
            | Self::OrderedRemove(key, _) => key,
        }
    }
}

/// An event for the devices of a user. Cloning is cheap, because a message is published to every member. The outbox
/// stores events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The `type` of the frame.
    pub name: Arc<str>,
    /// The payload: a JSON value as text.
    pub payload: Arc<str>,
    /// Whether the event takes the next offset of the user's feed and can be replayed, provided that the user is
    /// followed: see [`KeyValue`].
    pub durable: bool,
}

pub use addressed::AddressedEvent;
pub use app_usage::{AppBound, ITEM_BYTES, SCORE_BYTES, app_function};
pub use published_result::PublishedResult;
pub use screening::ScreenedCall;

/// A transaction in the partition of its owner: either all checks hold and everything is carried out, or nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Every key belongs to the partition of this owner.
    pub owner: Owner,
    /// The conditions that must all hold, or nothing happens.
    pub checks: Vec<Check>,
    /// The changes, which are applied in order.
    pub mutations: Vec<Mutation>,
    /// The events that are published to the owner in the same transaction. The owner must be a user. If nobody follows
    /// the owner, no event is kept, and what is left of the owner's feed is deleted.
    pub publications: Vec<Event>,
    /// The results of this transaction that its publications carry.
    pub published_results: Vec<PublishedResult>,
    /// The events that are published to other users, from any partition. If the transaction is carried out, each user
    /// receives each durable event once, usually at once and at the latest after the crash of a host. An ephemeral
    /// event is published at once or not at all.
    pub addressed: Vec<AddressedEvent>,
    /// How much the items of the function in the space `app` may take afterwards; `None`: there is no bound. No
    /// function chooses it: the host puts the bound of the function that calls here.
    pub app_bound: Option<AppBound>,
}

impl Transaction {
    /// An empty transaction in the partition of this owner.
    pub const fn new(owner: Owner) -> Self {
        Self {
            owner,
            checks: Vec::new(),
            mutations: Vec::new(),
            publications: Vec::new(),
            published_results: Vec::new(),
            addressed: Vec::new(),
            app_bound: None,
        }
    }

    /// Adds a check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a mutation.
    #[must_use]
    pub fn mutate(mut self, mutation: Mutation) -> Self {
        self.mutations.push(mutation);
        self
    }

    /// Adds a publication.
    #[must_use]
    pub fn publish(mut self, event: Event) -> Self {
        self.publications.push(event);
        self
    }

    /// Adds an event for these users.
    #[must_use]
    pub fn address(mut self, users: Vec<UserId>, event: Event) -> Self {
        self.addressed.push(AddressedEvent { users, event });
        self
    }
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transaction was carried out. The results of `Add` and `AddField`, in order.
    Committed(Vec<i64>),
    /// The check at this index did not hold; nothing was changed.
    Refused(u32),
    /// The transaction failed and nothing was changed, except that after `Unavailable` it may have been carried out.
    Failed(StoreError),
}

/// The error of a call or of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The function has no grant for the key space.
    #[error("not granted: {0}")]
    Denied(String),
    /// The key holds a value of another type.
    #[error("wrong type: {0}")]
    WrongType(String),
    /// The transaction contains a key of another partition.
    #[error("a transaction contains a key of another owner: {0}")]
    CrossPartition(String),
    /// A limit was exceeded.
    #[error("too large: {0}")]
    TooLarge(String),
    /// A quota of the function is used up. The text names it.
    #[error("quota exceeded: {0}")]
    QuotaExceeded(String),
    /// The call is invalid.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The store did not answer; a write may or may not have been carried out.
    #[error("the store is unavailable, retry after {retry_after_ms} ms")]
    Unavailable {
        /// The time to wait before a retry.
        retry_after_ms: u32,
    },
}

impl From<KeyError> for StoreError {
    fn from(error: KeyError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Reads and atomic writes of the live state.
///
/// - `read` answers in the order of the queries, in one round trip. The queries of one partition are answered at one
///   instant. An expired key is never visible. One invalid query fails the call.
/// - `commit` answers in the order of the transactions, in one round trip; for a large call an adapter may take up to
///   three, where that costs the store less. Each transaction is atomic on its own: either all checks hold and all
///   mutations and publications are carried out, or none is; addressed events are part of it, although the users
///   receive them after the outcome is decided. Transactions of one call are carried out in any order and do not
///   depend on each other. A publication carries the results that [`Transaction::published_results`] lists for it, in
///   the feed and for subscribers. If [`ScreenedCall::of`] refuses the call, because a transaction is not valid, the
///   whole call fails before anything is changed. That a transaction is too large, a wrong type or an unreachable
///   partition is the outcome of that transaction alone.
/// - A user is *followed* while the key of the space [`Space::Followed`] exists. A durable event for a user who is
///   followed after the mutations of the transaction is kept in the user's feed. A durable event for anybody else is
///   only published, without a position, and the transaction deletes what is left of the user's feed. So a position in
///   that feed is answered with a gap, and never as if nothing had been missed. A feed ends no later than the key did
///   at its last event.
pub trait KeyValue: Send + Sync {
    /// Answers every query.
    fn read(&self, queries: Vec<Query>) -> impl Future<Output = Result<Vec<Value>, StoreError>> + Send;

    /// Carries out every transaction whose checks hold.
    fn commit(&self, transactions: Vec<Transaction>) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;
}

/// Validates the queries of a call, with the same errors for every adapter.
pub fn validate_read(queries: &[Query]) -> Result<(), StoreError> {
    limit("queries in a call", queries.len(), CALL_ITEMS_MAX)?;
    for query in queries {
        query.key().validate()?;
        match query {
            Query::OrderedRange { limit, .. } if *limit == 0 || *limit > RANGE_MAX => {
                return Err(StoreError::Invalid(format!("a range's limit is 1 to {RANGE_MAX}, not {limit}")));
            }
            Query::NamedFields(_, names) => {
                limit("field names of one query", names.len(), TRANSACTION_ITEMS_MAX)?;
                names.iter().try_for_each(|name| validate_name(name).map(|_| ()))?;
            }
            Query::IndexedCounters { space, .. } if !space.has_item() => {
                return Err(StoreError::Invalid(format!("the space {space} has no items to index")));
            }
            Query::IndexedCounters { index, space } if (index.space == Space::App) != (*space == Space::App) => {
                return Err(StoreError::Invalid(format!(
                    "the counters of the space {} are indexed by a hash of the same space, and no others are",
                    Space::App
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What counts towards the limits of a call. What the host adds for itself does not: it bounds that itself, and a call
/// of a function that is within the limits must stay so.
fn counted(key: &Key, amount: usize) -> usize {
    if key.space == Space::Host { 0 } else { amount }
}

/// Validates an event. Returns its size in bytes.
pub fn validate_event(event: &Event) -> Result<usize, StoreError> {
    let clean =
        event.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if event.name.is_empty() || event.name.len() > EVENT_NAME_BYTES_MAX || !clean {
        return Err(StoreError::Invalid(format!(
            "an event's name is 1 to {EVENT_NAME_BYTES_MAX} bytes of 'a-z', '0-9', '.', '_' and '-'"
        )));
    }
    limit("bytes of an event's payload", event.payload.len(), PAYLOAD_BYTES_MAX)?;
    Ok(event.name.len() + event.payload.len())
}

/// Validates the publications of a call, with the same errors for every adapter.
pub fn validate_publish(publications: &[super::Publication]) -> Result<(), StoreError> {
    limit("publications in a call", publications.len(), CALL_ITEMS_MAX)?;
    let bytes = publications
        .iter()
        .try_fold(0, |sum, publication| Ok::<_, StoreError>(sum + validate_event(&publication.event)?))?;
    limit("bytes in a call", bytes, CALL_BYTES_MAX)
}

fn validate_owner(owner: Owner, key: &Key) -> Result<(), StoreError> {
    key.validate()?;
    if key.owner.partition() == owner.partition() { Ok(()) } else { Err(StoreError::CrossPartition(key.physical())) }
}

/// The items of a transaction belong to one function, so that its bound can be checked.
fn validate_function(transaction: &Transaction) -> Result<(), StoreError> {
    let keys = transaction.mutations.iter().map(Mutation::key).filter(|key| key.space == Space::App);
    let mut functions = keys.map(Key::function_name);
    match functions.next() {
        Some(first) if functions.any(|other| other != first) => {
            Err(StoreError::Invalid("a transaction changes the items of two functions".into()))
        }
        _ => Ok(()),
    }
}

fn validate_check(check: &Check) -> Result<usize, StoreError> {
    match check {
        Check::Absent(_) | Check::Present(_) => Ok(0),
        Check::PresentEither(key, other) if key.space == Space::App || other.has_item() => {
            Err(StoreError::Invalid(format!("one of the keys of the spaces {} and {other} cannot exist", key.space)))
        }
        Check::PresentEither(..) => Ok(0),
        Check::Equals(_, value) => validate_value(value.len()),
        Check::FieldEquals(_, field, value) => {
            Ok(validate_name(field)? + validate_value(value.as_deref().map_or(0, str::len))?)
        }
        Check::FieldBelow(_, name, _) | Check::ScoreEquals(_, name, _) => validate_name(name),
    }
}

fn validate_mutation(mutation: &Mutation) -> Result<usize, StoreError> {
    match mutation {
        Mutation::Set(_, value, ttl) => {
            ttl.map_or(Ok(()), validate_ttl)?;
            validate_value(value.len())
        }
        Mutation::Expire(_, ttl_ms) => validate_ttl(*ttl_ms).map(|()| 0),
        Mutation::Delete(_) | Mutation::Persist(_) | Mutation::Add { .. } => Ok(0),
        Mutation::SetFields(_, fields) => {
            if fields.is_empty() {
                return Err(StoreError::Invalid("`set-fields` needs at least one field".into()));
            }
            limit("fields of one mutation", fields.len(), TRANSACTION_ITEMS_MAX)?;
            fields
                .iter()
                .try_fold(0, |sum, (name, value)| Ok(sum + validate_name(name)? + validate_value(value.len())?))
        }
        Mutation::DeleteFields(_, names) => {
            limit("fields of one mutation", names.len(), TRANSACTION_ITEMS_MAX)?;
            names.iter().try_fold(0, |sum, name| Ok(sum + validate_name(name)?))
        }
        Mutation::AddField(_, name, _) | Mutation::OrderedPut(_, name, _) | Mutation::OrderedRemove(_, name) => {
            validate_name(name)
        }
    }
}

fn validate_ttl(ttl_ms: u64) -> Result<(), StoreError> {
    match ttl_ms {
        0 => Err(StoreError::Invalid("a time to live is at least 1 ms".into())),
        1..=TTL_MS_MAX => Ok(()),
        _ => Err(StoreError::TooLarge(format!("a time to live is at most {TTL_MS_MAX} ms, not {ttl_ms}"))),
    }
}

fn validate_name(name: &str) -> Result<usize, StoreError> {
    if name.is_empty() {
        return Err(StoreError::Invalid(format!("a field name or member is 1 to {NAME_BYTES_MAX} bytes; it is empty")));
    }
    limit("bytes of a field name or member", name.len(), NAME_BYTES_MAX)?;
    Ok(name.len())
}

fn validate_value(length: usize) -> Result<usize, StoreError> {
    limit("bytes of a value", length, VALUE_BYTES_MAX)?;
    Ok(length)
}

fn limit(what: &str, found: usize, allowed: usize) -> Result<(), StoreError> {
    if found > allowed {
        return Err(StoreError::TooLarge(format!("at most {allowed} {what}, not {found}")));
    }
    Ok(())
}

mod addressed;
mod app_usage;
mod published_result;
mod screening;
mod size;
#[cfg(test)]
mod tests;
