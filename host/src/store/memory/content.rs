//! What one key holds in the memory store, and when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use roost_core::port::parse_number;

/// A deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// One key's content. A counter is text to those who ask for bytes.
#[derive(Debug)]
pub(super) enum Data {
    Number(i64),
    Bytes(Box<[u8]>),
    Hash(Hash),
    Ordered(Ordered),
}

/// Fields by name.
#[derive(Debug, Default)]
pub(super) struct Hash {
    fields: BTreeMap<Box<str>, Box<str>>,
    bytes: usize,
}

/// Members by score, and scores by member.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    scores: HashMap<Arc<str>, i64>,
    order: BTreeSet<(i64, Arc<str>)>,
}

/// Content with its end.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Data,
    /// Unix milliseconds: the first moment at which the key is gone.
    pub(super) deadline: u64,
    /// The moment that the key's note among the due ones bears; [`NEVER`]: there is none.
    pub(super) noted: u64,
}

/// The key holds another type, or no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType(pub(super) &'static str);

impl Data {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, WrongType> {
        match self {
            Self::Number(number) => Ok(number.to_string().into_bytes()),
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("holds no bytes")),
        }
    }

    pub(super) fn equals(&self, value: &[u8]) -> Result<bool, WrongType> {
        match self {
            Self::Number(number) => Ok(parse_number(value) == Some(*number)),
            Self::Bytes(bytes) => Ok(**bytes == *value),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("holds no bytes")),
        }
    }

    pub(super) fn number(&self) -> Result<i64, WrongType> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Bytes(bytes) => parse_number(bytes).ok_or(WrongType("holds no number")),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("holds no number")),
        }
    }

    pub(super) fn hash(&self) -> Result<&Hash, WrongType> {
        match self {
            Self::Hash(hash) => Ok(hash),
            _ => Err(WrongType("holds no hash")),
        }
    }

    pub(super) fn hash_mut(&mut self) -> Result<&mut Hash, WrongType> {
        match self {
            Self::Hash(hash) => Ok(hash),
            _ => Err(WrongType("holds no hash")),
        }
    }

    pub(super) fn ordered(&self) -> Result<&Ordered, WrongType> {
        match self {
            Self::Ordered(ordered) => Ok(ordered),
            _ => Err(WrongType("holds no ordered set")),
        }
    }

    pub(super) fn ordered_mut(&mut self) -> Result<&mut Ordered, WrongType> {
        match self {
            Self::Ordered(ordered) => Ok(ordered),
            _ => Err(WrongType("holds no ordered set")),
        }
    }

    /// Bytes beside the entry itself, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Hash(hash) => hash.bytes,
            Self::Ordered(ordered) => ordered.scores.len() * Ordered::MEMBER_BYTES,
        }
    }
}

impl Hash {
    const FIELD_BYTES: usize = size_of::<(Box<str>, Box<str>)>();

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| &**value)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, WrongType> {
        let parse = |text: &str| parse_number(text.as_bytes()).ok_or(WrongType("holds a field that is no number"));
        self.get(name).map(parse).transpose()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(|name| &**name)
    }

    pub(super) fn to_vec(&self) -> Vec<(String, String)> {
        self.fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// Sets or removes a field; answers what it held.
    pub(super) fn put(&mut self, name: &str, value: Option<Box<str>>) -> Option<Box<str>> {
        let added = value.as_ref().map_or(0, |value| Self::FIELD_BYTES + name.len() + value.len());
        let before = match (value, self.fields.get_mut(name)) {
            (Some(value), Some(present)) => Some(std::mem::replace(present, value)),
            (Some(value), None) => self.fields.insert(name.into(), value),
            (None, _) => self.fields.remove(name),
        };
        let removed = before.as_ref().map_or(0, |value| Self::FIELD_BYTES + name.len() + value.len());
        self.bytes = self.bytes + added - removed;
        before
    }
}

impl Ordered {
    /// Two places, and a name that usually is a UUID.
    const MEMBER_BYTES: usize = 2 * size_of::<(Arc<str>, i64)>() + 36;

    pub(super) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(super) fn score(&self, member: &str) -> Option<i64> {
        self.scores.get(member).copied()
    }

    pub(super) fn range(&self, minimum: i64, maximum: i64, limit: usize) -> Vec<(String, i64)> {
        let from = (minimum, Arc::from(""));
        let members = self.order.range(from..).take_while(|(score, _)| *score <= maximum).take(limit);
        members.map(|(score, member)| (member.to_string(), *score)).collect()
    }

    /// Puts or removes a member; answers its score before.
    pub(super) fn put(&mut self, member: &str, score: Option<i64>) -> Option<i64> {
        let found = self.scores.get_key_value(member).map(|(name, before)| (*before, Arc::clone(name)));
        let place = found.and_then(|place| self.order.take(&place));
        let before = place.as_ref().map(|(before, _)| *before);
        match (score, place) {
            (Some(score), Some((_, name))) => {
                self.order.insert((score, name));
                self.scores.get_mut(member).into_iter().for_each(|present| *present = score);
            }
            (Some(score), None) => {
                let name: Arc<str> = member.into();
                self.order.insert((score, Arc::clone(&name)));
                self.scores.insert(name, score);
            }
            (None, _) => drop(self.scores.remove(member)),
        }
        before
    }
}

impl Entry {
    pub(super) const fn new(data: Data, deadline: u64) -> Self {
        Self { data, deadline, noted: NEVER }
    }

    pub(super) const fn is_live(&self, now: u64) -> bool {
        now < self.deadline
    }
}
