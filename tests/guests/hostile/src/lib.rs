//! A function that misbehaves on demand: `GET /v1/hostile/<way>`. The host must lose one reply, and nothing else.
//!
//! The test `hostile` asks for every way that the manifest lists and must know what to expect of each.
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "misbehaving is the point")]

use roost_function::bindings::exports::roost::edge::handler::{
    Access, Failure, Grants, Guest, Invocation, Manifest, Reply, Request, Route,
};
use roost_function::bindings::roost::edge::key_value::{Key, Owner, Query, Space};
use roost_function::bindings::roost::edge::telemetry::Level;
use roost_function::bindings::roost::edge::{clock, key_value, telemetry};

const WAYS: [&str; 12] =
    ["panic", "spin", "bomb", "recurse", "giant", "no-json", "odd-status", "snoop", "wait", "flood", "drain", "behave"];

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Manifest {
        let route = |way: &&str| Route {
            method: "GET".to_owned(),
            path: format!("/v1/hostile/{way}"),
            access: Access::Public,
            operation: "{}".to_owned(),
        };
        Manifest {
            name: "hostile".to_owned(),
            version: "0.1.0".to_owned(),
            routes: WAYS.iter().map(route).collect(),
            messages: Vec::new(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            grants: Grants { read: Vec::new(), write: Vec::new(), publish: false, records: Vec::new() },
        }
    }

    fn handle(invocation: Invocation) -> Result<Reply, Failure> {
        let Request::Http(request) = invocation.request else { panic!("only HTTP was offered") };
        match WAYS.get(request.route as usize).copied().unwrap_or_default() {
            "panic" => give_up(),
            "spin" => spin(),
            "bomb" => bomb(),
            "recurse" => answer(200, &recurse(1).to_string()),
            "giant" => answer(200, &format!("\"{}\"", "x".repeat(4 << 20))),
            "no-json" => answer(200, "{\"open\":"),
            "odd-status" => answer(999, "{}"),
            "snoop" => answer(200, &format!("{:?}", format!("{:?}", snoop()))),
            "wait" => wait(),
            "flood" => flood(),
            "drain" => answer(200, &drain().to_string()),
            _ => answer(200, "\"well\""),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the contract's own type")]
fn answer(status: u16, body: &str) -> Result<Reply, Failure> {
    Ok(Reply { status, body: body.to_owned() })
}

/// Named, so that the log's symbolised trace can be looked for it.
#[inline(never)]
fn give_up() -> ! {
    std::panic::set_hook(Box::new(|panic| {
        telemetry::log(Level::Error, &panic.to_string(), &[]);
    }));
    panic!("the guest gave up")
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn bomb() -> ! {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1; 1 << 20]));
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

/// Never computes, only waits: no epoch catches it inside the guest.
fn wait() -> ! {
    loop {
        clock::wait(1_000);
    }
}

fn flood() -> Result<Reply, Failure> {
    // One text for all of them: the log is flooded, not the guest's own memory.
    let line = "x".repeat(20_000);
    for _ in 0..10_000 {
        telemetry::log(Level::Error, &line, &[]);
        telemetry::count("flood", &[], 1);
    }
    answer(200, "\"flooded\"")
}

/// Asks for more in one call than any call may carry.
fn drain() -> usize {
    let item = "x".repeat(1_000);
    let query = || Query::Bytes(Key { space: Space::App, owner: Owner::Shard(0), item: Some(&item) });
    let queries: Vec<_> = (0..100_000).map(|_| query()).collect();
    key_value::read(&queries).map_or(0, |values| values.len())
}

roost_function::bindings::export!(Hostile with_types_in roost_function::bindings);
