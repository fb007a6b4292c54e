//! The plain forms of queries, called as languages other than Rust call them: `GET /v1/plain/<case>`. Each case compares the
//! plain answer with what was written, and with the packed answer to the same question.
#![allow(clippy::panic, clippy::expect_used, reason = "a case that does not hold traps")]

use roost_core::key::{Key as CoreKey, Owner as CoreOwner, Space as CoreSpace};
use roost_core::port::{KeyValue, Mutation, Query as CoreQuery, Transaction, Value as CoreValue};
use roost_core::testing::block_on;
use roost_function::bindings::roost::edge::key_value::{
    Error, IndexedCounters, Key, NamedFields, Owner, Query, Space, Value, read,
};
use roost_function::{Answer, Edge, PathParameter, Reply, Request};

const CASE: PathParameter<String> = PathParameter::new("case");
const OWNER: u32 = 7;
/// Texts in which a letter takes one to four bytes of UTF-8.
const FIELDS: [(&str, &str); 4] = [("a", "é"), ("b", ""), ("c 🐈", "👍🏽"), ("日", "x")];
const COUNTERS: [(&str, i64); 3] = [("6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55", 3), ("other", -1), ("🐈", 9)];

pub(crate) fn run_case(request: &Request) -> Answer {
    let name: String = request.path(CASE)?;
    match name.as_str() {
        "fields" => fields(),
        "named-fields" => named_fields(),
        "indexed-counters" => indexed_counters(),
        "missing" => missing(),
        "mixed" => mixed(),
        "wrong-type" => wrong_type(),
        "too-many" => too_many(),
        _ => return Reply::ok(&"no such case"),
    }
    Reply::ok(&"it holds")
}

const fn key(item: &str) -> Key<'_> {
    Key { space: Space::App, owner: Owner::Shard(OWNER), item: Some(item) }
}

fn core_key(item: &str) -> CoreKey {
    CoreKey::app(CoreOwner::Shard(OWNER), item)
}

fn commit(mutations: Vec<Mutation>) {
    let transaction = mutations.into_iter().fold(Transaction::new(CoreOwner::Shard(OWNER)), Transaction::mutate);
    assert!(block_on(Edge.commit(vec![transaction])).is_ok_and(|outcomes| outcomes.len() == 1));
}

fn write_hash(item: &str) {
    let fields = FIELDS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    commit(vec![Mutation::Delete(core_key(item)), Mutation::SetFields(core_key(item), fields)]);
}

fn write_counters() {
    let index = COUNTERS.iter().map(|(item, _)| ((*item).into(), "1".into())).collect();
    let mut mutations = vec![Mutation::Delete(core_key("index")), Mutation::SetFields(core_key("index"), index)];
    for (item, number) in COUNTERS {
        mutations.push(Mutation::Delete(core_key(item)));
        mutations.push(Mutation::Add { key: core_key(item), delta: number, floor: None });
    }
    commit(mutations);
}

fn packed(query: CoreQuery) -> CoreValue {
    block_on(Edge.read(vec![query])).ok().and_then(|mut values| values.pop()).unwrap_or(CoreValue::Missing)
}

fn plain(query: Query<'_>) -> Value {
    let mut values = read(&[query]).expect("the store answers");
    assert_eq!(values.len(), 1);
    values.remove(0)
}

fn fields() {
    write_hash("hash");
    let Value::PlainFields(found) = plain(Query::PlainFields(key("hash"))) else { panic!("another form") };
    assert_eq!(found, FIELDS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(packed(CoreQuery::Fields(core_key("hash"))), CoreValue::Fields(found));
}

fn named_fields() {
    write_hash("one");
    write_hash("two");
    commit(vec![Mutation::SetFields(core_key("two"), vec![("a".into(), "🐈".into())])]);
    let names = ["日", "nothing", "a", "b"];
    let keys = [key("one"), key("none"), key("two")];
    let query = Query::PlainNamedFields(NamedFields { keys: &keys, names: &names });
    let Value::PlainNamedFields(found) = plain(query) else { panic!("another form") };
    let text = |text: &str| Some(text.to_owned());
    let expected =
        vec![vec![text("x"), None, text("é"), text("")], vec![None; 4], vec![text("x"), None, text("🐈"), text("")]];
    assert_eq!(found, expected);
    for (item, fields) in ["one", "none", "two"].iter().zip(found) {
        let asked = CoreQuery::NamedFields(core_key(item), names.map(str::to_owned).into());
        assert_eq!(packed(asked), CoreValue::NamedFields(fields));
    }
    let query = Query::PlainNamedFields(NamedFields { keys: &[], names: &names });
    assert!(matches!(plain(query), Value::PlainNamedFields(none) if none.is_empty()));
}

fn indexed_counters() {
    write_counters();
    let index = IndexedCounters { index: key("index"), space: Space::App };
    let Value::PlainCounters(found) = plain(Query::PlainIndexedCounters(index)) else { panic!("another form") };
    assert_eq!(found, COUNTERS.map(|(item, number)| (item.to_owned(), number)));
    let asked = CoreQuery::IndexedCounters { index: core_key("index"), space: CoreSpace::App };
    let CoreValue::Counters(counters) = packed(asked) else { panic!("another form") };
    let counters: Vec<_> = counters.into_iter().map(|(item, number)| (item.to_string(), number)).collect();
    assert_eq!(counters, found);
}

fn missing() {
    assert!(matches!(plain(Query::PlainFields(key("nowhere"))), Value::Missing));
    let index = IndexedCounters { index: key("nowhere"), space: Space::App };
    assert!(matches!(plain(Query::PlainIndexedCounters(index)), Value::PlainCounters(none) if none.is_empty()));
}

/// Each query is answered in its own form, in the order asked.
fn mixed() {
    write_hash("hash");
    let of = |item| NamedFields { keys: item, names: &["a"] };
    let keys = [key("hash")];
    let asked = [
        Query::Fields(key("hash")),
        Query::PlainNamedFields(of(&keys)),
        Query::Presence(key("hash")),
        Query::NamedFields(of(&keys)),
        Query::PlainFields(key("hash")),
    ];
    let answers = read(&asked).expect("the store answers");
    assert!(matches!(
        &answers[..],
        [
            Value::Fields(_),
            Value::PlainNamedFields(_),
            Value::Presence(true),
            Value::NamedFields(_),
            Value::PlainFields(_)
        ]
    ));
}

fn wrong_type() {
    commit(vec![Mutation::Set(core_key("bytes"), b"x".to_vec(), None)]);
    assert!(matches!(read(&[Query::PlainFields(key("bytes"))]), Err(Error::WrongType(_))));
    let no_item = Key { item: None, ..key("") };
    assert!(matches!(read(&[Query::PlainFields(no_item)]), Err(Error::Invalid(_))));
}

/// One field more than a call may read, over both forms.
fn too_many() {
    let keys: Vec<_> = (0..256).map(|_| key("hash")).collect();
    let names = ["a"; 128];
    let half = || NamedFields { keys: &keys, names: &names };
    let one = [key("hash")];
    let more = Query::PlainNamedFields(NamedFields { keys: &one, names: &["a"] });
    let asked = [Query::PlainNamedFields(half()), Query::NamedFields(half()), more];
    assert!(matches!(read(&asked), Err(Error::TooLarge(text)) if text.contains("65537 fields")));
}
