//! Which calls the key-value port refuses, at each limit.

use super::*;
use crate::ids::UserId;
use crate::key::Space;
use crate::limits::{ADDRESSEES_MAX, RESULT_NAME_BYTES_MAX};
use crate::port::Publication;

const USER: UserId = UserId::from_u128(1);
const OWNER: Owner = Owner::User(USER);

fn key() -> Key {
    Key::of_user(Space::Presence, USER)
}

fn text(bytes: usize) -> Text {
    "x".repeat(bytes).into()
}

fn event(name: &str, payload: usize) -> Event {
    Event { name: name.into(), payload: "x".repeat(payload).into(), durable: true }
}

/// The kind of the error, or `ok`.
fn kind<T>(result: Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(StoreError::Invalid(_)) => "invalid",
        Err(StoreError::TooLarge(_)) => "too large",
        Err(StoreError::CrossPartition(_)) => "cross partition",
        Err(error) => panic!("unexpected: {error}"),
    }
}

fn read(query: Query) -> &'static str {
    kind(validate_read(&[query]))
}

/// The kind of the first error of a call: its own, or that of one of its transactions.
fn screen(transactions: Vec<Transaction>) -> &'static str {
    let count = transactions.len();
    kind(ScreenedCall::of(transactions).and_then(|mut screened| {
        let accepted = vec![Outcome::Committed(Vec::new()); screened.take_accepted().len()];
        let outcomes = screened.outcomes(accepted);
        assert_eq!(outcomes.len(), count);
        outcomes
            .into_iter()
            .find_map(|outcome| match outcome {
                Outcome::Failed(error) => Some(Err(error)),
                _ => None,
            })
            .unwrap_or(Ok(()))
    }))
}

fn commit(transaction: Transaction) -> &'static str {
    screen(vec![transaction])
}

fn mutate(mutation: Mutation) -> &'static str {
    commit(Transaction::new(OWNER).mutate(mutation))
}

fn check(check: Check) -> &'static str {
    commit(Transaction::new(OWNER).check(check))
}

#[test]
fn a_read_has_valid_keys_and_at_most_1024_queries() {
    let queries = |count| kind(validate_read(&vec![Query::Bytes(key()); count]));
    assert_eq!((queries(CALL_ITEMS_MAX), queries(CALL_ITEMS_MAX + 1)), ("ok", "too large"));
    assert_eq!(read(Query::Bytes(Key::of_user(Space::UnreadConversation, USER))), "invalid");
}

#[test]
fn a_range_has_a_limit_from_one_on() {
    let range = |limit| read(Query::OrderedRange { key: key(), minimum: 0, maximum: 1, limit });
    assert_eq!([0, 1, RANGE_MAX, RANGE_MAX + 1].map(range), ["invalid", "ok", "ok", "invalid"]);
}

#[test]
fn named_fields_have_names_and_indexed_counters_have_items() {
    let named = |names: Vec<String>| read(Query::NamedFields(key(), names.into()));
    assert_eq!(named(vec!["status".into()]), "ok");
    assert_eq!(named(vec![String::new()]), "invalid");
    assert_eq!(named(vec!["n".into(); TRANSACTION_ITEMS_MAX]), "ok");
    assert_eq!(named(vec!["n".into(); TRANSACTION_ITEMS_MAX + 1]), "too large");
    let indexed = |space| read(Query::IndexedCounters { index: key(), space });
    assert_eq!((indexed(Space::UnreadConversation), indexed(Space::UnreadTotal)), ("ok", "invalid"));
    let app = |space| read(Query::IndexedCounters { index: Key::app(OWNER, "index"), space });
    assert_eq!((indexed(Space::App), app(Space::UnreadConversation), app(Space::App)), ("invalid", "invalid", "ok"));
}

#[test]
fn a_commit_has_at_most_1024_transactions_of_at_most_4096_items() {
    let transactions = |count| screen(vec![Transaction::new(OWNER); count]);
    assert_eq!((transactions(CALL_ITEMS_MAX), transactions(CALL_ITEMS_MAX + 1)), ("ok", "too large"));
    let items = |checks, mutations, publications| {
        commit(Transaction {
            owner: OWNER,
            checks: vec![Check::Absent(key()); checks],
            mutations: vec![Mutation::Delete(key()); mutations],
            publications: vec![event("n", 0); publications],
            published_results: Vec::new(),
            addressed: Vec::new(),
            app_bound: None,
        })
    };
    assert_eq!(items(TRANSACTION_ITEMS_MAX - 2, 1, 1), "ok");
    assert_eq!(items(TRANSACTION_ITEMS_MAX - 1, 1, 1), "too large");
    assert_eq!(items(1, TRANSACTION_ITEMS_MAX - 1, 1), "too large");
    assert_eq!(items(1, 1, TRANSACTION_ITEMS_MAX - 1), "too large");
}

#[test]
fn the_bytes_of_a_call_are_the_sum_of_checks_mutations_and_publications() {
    let full = CALL_BYTES_MAX / VALUE_BYTES_MAX;
    let values = |count: usize, rest: Transaction| {
        let value = || Check::Equals(key(), vec![0; VALUE_BYTES_MAX]);
        let large = (0..count).fold(Transaction::new(OWNER), |transaction, _| transaction.check(value()));
        screen(vec![large, rest])
    };
    let empty = Transaction::new(OWNER);
    assert_eq!(values(full, empty.clone()), "ok", "exactly the limit");
    assert_eq!(values(full, empty.clone().check(Check::Equals(key(), vec![0]))), "too large");
    assert_eq!(values(full, empty.clone().mutate(Mutation::Set(key(), vec![0], None))), "too large");
    assert_eq!(values(full, empty.publish(event("n", 0))), "too large");
}

#[test]
fn every_key_belongs_to_the_owner_and_only_users_have_publications() {
    let foreign = Key::of_user(Space::Presence, UserId::from_u128(2));
    assert_eq!(check(Check::Absent(foreign.clone())), "cross partition");
    assert_eq!(mutate(Mutation::Delete(foreign)), "cross partition");
    assert_eq!(mutate(Mutation::Delete(Key::of_user(Space::App, USER))), "invalid");
    assert_eq!(commit(Transaction::new(OWNER).publish(event("n", 1))), "ok");
    assert_eq!(commit(Transaction::new(Owner::Shard(1)).publish(event("n", 1))), "invalid");
}

#[test]
fn the_items_of_a_transaction_belong_to_one_function() {
    let item = |function: &str| Key { function: Some(function.into()), ..Key::app(OWNER, "item") };
    let of = |functions: &[&str]| {
        let deletions = functions.iter().map(|function| Mutation::Delete(item(function)));
        deletions.fold(Transaction::new(OWNER).mutate(Mutation::Delete(key())), Transaction::mutate)
    };
    assert_eq!((commit(of(&["a", "a"])), commit(of(&["a", "b"])), commit(of(&[]))), ("ok", "invalid", "ok"));
    assert_eq!((app_function(&of(&["a"])), app_function(&of(&[]))), (Some("a"), None));
    let without = Transaction::new(OWNER).mutate(Mutation::Delete(Key::app(OWNER, "item")));
    assert_eq!(app_function(&without), Some(""));
}

#[test]
fn an_event_has_a_short_plain_name_and_a_limited_payload() {
    let named = |name: &str| kind(validate_event(&event(name, 1)));
    for name in ["message.new", "a-b_c.9", &"n".repeat(EVENT_NAME_BYTES_MAX)] {
        assert_eq!(named(name), "ok", "{name}");
    }
    for name in ["", "A", "a b", "a:b", &"n".repeat(EVENT_NAME_BYTES_MAX + 1)] {
        assert_eq!(named(name), "invalid", "{name}");
    }
    assert_eq!(kind(validate_event(&event("n", PAYLOAD_BYTES_MAX + 1))), "too large");
    assert_eq!(validate_event(&event("name", 7)), Ok(11));
}

#[test]
fn publications_of_a_call_are_limited_in_number_and_bytes() {
    let publish = |count: usize, name: &str, payload: usize| {
        kind(validate_publish(&vec![Publication { user: USER, event: event(name, payload) }; count]))
    };
    assert_eq!((publish(CALL_ITEMS_MAX, "n", 1), publish(CALL_ITEMS_MAX + 1, "n", 1)), ("ok", "too large"));
    let full = CALL_BYTES_MAX / PAYLOAD_BYTES_MAX;
    assert_eq!(publish(full, "n", PAYLOAD_BYTES_MAX - 1), "ok", "exactly the limit");
    assert_eq!(publish(full, "na", PAYLOAD_BYTES_MAX - 1), "too large");
    assert_eq!(publish(1, "", 1), "invalid");
}

#[test]
fn values_and_names_of_checks_are_counted() {
    let size = |check: &Check| validate_check(check);
    assert_eq!(size(&Check::Absent(key())), Ok(0));
    assert_eq!(size(&Check::Present(key())), Ok(0));
    let total = || Key::of_user(Space::UnreadTotal, USER);
    assert_eq!(size(&Check::PresentEither(total(), Space::Followed)), Ok(0));
    assert_eq!(check(Check::PresentEither(total(), Space::UnreadConversation)), "invalid");
    assert_eq!(check(Check::PresentEither(Key::app(OWNER, "item"), Space::Followed)), "invalid");
    assert_eq!(size(&Check::Equals(key(), vec![0; 5])), Ok(5));
    assert_eq!(size(&Check::FieldEquals(key(), text(3), Some(text(4)))), Ok(7));
    assert_eq!(size(&Check::FieldEquals(key(), text(3), None)), Ok(3));
    assert_eq!(size(&Check::FieldBelow(key(), text(3), 1)), Ok(3));
    assert_eq!(size(&Check::ScoreEquals(key(), text(3), None)), Ok(3));
    assert_eq!(check(Check::Equals(key(), vec![0; VALUE_BYTES_MAX + 1])), "too large");
    assert_eq!(check(Check::FieldBelow(key(), text(0), 1)), "invalid");
}

#[test]
fn values_and_names_of_mutations_are_counted() {
    let size = |mutation: &Mutation| validate_mutation(mutation);
    let fields = |fields: &[(usize, usize)]| {
        Mutation::SetFields(key(), fields.iter().map(|(name, value)| (text(*name), text(*value))).collect())
    };
    assert_eq!(size(&Mutation::Set(key(), vec![0; 5], Some(1))), Ok(5));
    assert_eq!(size(&Mutation::Delete(key())), Ok(0));
    assert_eq!(size(&Mutation::Expire(key(), 1)), Ok(0));
    assert_eq!(size(&fields(&[(2, 3), (4, 5)])), Ok(14));
    assert_eq!(size(&Mutation::DeleteFields(key(), vec![text(2), text(3)])), Ok(5));
    assert_eq!(size(&Mutation::AddField(key(), text(3), 1)), Ok(3));
    assert_eq!(size(&Mutation::OrderedPut(key(), text(3), 1)), Ok(3));
    assert_eq!(size(&Mutation::OrderedRemove(key(), text(3))), Ok(3));
    assert_eq!(mutate(fields(&[])), "invalid");
    assert_eq!(mutate(fields(&[(0, 1)])), "invalid");
    assert_eq!(mutate(Mutation::DeleteFields(key(), vec![text(1); TRANSACTION_ITEMS_MAX + 1])), "too large");
}

#[test]
fn names_values_and_times_to_live_have_limits() {
    let name = |bytes| mutate(Mutation::OrderedRemove(key(), text(bytes)));
    assert_eq!([0, 1, NAME_BYTES_MAX, NAME_BYTES_MAX + 1].map(name), ["invalid", "ok", "ok", "too large"]);
    let value = |bytes| mutate(Mutation::Set(key(), vec![0; bytes], None));
    assert_eq!([0, VALUE_BYTES_MAX, VALUE_BYTES_MAX + 1].map(value), ["ok", "ok", "too large"]);
    for ttl in [|ttl| Mutation::Set(key(), vec![], Some(ttl)), |ttl| Mutation::Expire(key(), ttl)] {
        let expire = |ttl_ms: u64| mutate(ttl(ttl_ms));
        assert_eq!([0, 1, TTL_MS_MAX, TTL_MS_MAX + 1].map(expire), ["invalid", "ok", "ok", "too large"]);
    }
}

#[test]
fn addressed_events_are_limited_in_users_and_bytes_and_need_no_user_as_owner() {
    let users = |count: usize| (0..count as u128).map(UserId::from_u128).collect::<Vec<_>>();
    let address = |of: &[(usize, usize)]| {
        let new = Transaction::new(Owner::Shard(1));
        commit(of.iter().fold(new, |all, (count, payload)| all.address(users(*count), event("n", *payload))))
    };
    assert_eq!(address(&[(ADDRESSEES_MAX, 1)]), "ok");
    assert_eq!(address(&[(ADDRESSEES_MAX, 1), (1, 1)]), "too large");
    assert_eq!(address(&[(1, 1), (0, 1)]), "invalid");
    assert_eq!(address(&[(1, PAYLOAD_BYTES_MAX), (1, PAYLOAD_BYTES_MAX - 2)]), "ok", "exactly the limit");
    assert_eq!(address(&[(1, PAYLOAD_BYTES_MAX), (1, PAYLOAD_BYTES_MAX - 1)]), "too large");
    assert_eq!(address(&[(64, PAYLOAD_BYTES_MAX - 1)]), "ok", "exactly the bytes of a call, counted for each user");
    assert_eq!(address(&[(65, PAYLOAD_BYTES_MAX - 1)]), "too large");
    assert_eq!(commit(Transaction::new(OWNER).address(users(1), event("N", 1))), "invalid");
}

/// A transaction with two results, and a publication with this payload that carries one.
fn carrying(payload: &str, name: &str, result: u32) -> Transaction {
    let event = Event { payload: payload.into(), ..event("n", 0) };
    let total = Mutation::Add { key: Key::of_user(Space::UnreadTotal, USER), delta: 1, floor: None };
    let field = Mutation::AddField(key(), "field".into(), 1);
    let changed = Transaction::new(OWNER).mutate(total).mutate(Mutation::Persist(key())).mutate(field);
    changed.publish(event).with_result(name.to_owned(), result)
}

#[test]
fn a_published_result_has_a_publication_of_an_object_a_result_and_a_short_plain_name() {
    let payload = |payload: &str| commit(carrying(payload, "sum", 0));
    assert_eq!(["{}", "{\"a\":1}", "{x}"].map(payload), ["ok"; 3]);
    assert_eq!(["", "{", "}", "[]", "1", " {}", "{} "].map(payload), ["invalid"; 7]);
    let result = |result: u32| commit(carrying("{}", "sum", result));
    assert_eq!([0, 1, 2, u32::MAX].map(result), ["ok", "ok", "invalid", "invalid"]);
    let name = |name: &str| commit(carrying("{}", name, 1));
    let (longest, long) = ("n".repeat(RESULT_NAME_BYTES_MAX), "n".repeat(RESULT_NAME_BYTES_MAX + 1));
    assert_eq!(["a_9", "_", &longest].map(name), ["ok"; 3]);
    assert_eq!(["", "A", "a b", "a-b", "a.b", "ü", "a\"", &long].map(name), ["invalid"; 8]);
    let mut elsewhere = carrying("{}", "sum", 0);
    elsewhere.published_results[0].publication = 1;
    assert_eq!(commit(elsewhere), "invalid");
    assert_eq!(commit(Transaction::new(OWNER).with_result("sum", 0)), "invalid", "there is no publication");
    assert_eq!(commit(Transaction::new(OWNER).publish(event("n", 1)).with_result("sum", 0)), "invalid");
    let large = carrying(&"x".repeat(PAYLOAD_BYTES_MAX + 1), "sum", 0);
    assert_eq!(commit(large), "invalid", "whatever its size");
}

#[test]
fn published_results_count_as_items_and_as_bytes_of_the_payload() {
    let object = |bytes: usize| format!("{{{}}}", "x".repeat(bytes - 2));
    let size = |bytes: usize| commit(carrying(&object(bytes), "sum", 0));
    let added = "sum".len() + 24;
    assert_eq!([PAYLOAD_BYTES_MAX - added, PAYLOAD_BYTES_MAX - added + 1].map(size), ["ok", "too large"]);
    let two = |bytes: usize| commit(carrying(&object(bytes), "sum", 0).with_result("sum", 1));
    assert_eq!([PAYLOAD_BYTES_MAX - 2 * added, PAYLOAD_BYTES_MAX - 2 * added + 1].map(two), ["ok", "too large"]);
    let items = |count: usize| {
        let results = (0..count).fold(carrying("{}", "n0", 0), |all, _| all.with_result("n", 1));
        commit(results)
    };
    // Three mutations, a publication, and its first result.
    assert_eq!([TRANSACTION_ITEMS_MAX - 5, TRANSACTION_ITEMS_MAX - 4].map(items), ["ok", "too large"]);
}

#[test]
fn what_the_host_adds_counts_towards_no_limit() {
    let host = || Key::of_host(OWNER, "outbox.1".to_owned());
    let full = (0..TRANSACTION_ITEMS_MAX).fold(Transaction::new(OWNER), |all, _| all.check(Check::Absent(key())));
    let added = full.check(Check::Absent(host())).mutate(Mutation::Set(host(), vec![0; VALUE_BYTES_MAX], None));
    assert_eq!(commit(added.clone()), "ok");
    assert_eq!(commit(added.check(Check::Absent(key()))), "too large");
    assert_eq!(mutate(Mutation::Set(host(), vec![0; VALUE_BYTES_MAX + 1], None)), "too large", "no value is longer");
}
