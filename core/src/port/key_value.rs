//! The live state: strings, counters, hashes and ordered sets, partitioned by owner.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use super::Item;
use crate::key::{Key, KeyError, Owner};
use crate::limits::{
    CALL_BYTES_MAX, CALL_ITEMS_MAX, EVENT_NAME_BYTES_MAX, LIFE_MS_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RANGE_MAX,
    TRANSACTION_ITEMS_MAX, VALUE_BYTES_MAX,
};

/// A field's name or value, or a member: most that the rules write are known to the program, and need no memory.
pub type Text = Cow<'static, str>;

/// A question about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Answer: [`Value::Bytes`], or [`Value::Missing`].
    Bytes(Key),
    /// Answer: [`Value::Counter`], or [`Value::Missing`]; a missing counter is not zero.
    Counter(Key),
    /// Answer: [`Value::Fields`] by name, or [`Value::Missing`].
    Fields(Key),
    /// Answer: [`Value::NamedFields`] in the order asked, all `None` when the key is missing.
    /// Names are shared, because many keys are asked for the same ones.
    NamedFields(Key, Arc<[String]>),
    /// Answer: [`Value::TimeToLive`], or [`Value::Missing`].
    TimeToLive(Key),
    /// Members with `minimum <= score <= maximum`, lowest score first, then by member.
    /// Answer: [`Value::Ordered`].
    OrderedRange {
        /// The ordered set.
        key: Key,
        /// Lowest score, inclusive.
        minimum: i64,
        /// Highest score, inclusive.
        maximum: i64,
        /// 1 to [`RANGE_MAX`].
        limit: u32,
    },
    /// Answer: [`Value::Presence`].
    Presence(Key),
    /// Every counter of `space` and the hash's owner whose item is a field name of the hash `index`.
    /// Answer: [`Value::Counters`] in the order of [`Item`], without those that are missing.
    IndexedCounters {
        /// The hash whose field names are the items.
        index: Key,
        /// The counters' space.
        space: crate::key::Space,
    },
}

impl Query {
    /// The key asked about.
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
    /// The bytes.
    Bytes(Vec<u8>),
    /// The number.
    Counter(i64),
    /// All fields, by name.
    Fields(Vec<(String, String)>),
    /// The fields asked for.
    NamedFields(Vec<Option<String>>),
    /// Milliseconds left; `None`: the key does not expire.
    TimeToLive(Option<u64>),
    /// Members and scores.
    Ordered(Vec<(String, i64)>),
    /// Whether the key exists.
    Presence(bool),
    /// Items and numbers.
    Counters(Vec<(Item, i64)>),
}

/// What must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key does not exist.
    Absent(Key),
    /// The key exists.
    Present(Key),
    /// The key holds exactly these bytes; a counter compares as its decimal text.
    Equals(Key, Vec<u8>),
    /// The field holds this text; `None`: the field or the whole key is missing.
    FieldEquals(Key, Text, Option<Text>),
    /// The field is missing, or a number below the limit.
    FieldBelow(Key, Text, i64),
    /// The member has this score; `None`: it is not in the set.
    ScoreEquals(Key, Text, Option<i64>),
}

impl Check {
    /// The key checked.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Absent(key)
            | Self::Present(key)
            | Self::Equals(key, _)
            | Self::FieldEquals(key, _, _)
            | Self::FieldBelow(key, _, _)
            | Self::ScoreEquals(key, _, _) => key,
        }
    }
}

/// One step of a transaction. Steps happen in order; a later one sees what an earlier one did.
/// A hash or ordered set that loses its last element is gone. Only `Set` touches a key's expiry unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Replaces the key, whatever its type; the expiry is in milliseconds from now.
    Set(Key, Vec<u8>, Option<u64>),
    /// Removes the key.
    Delete(Key),
    /// Adds to a counter (a missing one counts from zero). Result: the new value.
    Add {
        /// The counter.
        key: Key,
        /// Added; may be negative.
        delta: i64,
        /// The result is raised to this if it falls below.
        floor: Option<i64>,
    },
    /// Sets fields of a hash.
    SetFields(Key, Vec<(Text, Text)>),
    /// Removes fields of a hash.
    DeleteFields(Key, Vec<Text>),
    /// Adds to a field of a hash. Result: the new value.
    AddField(Key, Text, i64),
    /// Lets an existing key expire in so many milliseconds.
    Expire(Key, u64),
    /// Takes a key's expiry away.
    Persist(Key),
    /// Puts a member at a score.
    OrderedPut(Key, Text, i64),
    /// Removes a member.
    OrderedRemove(Key, Text),
}

impl Mutation {
    /// The key changed.
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

/// Something a user's devices are told. Cheap to clone: a message goes to every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The frame's `type`.
    pub name: Arc<str>,
    /// A JSON value as text.
    pub payload: Arc<str>,
    /// Takes the next offset of the user's feed and can be replayed.
    pub durable: bool,
}

/// All checks hold and everything happens, or nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The one partition that every key belongs to.
    pub owner: Owner,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What happens.
    pub mutations: Vec<Mutation>,
    /// What the owner, who must be a user, is told in the same step.
    pub publications: Vec<Event>,
}

impl Transaction {
    /// Nothing yet, in this partition.
    pub const fn new(owner: Owner) -> Self {
        Self { owner, checks: Vec::new(), mutations: Vec::new(), publications: Vec::new() }
    }

    /// With a further check.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// With a further mutation.
    #[must_use]
    pub fn mutate(mut self, mutation: Mutation) -> Self {
        self.mutations.push(mutation);
        self
    }

    /// With a further publication.
    #[must_use]
    pub fn publish(mut self, event: Event) -> Self {
        self.publications.push(event);
        self
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything happened. The results of `Add` and `AddField`, in order.
    Committed(Vec<i64>),
    /// The check at this index did not hold; nothing happened.
    Refused(u32),
    /// Nothing happened; except that after `Unavailable` it may have.
    Failed(StoreError),
}

/// Why the store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No grant.
    #[error("not granted: {0}")]
    Denied(String),
    /// The key holds another type.
    #[error("wrong type: {0}")]
    WrongType(String),
    /// A key of another owner.
    #[error("another owner's key in a transaction: {0}")]
    CrossPartition(String),
    /// A bound was passed.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The call makes no sense.
    #[error("invalid: {0}")]
    Invalid(String),
    /// No answer; whether a write happened is open.
    #[error("the store is unavailable, retry after {retry_after_ms} ms")]
    Unavailable {
        /// Until trying again makes sense.
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
/// - `read` answers in the order asked, in one round trip. What is asked of one owner is answered from one
///   moment. An expired key is never readable. One bad query fails the call.
/// - `commit` answers in the order given, in one round trip. Each transaction is atomic on its own: all checks
///   hold and all mutations and publications happen, or nothing does. Transactions of one call are carried out
///   in any order and do not depend on each other. What [`validate_commit`] refuses fails the whole call before
///   anything happens; a wrong type or an unreachable partition is the outcome of its transaction alone.
pub trait KeyValue: Send + Sync {
    /// Answers every query.
    fn read(&self, queries: Vec<Query>) -> impl Future<Output = Result<Vec<Value>, StoreError>> + Send;

    /// Tries every transaction.
    fn commit(&self, transactions: Vec<Transaction>) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;
}

/// Refuses what no adapter may answer, in the same words for all of them.
pub fn validate_read(queries: &[Query]) -> Result<(), StoreError> {
    bound("queries a call", queries.len(), CALL_ITEMS_MAX)?;
    for query in queries {
        query.key().validate()?;
        match query {
            Query::OrderedRange { limit, .. } if *limit == 0 || *limit > RANGE_MAX => {
                return Err(StoreError::Invalid(format!("a range's limit is 1 to {RANGE_MAX}, not {limit}")));
            }
            Query::NamedFields(_, names) => {
                bound("field names of one query", names.len(), TRANSACTION_ITEMS_MAX)?;
                names.iter().try_for_each(|name| validate_name(name).map(|_| ()))?;
            }
            Query::IndexedCounters { space, .. } if !space.has_item() => {
                return Err(StoreError::Invalid(format!("the space {space} has no items to index")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what no adapter may carry out, in the same words for all of them.
pub fn validate_commit(transactions: &[Transaction]) -> Result<(), StoreError> {
    bound("transactions a call", transactions.len(), CALL_ITEMS_MAX)?;
    let mut bytes = 0_usize;
    for transaction in transactions {
        let items = transaction.checks.len() + transaction.mutations.len() + transaction.publications.len();
        bound("checks, mutations and publications of a transaction", items, TRANSACTION_ITEMS_MAX)?;
        for check in &transaction.checks {
            validate_owner(transaction.owner, check.key())?;
            bytes += validate_check(check)?;
        }
        for mutation in &transaction.mutations {
            validate_owner(transaction.owner, mutation.key())?;
            bytes += validate_mutation(mutation)?;
        }
        if !transaction.publications.is_empty() && !matches!(transaction.owner, Owner::User(_)) {
            return Err(StoreError::Invalid("only a user's transaction can publish".into()));
        }
        for event in &transaction.publications {
            bytes += validate_event(event)?;
        }
    }
    bound("bytes of a call", bytes, CALL_BYTES_MAX)
}

/// Checks an event's bounds; answers its size in bytes.
pub fn validate_event(event: &Event) -> Result<usize, StoreError> {
    let clean =
        event.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if event.name.is_empty() || event.name.len() > EVENT_NAME_BYTES_MAX || !clean {
        return Err(StoreError::Invalid(format!(
            "an event's name is 1 to {EVENT_NAME_BYTES_MAX} bytes of 'a-z', '0-9', '.', '_' and '-'"
        )));
    }
    bound("bytes of an event's payload", event.payload.len(), PAYLOAD_BYTES_MAX)?;
    Ok(event.name.len() + event.payload.len())
}

/// Refuses what no adapter may publish, in the same words for all of them.
pub fn validate_publish(publications: &[super::Publication]) -> Result<(), StoreError> {
    bound("publications a call", publications.len(), CALL_ITEMS_MAX)?;
    let bytes = publications
        .iter()
        .try_fold(0, |sum, publication| Ok::<_, StoreError>(sum + validate_event(&publication.event)?))?;
    bound("bytes of a call", bytes, CALL_BYTES_MAX)
}

fn validate_owner(owner: Owner, key: &Key) -> Result<(), StoreError> {
    key.validate()?;
    if key.owner == owner { Ok(()) } else { Err(StoreError::CrossPartition(key.physical())) }
}

fn validate_check(check: &Check) -> Result<usize, StoreError> {
    match check {
        Check::Absent(_) | Check::Present(_) => Ok(0),
        Check::Equals(_, value) => validate_value(value.len()),
        Check::FieldEquals(_, field, value) => {
            Ok(validate_name(field)? + validate_value(value.as_deref().map_or(0, str::len))?)
        }
        Check::FieldBelow(_, name, _) | Check::ScoreEquals(_, name, _) => validate_name(name),
    }
}

fn validate_mutation(mutation: &Mutation) -> Result<usize, StoreError> {
    match mutation {
        Mutation::Set(_, value, life) => {
            life.map_or(Ok(()), validate_life)?;
            validate_value(value.len())
        }
        Mutation::Expire(_, life) => validate_life(*life).map(|()| 0),
        Mutation::Delete(_) | Mutation::Persist(_) | Mutation::Add { .. } => Ok(0),
        Mutation::SetFields(_, fields) => {
            if fields.is_empty() {
                return Err(StoreError::Invalid("set-fields without a field".into()));
            }
            bound("fields of one mutation", fields.len(), TRANSACTION_ITEMS_MAX)?;
            fields
                .iter()
                .try_fold(0, |sum, (name, value)| Ok(sum + validate_name(name)? + validate_value(value.len())?))
        }
        Mutation::DeleteFields(_, names) => {
            bound("fields of one mutation", names.len(), TRANSACTION_ITEMS_MAX)?;
            names.iter().try_fold(0, |sum, name| Ok(sum + validate_name(name)?))
        }
        Mutation::AddField(_, name, _) | Mutation::OrderedPut(_, name, _) | Mutation::OrderedRemove(_, name) => {
            validate_name(name)
        }
    }
}

fn validate_life(life_ms: u64) -> Result<(), StoreError> {
    match life_ms {
        0 => Err(StoreError::Invalid("a time to live is at least 1 ms".into())),
        1..=LIFE_MS_MAX => Ok(()),
        _ => Err(StoreError::TooLarge(format!("a time to live of {life_ms} ms, allowed are {LIFE_MS_MAX}"))),
    }
}

fn validate_name(name: &str) -> Result<usize, StoreError> {
    if name.is_empty() {
        return Err(StoreError::Invalid("an empty field name or member".into()));
    }
    bound("bytes of a field name or member", name.len(), NAME_BYTES_MAX)?;
    Ok(name.len())
}

fn validate_value(length: usize) -> Result<usize, StoreError> {
    bound("bytes of a value", length, VALUE_BYTES_MAX)?;
    Ok(length)
}

fn bound(what: &str, found: usize, allowed: usize) -> Result<(), StoreError> {
    if found > allowed {
        return Err(StoreError::TooLarge(format!("{found} {what}, allowed are {allowed}")));
    }
    Ok(())
}
