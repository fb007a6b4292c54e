//! Translates queries and their answers. A guest asks for the same fields of many keys in one query, and receives all texts
//! joined into one string, because each list and each string that passes the boundary costs time whatever its length.

use std::sync::Arc;

use roost_core::port::{Item, Query, StoreError, Value};

use super::super::bindings::{key_value as wit, types};
use super::KeysOf;

/// How many fields one call may ask for, over all keys.
const FIELDS_MAX: usize = 65_536;
/// The capacity reserved for each text. Most texts are shorter.
const TEXT_CAPACITY: usize = 16;

/// The queries of a call, one for each key, and how the guest grouped them.
pub(crate) struct ReadRequest {
    pub(crate) queries: Vec<Query>,
    groups: Vec<QueryGroup>,
}

/// The queries that one query of the guest became.
enum QueryGroup {
    Single,
    NamedFields { keys: usize, names: usize },
}

impl ReadRequest {
    /// Translates the queries of a guest. It bounds the product of keys and names; the port bounds the rest.
    pub(crate) fn of(asked: Vec<wit::Query>, keys: KeysOf<'_>) -> Result<Self, StoreError> {
        let mut request = Self { queries: Vec::with_capacity(asked.len()), groups: Vec::with_capacity(asked.len()) };
        let mut fields = 0_usize;
        for query in asked {
            match query {
                wit::Query::NamedFields(of) => {
                    // A key without names costs a query, too.
                    fields = fields.saturating_add(of.keys.len().saturating_mul(of.names.len().max(1)));
                    if fields > FIELDS_MAX {
                        return Err(StoreError::TooLarge(format!(
                            "{fields} fields in one call, but at most {FIELDS_MAX} are allowed; read them in several calls"
                        )));
                    }
                    let names: Arc<[String]> = of.names.into();
                    request.groups.push(QueryGroup::NamedFields { keys: of.keys.len(), names: names.len() });
                    let each = |key: wit::Key| Query::NamedFields(keys.key(key), Arc::clone(&names));
                    request.queries.extend(of.keys.into_iter().map(each));
                }
                other => {
                    request.groups.push(QueryGroup::Single);
                    request.queries.extend(single(other, keys));
                }
            }
        }
        Ok(request)
    }

    /// Translates the values into one answer for each query of the guest.
    pub(crate) fn answer(groups: QueryGroups, values: Vec<Value>) -> Vec<wit::Value> {
        let mut values = values.into_iter();
        let answers = groups.0.into_iter().filter_map(|group| match group {
            QueryGroup::Single => values.next().map(wit::Value::from),
            QueryGroup::NamedFields { keys, names } => {
                Some(wit::Value::NamedFields(pack_optional(values.by_ref().take(keys), keys * names)))
            }
        });
        answers.collect()
    }

    /// The queries for the store, and what [`ReadRequest::answer`] needs.
    pub(crate) fn split(self) -> (Vec<Query>, QueryGroups) {
        (self.queries, QueryGroups(self.groups))
    }
}

/// How the guest grouped the queries of a call.
pub(crate) struct QueryGroups(Vec<QueryGroup>);

/// Translates a query for one key; `None` if it is for several keys.
fn single(query: wit::Query, keys: KeysOf<'_>) -> Option<Query> {
    let key = |of| keys.key(of);
    Some(match query {
        wit::Query::Bytes(of) => Query::Bytes(key(of)),
        wit::Query::Counter(of) => Query::Counter(key(of)),
        wit::Query::Fields(of) => Query::Fields(key(of)),
        wit::Query::NamedFields(_) => return None,
        wit::Query::TimeToLive(of) => Query::TimeToLive(key(of)),
        wit::Query::OrderedRange(range) => Query::OrderedRange {
            key: key(range.key),
            minimum: range.minimum,
            maximum: range.maximum,
            limit: range.limit,
        },
        wit::Query::Presence(of) => Query::Presence(key(of)),
        wit::Query::IndexedCounters(of) => Query::IndexedCounters { index: key(of.index), space: of.space.into() },
    })
}

impl From<Item> for wit::Item {
    fn from(item: Item) -> Self {
        match item {
            Item::Uuid(bits) => Self::Uuid(types::Id { high: (bits >> 64) as u64, low: bits as u64 }),
            Item::Text(text) => Self::Text(text),
        }
    }
}

impl From<Value> for wit::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Missing => Self::Missing,
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Counter(number) => Self::Counter(number),
            Value::Fields(fields) => Self::Fields(pack(&fields)),
            fields @ Value::NamedFields(_) => Self::NamedFields(pack_optional(std::iter::once(fields), 0)),
            Value::TimeToLive(left) => Self::TimeToLive(left),
            Value::Ordered(members) => Self::Ordered(members),
            Value::Presence(present) => Self::Presence(present),
            Value::Counters(counters) => {
                Self::Counters(counters.into_iter().map(|(item, number)| (item.into(), number)).collect())
            }
        }
    }
}

fn pack(fields: &[(String, String)]) -> wit::Texts {
    let texts = fields.len() * 2;
    let mut packed =
        wit::Texts { joined: String::with_capacity(texts * TEXT_CAPACITY), ends: Vec::with_capacity(texts) };
    for text in fields.iter().flat_map(|(name, text)| [name, text]) {
        packed.joined.push_str(text);
        packed.ends.push(end(&packed.joined));
    }
    packed
}

fn pack_optional(values: impl Iterator<Item = Value>, texts: usize) -> wit::OptionalTexts {
    let mut packed =
        wit::OptionalTexts { joined: String::with_capacity(texts * TEXT_CAPACITY), ends: Vec::with_capacity(texts) };
    for value in values {
        // A query for fields is answered with nothing else.
        let Value::NamedFields(fields) = value else { continue };
        for text in fields {
            packed.ends.push(text.map(|text| {
                packed.joined.push_str(&text);
                end(&packed.joined)
            }));
        }
    }
    packed
}

/// The length always fits: an answer is smaller than the memory of a guest, which is below 4 GiB.
fn end(joined: &str) -> u32 {
    u32::try_from(joined.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(asked: Vec<wit::Query>) -> Result<ReadRequest, StoreError> {
        ReadRequest::of(asked, KeysOf(&"polls".into()))
    }

    fn fields(keys: usize, names: usize) -> wit::Query {
        let key = wit::Key { space: wit::Space::Online, owner: wit::Owner::Shard(1), item: None };
        wit::Query::NamedFields(wit::NamedFields { keys: vec![key; keys], names: vec!["a".to_owned(); names] })
    }

    fn named(texts: &[Option<&str>]) -> Value {
        Value::NamedFields(texts.iter().map(|text| text.map(str::to_owned)).collect())
    }

    #[test]
    fn fields_of_several_keys_become_one_answer() {
        let key = wit::Key { space: wit::Space::Online, owner: wit::Owner::Shard(1), item: None };
        let request = request(vec![fields(2, 2), wit::Query::Presence(key), fields(0, 1)]).unwrap();
        let (queries, groups) = request.split();
        assert_eq!(queries.len(), 3);
        let values = vec![named(&[Some("ab"), None]), named(&[Some(""), Some("\u{e9}")]), Value::Presence(true)];
        let answers = ReadRequest::answer(groups, values);
        let [wit::Value::NamedFields(packed), wit::Value::Presence(true), wit::Value::NamedFields(none)] = &answers[..]
        else {
            panic!("{} answers of another kind", answers.len())
        };
        assert_eq!((packed.joined.as_str(), &packed.ends[..]), ("ab\u{e9}", &[Some(2), None, Some(2), Some(4)][..]));
        assert!(none.ends.is_empty());
    }

    #[test]
    fn the_product_of_keys_and_names_is_bounded() {
        assert!(request(vec![fields(1_000, 65)]).is_ok());
        for refused in [vec![fields(1_000, 60), fields(1_000, 6)], vec![fields(100_000, 0)]] {
            assert!(matches!(request(refused), Err(StoreError::TooLarge(_))));
        }
    }

    #[test]
    fn every_query_is_about_the_items_of_the_function_that_calls() {
        let key = || wit::Key { space: wit::Space::App, owner: wit::Owner::Shard(1), item: Some("a".to_owned()) };
        let asked = vec![
            wit::Query::Bytes(key()),
            wit::Query::Counter(key()),
            wit::Query::Fields(key()),
            wit::Query::NamedFields(wit::NamedFields { keys: vec![key(), key()], names: vec!["a".to_owned()] }),
            wit::Query::TimeToLive(key()),
            wit::Query::OrderedRange(wit::OrderedRange { key: key(), minimum: 0, maximum: 1, limit: 1 }),
            wit::Query::Presence(key()),
            wit::Query::IndexedCounters(wit::IndexedCounters { index: key(), space: wit::Space::App }),
        ];
        let queries = request(asked).unwrap().queries;
        assert_eq!(queries.len(), 9);
        assert!(queries.iter().all(|query| query.key().function.as_deref() == Some("polls")), "{queries:?}");
    }
}
