//! Queries and what they are answered. Neighbours that ask for the same fields of several keys go out as one.

use std::sync::Arc;

use roost_core::port::{Item, Query, StoreError, Value};

use crate::bindings::roost::edge::key_value as wire;

/// Reads, in one call.
pub(super) fn read(queries: &[Query]) -> Result<Vec<Value>, StoreError> {
    let parts: Vec<Part<'_>> = queries.chunk_by(asks_the_same).map(Part::of).collect();
    let lent: Vec<wire::Query<'_>> = parts.iter().map(Part::lend).collect();
    let answers = wire::read(&lent).map_err(StoreError::from)?;
    let mut values = Vec::with_capacity(queries.len());
    for (part, answer) in parts.iter().zip(answers) {
        match (part, answer) {
            (Part::Fields { keys, names }, wire::Value::NamedFields(packed)) => {
                unpack_fields(keys.len(), names.len(), packed, &mut values);
            }
            (_, answer) => values.push(answer.into()),
        }
    }
    Ok(values)
}

/// What one query of the contract asks.
enum Part<'a> {
    One(&'a Query),
    Fields { keys: Vec<wire::Key<'a>>, names: Vec<&'a str> },
}

fn asks_the_same(one: &Query, next: &Query) -> bool {
    match (one, next) {
        (Query::NamedFields(_, names), Query::NamedFields(_, others)) => Arc::ptr_eq(names, others),
        _ => false,
    }
}

impl<'a> Part<'a> {
    /// Of neighbours that ask the same.
    fn of(queries: &'a [Query]) -> Self {
        let mut names: Option<&Arc<[String]>> = None;
        let mut keys = Vec::with_capacity(queries.len());
        for query in queries {
            match query {
                Query::NamedFields(key, asked) => {
                    names = Some(asked);
                    keys.push(wire::Key::from(key));
                }
                one => return Self::One(one),
            }
        }
        let names = names.into_iter().flat_map(|names| names.iter()).map(String::as_str);
        Self::Fields { keys, names: names.collect() }
    }

    fn lend(&self) -> wire::Query<'_> {
        match self {
            Self::Fields { keys, names } => wire::Query::NamedFields(wire::NamedFields { keys, names }),
            Self::One(query) => lend(query),
        }
    }
}

fn lend(query: &Query) -> wire::Query<'_> {
    match query {
        Query::Bytes(key) => wire::Query::Bytes(key.into()),
        Query::Counter(key) => wire::Query::Counter(key.into()),
        Query::Fields(key) => wire::Query::Fields(key.into()),
        // A part of its own: see `Part::of`.
        Query::NamedFields(..) => wire::Query::NamedFields(wire::NamedFields { keys: &[], names: &[] }),
        Query::TimeToLive(key) => wire::Query::TimeToLive(key.into()),
        Query::OrderedRange { key, minimum, maximum, limit } => wire::Query::OrderedRange(wire::OrderedRange {
            key: key.into(),
            minimum: *minimum,
            maximum: *maximum,
            limit: *limit,
        }),
        Query::Presence(key) => wire::Query::Presence(key.into()),
        Query::IndexedCounters { index, space } => {
            wire::Query::IndexedCounters(wire::IndexedCounters { index: index.into(), space: (*space).into() })
        }
    }
}

fn unpack_fields(keys: usize, names: usize, packed: wire::OptionalTexts, values: &mut Vec<Value>) {
    let mut texts = Unpacking::of(&packed.joined);
    let mut ends = packed.ends.into_iter();
    for _ in 0..keys {
        let fields = ends.by_ref().take(names).map(|end| Some(texts.up_to(end?)));
        values.push(Value::NamedFields(fields.collect()));
    }
}

/// Texts that stand one behind the other.
struct Unpacking<'a> {
    joined: &'a str,
    at: usize,
}

impl<'a> Unpacking<'a> {
    const fn of(joined: &'a str) -> Self {
        Self { joined, at: 0 }
    }

    /// The next text; the host's ends lie between characters, in ascending order.
    fn up_to(&mut self, end: u32) -> String {
        let end = end as usize;
        let text = self.joined.get(self.at..end).unwrap_or_default().to_owned();
        self.at = end;
        text
    }
}

impl From<wire::Item> for Item {
    fn from(item: wire::Item) -> Self {
        match item {
            wire::Item::Uuid(id) => Self::Uuid(u128::from(id.high) << 64 | u128::from(id.low)),
            wire::Item::Text(text) => Self::Text(text),
        }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        match value {
            wire::Value::Missing => Self::Missing,
            wire::Value::Bytes(bytes) => Self::Bytes(bytes),
            wire::Value::Counter(number) => Self::Counter(number),
            wire::Value::Fields(packed) => {
                let mut texts = Unpacking::of(&packed.joined);
                let pairs = packed.ends.chunks_exact(2);
                Self::Fields(
                    pairs.filter_map(|ends| Some((texts.up_to(*ends.first()?), texts.up_to(*ends.last()?)))).collect(),
                )
            }
            wire::Value::NamedFields(packed) => {
                let mut texts = Unpacking::of(&packed.joined);
                Self::NamedFields(packed.ends.into_iter().map(|end| Some(texts.up_to(end?))).collect())
            }
            wire::Value::TimeToLive(left_ms) => Self::TimeToLive(left_ms),
            wire::Value::Ordered(members) => Self::Ordered(members),
            wire::Value::Presence(present) => Self::Presence(present),
            wire::Value::Counters(counters) => {
                Self::Counters(counters.into_iter().map(|(item, number)| (item.into(), number)).collect())
            }
        }
    }
}
