//! Translates queries and their answers. A guest asks for the same fields of many keys in one query, and receives all
//! texts joined into one string, because each list and each string that passes the boundary costs time whatever its
//! length. A query in the plain form becomes the same queries for the store, and only its answer differs: lists of
//! texts.

use std::sync::Arc;

use roost_core::port::{Item, Query, StoreError, Value};

use super::super::bindings::key_value as wit;
use super::{KeysOf, id_of};

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
    /// One query whose answer takes the plain form.
    Plain,
    NamedFields {
        keys: usize,
        names: usize,
    },
    /// As `NamedFields`, with an answer in the plain form.
    PlainNamedFields {
        keys: usize,
    },
}

impl ReadRequest {
    /// Translates the queries of a guest. It bounds the product of keys and names; the port bounds the rest.
    pub(crate) fn of(asked: Vec<wit::Query>, keys: KeysOf<'_>) -> Result<Self, StoreError> {
        let mut request = Self { queries: Vec::with_capacity(asked.len()), groups: Vec::with_capacity(asked.len()) };
        let mut fields = 0_usize;
        for query in asked {
            match query {
                wit::Query::NamedFields(of) => {
                    let (keys_of, names) = (of.keys.len(), of.names.len());
                    request.add_named_fields(of, keys, &mut fields)?;
                    request.groups.push(QueryGroup::NamedFields { keys: keys_of, names });
                }
                wit::Query::PlainNamedFields(of) => {
                    request.groups.push(QueryGroup::PlainNamedFields { keys: of.keys.len() });
                    request.add_named_fields(of, keys, &mut fields)?;
                }
                other => {
                    let is_plain = matches!(other, wit::Query::PlainFields(_) | wit::Query::PlainIndexedCounters(_));
                    request.groups.push(if is_plain { QueryGroup::Plain } else { QueryGroup::Single });
                    request.queries.extend(single(other, keys));
                }
            }
        }
        Ok(request)
    }

    /// Adds a query for each key; `fields` counts those of the whole call.
    fn add_named_fields(
        &mut self,
        of: wit::NamedFields,
        keys: KeysOf<'_>,
        fields: &mut usize,
    ) -> Result<(), StoreError> {
        // A key without names costs a query, too.
        *fields = fields.saturating_add(of.keys.len().saturating_mul(of.names.len().max(1)));
        if *fields > FIELDS_MAX {
            return Err(StoreError::TooLarge(format!(
                "{fields} fields in one call, but at most {FIELDS_MAX} are allowed; read them in several calls"
            )));
        }
        let names: Arc<[String]> = of.names.into();
        let each = |key: wit::Key| Query::NamedFields(keys.key(key), Arc::clone(&names));
        self.queries.extend(of.keys.into_iter().map(each));
        Ok(())
    }

    /// Translates the values into one answer for each query of the guest.
    pub(crate) fn answer(groups: QueryGroups, values: Vec<Value>) -> Vec<wit::Value> {
        let mut values = values.into_iter();
        let answers = groups.0.into_iter().filter_map(|group| match group {
            QueryGroup::Single => values.next().map(wit::Value::from),
            QueryGroup::Plain => values.next().map(plain),
            QueryGroup::NamedFields { keys, names } => {
                Some(wit::Value::NamedFields(pack_optional(values.by_ref().take(keys), keys * names)))
            }
            QueryGroup::PlainNamedFields { keys } => {
                Some(wit::Value::PlainNamedFields(values.by_ref().take(keys).map(named_texts).collect()))
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
        wit::Query::Fields(of) | wit::Query::PlainFields(of) => Query::Fields(key(of)),
        wit::Query::NamedFields(_) | wit::Query::PlainNamedFields(_) => return None,
        wit::Query::TimeToLive(of) => Query::TimeToLive(key(of)),
        wit::Query::OrderedRange(range) => Query::OrderedRange {
            key: key(range.key),
            minimum: range.minimum,
            maximum: range.maximum,
            limit: range.limit,
        },
        wit::Query::Presence(of) => Query::Presence(key(of)),
        wit::Query::IndexedCounters(of) | wit::Query::PlainIndexedCounters(of) => {
            Query::IndexedCounters { index: key(of.index), space: of.space.into() }
        }
    })
}

impl From<Item> for wit::Item {
    fn from(item: Item) -> Self {
        match item {
            Item::Uuid(bits) => Self::Uuid(id_of(bits)),
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

/// An answer in the plain form. Values that have no other form stay as they are.
fn plain(value: Value) -> wit::Value {
    match value {
        Value::Fields(fields) => wit::Value::PlainFields(fields),
        Value::Counters(counters) => {
            wit::Value::PlainCounters(counters.into_iter().map(|(item, number)| (item.to_string(), number)).collect())
        }
        other => other.into(),
    }
}

/// The fields of one key. A query for named fields is answered with nothing else.
fn named_texts(value: Value) -> Vec<Option<String>> {
    if let Value::NamedFields(texts) = value { texts } else { Vec::new() }
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

    fn plain_fields(keys: usize, names: usize) -> wit::Query {
        let wit::Query::NamedFields(of) = fields(keys, names) else { panic!("another query") };
        wit::Query::PlainNamedFields(of)
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
    fn plain_queries_are_the_same_for_the_store_and_answered_with_lists() {
        let key = || wit::Key { space: wit::Space::Online, owner: wit::Owner::Shard(1), item: None };
        let index = || wit::IndexedCounters { index: key(), space: wit::Space::UnreadConversation };
        let packed = vec![wit::Query::Fields(key()), fields(2, 2), wit::Query::IndexedCounters(index())];
        let asked = vec![wit::Query::PlainFields(key()), plain_fields(2, 2), wit::Query::PlainIndexedCounters(index())];
        let (queries, groups) = request(asked).unwrap().split();
        assert_eq!(queries, request(packed).unwrap().queries);
        let text = |text: &str| text.to_owned();
        let values = vec![
            Value::Fields(vec![(text("n"), text("\u{1f408}"))]),
            named(&[Some("ab"), None]),
            named(&[None, Some("")]),
            Value::Counters(vec![(Item::Uuid(7), 1), (Item::Text(text("x")), -1)]),
        ];
        let answers = ReadRequest::answer(groups, values);
        let [wit::Value::PlainFields(all), wit::Value::PlainNamedFields(some), wit::Value::PlainCounters(counters)] =
            &answers[..]
        else {
            panic!("{} answers of another kind", answers.len())
        };
        assert_eq!(all, &[(text("n"), text("\u{1f408}"))]);
        assert_eq!(some, &[vec![Some(text("ab")), None], vec![None, Some(text(""))]]);
        assert_eq!(counters, &[(text("00000000-0000-0000-0000-000000000007"), 1), (text("x"), -1)]);
    }

    #[test]
    fn a_missing_hash_is_missing_in_the_plain_form_too() {
        let key = wit::Key { space: wit::Space::Online, owner: wit::Owner::Shard(1), item: None };
        let (_, groups) = request(vec![wit::Query::PlainFields(key)]).unwrap().split();
        let answers = ReadRequest::answer(groups, vec![Value::Missing]);
        assert!(matches!(answers[..], [wit::Value::Missing]));
    }

    #[test]
    fn the_product_of_keys_and_names_is_bounded() {
        assert!(request(vec![fields(1_000, 65)]).is_ok());
        assert!(request(vec![plain_fields(1_000, 65)]).is_ok());
        for refused in [
            vec![fields(1_000, 60), fields(1_000, 6)],
            vec![fields(100_000, 0)],
            vec![plain_fields(1_000, 60), fields(1_000, 6)],
            vec![plain_fields(100_000, 0)],
        ] {
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
            wit::Query::PlainFields(key()),
            wit::Query::PlainNamedFields(wit::NamedFields { keys: vec![key()], names: vec!["a".to_owned()] }),
            wit::Query::PlainIndexedCounters(wit::IndexedCounters { index: key(), space: wit::Space::App }),
        ];
        let queries = request(asked).unwrap().queries;
        assert_eq!(queries.len(), 12);
        assert!(queries.iter().all(|query| query.key().function.as_deref() == Some("polls")), "{queries:?}");
    }
}
