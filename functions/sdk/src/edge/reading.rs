//! Queries and their values. Consecutive queries for the same fields of several keys are sent as one query.

use std::sync::Arc;

use roost_core::port::{Item, Query, StoreError, Value};

use crate::bindings::roost::edge::key_value as wire;

/// Answers the queries, in order, with one call of the host.
pub(super) fn read(queries: &[Query]) -> Result<Vec<Value>, StoreError> {
    let wire_queries: Vec<WireQuery<'_>> = queries.chunk_by(ask_for_the_same_fields).map(WireQuery::of).collect();
    let borrowed: Vec<wire::Query<'_>> = wire_queries.iter().map(WireQuery::borrow).collect();
    let answers = wire::read(&borrowed).map_err(StoreError::from)?;
    let mut values = Vec::with_capacity(queries.len());
    for (query, answer) in wire_queries.iter().zip(answers) {
        match (query, answer) {
            (WireQuery::Fields { keys, names }, wire::Value::NamedFields(packed)) => {
                unpack_fields(keys.len(), names.len(), packed, &mut values);
            }
            (_, answer) => values.push(answer.into()),
        }
    }
    Ok(values)
}

/// One query of the contract, made from one or more of the core's.
enum WireQuery<'a> {
    One(&'a Query),
    Fields { keys: Vec<wire::Key<'a>>, names: Vec<&'a str> },
}

fn ask_for_the_same_fields(one: &Query, next: &Query) -> bool {
    match (one, next) {
        (Query::NamedFields(_, names), Query::NamedFields(_, others)) => Arc::ptr_eq(names, others),
        _ => false,
    }
}

impl<'a> WireQuery<'a> {
    /// Merges consecutive queries that ask for the same fields.
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

    fn borrow(&self) -> wire::Query<'_> {
        match self {
            Self::Fields { keys, names } => wire::Query::NamedFields(wire::NamedFields { keys, names }),
            Self::One(query) => borrow(query),
        }
    }
}

fn borrow(query: &Query) -> wire::Query<'_> {
    match query {
        Query::Bytes(key) => wire::Query::Bytes(key.into()),
        Query::Counter(key) => wire::Query::Counter(key.into()),
        Query::Fields(key) => wire::Query::Fields(key.into()),
        // Never reached: `WireQuery::of` makes `Fields` of these.
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
    let mut texts = TextSplitter::new(&packed.joined);
    let mut ends = packed.ends.into_iter();
    for _ in 0..keys {
        let fields = ends.by_ref().take(names).map(|end| Some(texts.next_ending_at(end?)));
        values.push(Value::NamedFields(fields.collect()));
    }
}

/// Splits a string into the texts that it joins.
struct TextSplitter<'a> {
    joined: &'a str,
    start: usize,
}

impl<'a> TextSplitter<'a> {
    const fn new(joined: &'a str) -> Self {
        Self { joined, start: 0 }
    }

    /// The text that ends here. The host sends ends in ascending order, each between two characters.
    fn next_ending_at(&mut self, end: u32) -> String {
        let end = end as usize;
        let text = self.joined.get(self.start..end).unwrap_or_default().to_owned();
        self.start = end;
        text
    }
}

impl From<wire::Item> for Item {
    fn from(item: wire::Item) -> Self {
        match item {
            wire::Item::Uuid(id) => Self::Uuid(super::bits_of(id)),
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
                let mut texts = TextSplitter::new(&packed.joined);
                let pairs = packed.ends.chunks_exact(2);
                Self::Fields(
                    pairs
                        .filter_map(|ends| {
                            Some((texts.next_ending_at(*ends.first()?), texts.next_ending_at(*ends.last()?)))
                        })
                        .collect(),
                )
            }
            wire::Value::NamedFields(packed) => {
                let mut texts = TextSplitter::new(&packed.joined);
                Self::NamedFields(packed.ends.into_iter().map(|end| Some(texts.next_ending_at(end?))).collect())
            }
            wire::Value::TimeToLive(left_ms) => Self::TimeToLive(left_ms),
            wire::Value::Ordered(members) => Self::Ordered(members),
            wire::Value::Presence(present) => Self::Presence(present),
            wire::Value::Counters(counters) => {
                Self::Counters(counters.into_iter().map(|(item, number)| (item.into(), number)).collect())
            }
            // This sdk asks for no plain form; the host answers each query in the form that was asked for.
            wire::Value::PlainFields(fields) => Self::Fields(fields),
            wire::Value::PlainNamedFields(keys) => Self::NamedFields(keys.into_iter().flatten().collect()),
            wire::Value::PlainCounters(counters) => {
                Self::Counters(counters.into_iter().map(|(item, number)| (item.into(), number)).collect())
            }
        }
    }
}
