//! A function that misbehaves on demand: `GET /v1/hostile/<behaviour>`. The host must lose one reply, and nothing else.
//!
//! The test `hostile` requests every behaviour that the manifest lists and has an expectation for each.
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "the guest misbehaves on purpose")]

use roost_function::bindings::exports::roost::edge::handler::{
    Access, Failure, Grants, Guest, Invocation, Manifest, Recipients, Reply, Request, Route,
};
use roost_function::bindings::roost::edge::key_value::{
    Add, Check, IndexedCounters, Key, Mutation, NamedFields, Owner, Query, Set, Space, Transaction,
};
use roost_function::bindings::roost::edge::pub_sub::Publication;
use roost_function::bindings::roost::edge::records::{DocumentKey, Operation};
use roost_function::bindings::roost::edge::telemetry::Level;
use roost_function::bindings::roost::edge::types::{Event, Id};
use roost_function::bindings::roost::edge::{clock, key_value, pub_sub, records, telemetry};

const BEHAVIOURS: [&str; 16] = [
    "panic",
    "spin",
    "bomb",
    "recurse",
    "giant",
    "no-json",
    "odd-status",
    "snoop",
    "trespass",
    "announce",
    "meddle",
    "peek",
    "wait",
    "flood",
    "drain",
    "behave",
];

/// What another function might have put in front of a name, to try to reach its documents.
const PREFIXES: [&str; 5] = ["", "conformance/", "conformance:", "../conformance/", "/conformance/"];

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Manifest {
        let route = |behaviour: &&str| Route {
            method: "GET".to_owned(),
            path: format!("/v1/hostile/{behaviour}"),
            access: Access::Public,
            operation: "{}".to_owned(),
        };
        Manifest {
            name: "hostile".to_owned(),
            version: "0.1.0".to_owned(),
            routes: BEHAVIOURS.iter().map(route).collect(),
            messages: Vec::new(),
            socket: "{}".to_owned(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            publications: Vec::new(),
            grants: Grants {
                read: Vec::new(),
                write: Vec::new(),
                publish: Recipients::Nobody,
                records: vec![Operation::ReadDocuments, Operation::DocumentNames],
            },
        }
    }

    fn handle(invocation: Invocation) -> Result<Reply, Failure> {
        let Request::Http(request) = invocation.request else { panic!("the manifest offers only HTTP routes") };
        match BEHAVIOURS.get(request.route as usize).copied().unwrap_or_default() {
            "panic" => give_up(),
            "spin" => spin(),
            "bomb" => bomb(),
            "recurse" => answer(200, &recurse(1).to_string()),
            "giant" => answer(200, &format!("\"{}\"", "x".repeat(4 << 20))),
            "no-json" => answer(200, "{\"open\":"),
            "odd-status" => answer(999, "{}"),
            "snoop" => texts(&snoop()),
            "trespass" => texts(&trespass()),
            "announce" => texts(&announce()),
            "meddle" => texts(&meddle()),
            "peek" => answer(200, &peek().to_string()),
            "wait" => wait(),
            "flood" => flood(),
            "drain" => answer(200, &drain().to_string()),
            _ => answer(200, "\"well\""),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the contract has this type")]
fn answer(status: u16, body: &str) -> Result<Reply, Failure> {
    Ok(Reply { status, body: body.to_owned() })
}

/// Answers with a list of texts.
fn texts(texts: &[String]) -> Result<Reply, Failure> {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    answer(200, &format!("[{}]", quoted.join(",")))
}

/// Has a name that the test finds in the symbolised trace in the log.
#[inline(never)]
fn give_up() -> ! {
    std::panic::set_hook(Box::new(|panic| {
        telemetry::log(Level::Error, &panic.to_string(), &[]);
    }));
    panic!("the guest gave up")
}

fn spin() -> ! {
    let mut rounds = 0_u64;
    loop {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}

fn bomb() -> ! {
    let mut allocated: Vec<Vec<u8>> = Vec::new();
    loop {
        allocated.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let ballast = std::hint::black_box([depth; 64]);
    if std::hint::black_box(depth) == 0 { 0 } else { recurse(depth + 1) + ballast.iter().sum::<u64>() }
}

/// What an attempt was answered with; every attempt should fail.
fn outcome<T>(attempt: Result<T, key_value::Error>) -> String {
    attempt.map_or_else(|error| format!("{error:?}"), |_| "it worked".to_owned())
}

const SOMEBODY: Id = user(7);

const fn user(number: u32) -> Id {
    Id { first: 0, second: 0, third: 0, fourth: number }
}

fn key(space: Space) -> Key<'static> {
    let owner = if matches!(space, Space::PresenceDue) { Owner::Shard(0) } else { Owner::User(SOMEBODY) };
    Key { space, owner, item: matches!(space, Space::App).then_some("note") }
}

/// Reads the spaces of other functions, and the space of its own that it was not granted.
fn snoop() -> Vec<String> {
    let spaces = [Space::PresenceDue, Space::Online, Space::UnreadTotal, Space::App];
    let bytes = spaces.map(|space| outcome(key_value::read(&[Query::Bytes(key(space))])));
    let (fields, presence) = (Query::PlainFields(key(Space::Devices)), [key(Space::Presence)]);
    let named = Query::PlainNamedFields(NamedFields { keys: &presence, names: &["status"] });
    let index = IndexedCounters { index: key(Space::UnreadSequence), space: Space::UnreadConversation };
    let plain = [fields, named, Query::PlainIndexedCounters(index)].map(|query| outcome(key_value::read(&[query])));
    bytes.into_iter().chain(plain).collect()
}

fn commit(checks: &[Check<'_>], mutations: &[Mutation<'_>], publications: &[Event<'_>]) -> String {
    let owner = Owner::User(SOMEBODY);
    let transaction = Transaction { owner, checks, mutations, publications, published_results: &[], addressed: &[] };
    outcome(key_value::commit(&[transaction]))
}

/// Changes the spaces of other functions, and looks at them in a check.
fn trespass() -> Vec<String> {
    let total = || key(Space::UnreadTotal);
    vec![
        commit(&[], &[Mutation::Add(Add { key: total(), delta: 1_000, floor: None })], &[]),
        commit(&[], &[Mutation::Delete(key(Space::Online))], &[]),
        commit(&[Check::Absent(total())], &[], &[]),
        commit(&[], &[Mutation::Set(Set { key: key(Space::App), value: b"x", time_to_live: None })], &[]),
    ]
}

/// Publishes to a user: on its own, and with a transaction.
fn announce() -> Vec<String> {
    let event = || Event { name: "message.new", payload: "{}", durable: true };
    let published = pub_sub::publish(&[Publication { user: SOMEBODY, event: event() }]);
    vec![outcome(published), commit(&[], &[], &[event()])]
}

/// Uses operations of the records that it was not granted.
fn meddle() -> Vec<String> {
    let denied = |attempt: Result<(), records::Error>| {
        attempt.map_or_else(|error| format!("{error:?}"), |()| "it worked".into())
    };
    vec![
        denied(records::contacts(SOMEBODY).map(|_| ())),
        denied(records::block(SOMEBODY, user(8))),
        denied(records::delete_message(SOMEBODY, SOMEBODY, Some(SOMEBODY), 0).map(|_| ())),
        denied(records::delete_document(DocumentKey { owner: Owner::Shard(0), name: "note" }, 1)),
    ]
}

/// Looks for the document in which the function `conformance` keeps its note; answers how many documents it found.
fn peek() -> usize {
    let names = PREFIXES.map(|prefix| format!("{prefix}note"));
    let keys = names.each_ref().map(|name| DocumentKey { owner: Owner::Shard(0), name });
    let read = records::read_documents(&keys).map_or(usize::MAX, |found| found.iter().flatten().count());
    read.saturating_add(records::document_names(Owner::Shard(0)).map_or(usize::MAX, |names| names.len()))
}

/// Only waits in the host, so that the epoch deadline never interrupts guest code. No wait ends near the deadline of the
/// test's calls, 2 s: the guest would compute for a moment just then.
fn wait() -> ! {
    loop {
        clock::wait(700);
    }
}

fn flood() -> Result<Reply, Failure> {
    // All lines share one text: the log is flooded, not the memory of the guest.
    let line = "x".repeat(20_000);
    for _ in 0..10_000 {
        telemetry::log(Level::Error, &line, &[]);
        telemetry::count("flood", &[], 1);
    }
    answer(200, "\"flooded\"")
}

/// Sends more queries in one call than a call may have.
fn drain() -> usize {
    let item = "x".repeat(1_000);
    let query = || Query::Bytes(Key { space: Space::App, owner: Owner::Shard(0), item: Some(&item) });
    let queries: Vec<_> = (0..100_000).map(|_| query()).collect();
    key_value::read(&queries).map_or(0, |values| values.len())
}

roost_function::bindings::export!(Hostile with_types_in roost_function::bindings);
