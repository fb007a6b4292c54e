//! The content of a key in the memory store, its deadline, and how many bytes it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use roost_core::port::{SCORE_BYTES, parse_number};

/// The deadline of a key that does not expire.
pub(super) const NEVER: u64 = u64::MAX;

/// The content of a key. A number that is read as bytes is its decimal text.
#[derive(Debug)]
pub(super) enum KeyContent {
    Number(i64),
    Bytes(Box<[u8]>),
    Hash(HashFields),
    Ordered(OrderedMembers),
}

/// The fields of a hash, by name.
#[derive(Debug, Default)]
pub(super) struct HashFields {
    fields: BTreeMap<Box<str>, Box<str>>,
    bytes: usize,
}

/// The members of an ordered set, in the order of their scores, and the score of each.
#[derive(Debug, Default)]
pub(super) struct OrderedMembers {
    /// The bytes of all members' names.
    member_bytes: usize,
    scores: HashMap<Arc<str>, i64>,
    order: BTreeSet<(i64, Arc<str>)>,
}

/// A key's content with its deadline.
#[derive(Debug)]
pub(super) struct KeyEntry {
    pub(super) content: KeyContent,
    /// The first millisecond of Unix time at which the key is expired.
    pub(super) deadline: u64,
    /// The time of the key's valid entry in the expiry queue; [`NEVER`] if it has none.
    pub(super) queued_for: u64,
}

/// The problem of a key whose content is of another type, as the caller reads it after the key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType(pub(super) &'static str);

impl KeyContent {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, WrongType> {
        match self {
            Self::Number(number) => Ok(number.to_string().into_bytes()),
            Self::Bytes(bytes) => Ok(bytes.to_vec()),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("does not hold bytes")),
        }
    }

    pub(super) fn equals(&self, value: &[u8]) -> Result<bool, WrongType> {
        match self {
            Self::Number(number) => Ok(parse_number(value) == Some(*number)),
            Self::Bytes(bytes) => Ok(**bytes == *value),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("does not hold bytes")),
        }
    }

    pub(super) fn number(&self) -> Result<i64, WrongType> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Bytes(bytes) => parse_number(bytes).ok_or(WrongType("does not hold a number")),
            Self::Hash(_) | Self::Ordered(_) => Err(WrongType("does not hold a number")),
        }
    }

    pub(super) fn hash(&self) -> Result<&HashFields, WrongType> {
        match self {
            Self::Hash(hash) => Ok(hash),
            _ => Err(WrongType("does not hold a hash")),
        }
    }

    pub(super) fn hash_mut(&mut self) -> Result<&mut HashFields, WrongType> {
        match self {
            Self::Hash(hash) => Ok(hash),
            _ => Err(WrongType("does not hold a hash")),
        }
    }

    pub(super) fn ordered(&self) -> Result<&OrderedMembers, WrongType> {
        match self {
            Self::Ordered(ordered) => Ok(ordered),
            _ => Err(WrongType("does not hold an ordered set")),
        }
    }

    pub(super) fn ordered_mut(&mut self) -> Result<&mut OrderedMembers, WrongType> {
        match self {
            Self::Ordered(ordered) => Ok(ordered),
            _ => Err(WrongType("does not hold an ordered set")),
        }
    }

    /// The bytes of the content, as they count towards the bound of a function. Takes constant time.
    pub(super) fn content_bytes(&self) -> u64 {
        match self {
            Self::Number(number) => decimal_length(*number),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Hash(hash) => (hash.bytes - hash.fields.len() * HashFields::FIELD_BYTES) as u64,
            Self::Ordered(ordered) => ordered.member_bytes as u64 + ordered.scores.len() as u64 * SCORE_BYTES,
        }
    }

    /// An estimate of the bytes that the content takes beside its [`KeyEntry`]. Takes constant time.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Hash(hash) => hash.bytes,
            Self::Ordered(ordered) => ordered.scores.len() * OrderedMembers::MEMBER_BYTES,
        }
    }
}

impl HashFields {
    const FIELD_BYTES: usize = size_of::<(Box<str>, Box<str>)>();

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| &**value)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, WrongType> {
        let parse = |text: &str| parse_number(text.as_bytes()).ok_or(WrongType("holds a field that is not a number"));
        self.get(name).map(parse).transpose()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(|name| &**name)
    }

    pub(super) fn to_vec(&self) -> Vec<(String, String)> {
        self.fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// Sets or removes a field; returns its former value.
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

impl OrderedMembers {
    /// A member stands in both collections; its name usually is a UUID.
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

    /// Sets the score of a member, or removes it; returns its former score.
    pub(super) fn put(&mut self, member: &str, score: Option<i64>) -> Option<i64> {
        let present = self.scores.get_key_value(member).map(|(name, score)| (*score, Arc::clone(name)));
        let removed = present.and_then(|pair| self.order.take(&pair));
        let before = removed.as_ref().map(|(score, _)| *score);
        match (score, removed) {
            (Some(score), Some((_, name))) => {
                self.order.insert((score, name));
                self.scores.get_mut(member).into_iter().for_each(|present| *present = score);
            }
            (Some(score), None) => {
                let name: Arc<str> = member.into();
                self.order.insert((score, Arc::clone(&name)));
                self.scores.insert(name, score);
                self.member_bytes += member.len();
            }
            (None, None) => {}
            (None, Some(_)) => {
                self.scores.remove(member);
                self.member_bytes -= member.len();
            }
        }
        before
    }
}

/// The number of characters of a number as decimal text.
fn decimal_length(number: i64) -> u64 {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
    u64::from(digits) + u64::from(number < 0)
}

impl KeyEntry {
    pub(super) const fn new(content: KeyContent, deadline: u64) -> Self {
        Self { content, deadline, queued_for: NEVER }
    }

    pub(super) const fn is_live(&self, now: u64) -> bool {
        now < self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_as_its_decimal_text() {
        for number in [0, 9, 10, -1, -10, 1_000_000, i64::MAX, i64::MIN] {
            assert_eq!(decimal_length(number), number.to_string().len() as u64, "{number}");
        }
    }
}
