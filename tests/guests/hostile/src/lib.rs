//! A function that misbehaves on demand: `GET /v1/hostile/<behaviour>`. The host must lose one reply, and nothing else.
//!
//! The test `hostile` requests every behaviour that the manifest lists and has an expectation for each.
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "the guest misbehaves on purpose")]

use roost_function::bindings::exports::roost::edge::handler::{
    Access, Failure, Grants, Guest, Invocation, Manifest, Reply, Request, Route,
};
use roost_function::bindings::roost::edge::key_value::{Key, Owner, Query, Space};
use roost_function::bindings::roost::edge::records::{DocumentKey, Operation};
use roost_function::bindings::roost::edge::telemetry::Level;
use roost_function::bindings::roost::edge::{clock, key_value, records, telemetry};

const BEHAVIOURS: [&str; 13] = [
    "panic",
    "spin",
    "bomb",
    "recurse",
    "giant",
    "no-json",
    "odd-status",
    "snoop",
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
            hooks: Vec::new(),
            schedules: Vec::new(),
            grants: Grants {
                read: Vec::new(),
                write: Vec::new(),
                publish: false,
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
            "snoop" => answer(200, &format!("{:?}", format!("{:?}", snoop()))),
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

fn snoop() -> Result<usize, String> {
    let owner = Owner::Shard(0);
    let key = Key { space: Space::PresenceDue, owner, item: None };
    key_value::read(&[Query::Bytes(key)]).map(|values| values.len()).map_err(|error| format!("{error:?}"))
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
