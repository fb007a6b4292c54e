//! A function of which a test can make any number of versions: two texts in its data say which version it is and how it
//! behaves, and a test replaces them in the compiled component.
//!
//! Behaviours: `ok`, `fails` (it reports a failure), `traps`, `spins` (it computes until its deadline), `smaller` (it
//! lacks a route), `undescribed` (its `describe` traps), `endless` (its `describe` does not end), `curious` (its
//! `describe` asks for the time), `large` (its `describe` takes more than 4 MiB of memory).
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "some versions fail on purpose")]

use roost_function::bindings::exports::roost::edge::handler::{
    Access, Failure, FailureKind, Grants, Guest, Invocation, Manifest, Recipients, Reply, Request, Route,
};
use roost_function::bindings::roost::edge::clock;

/// The place of a text that tests replace.
const TEXT_BYTES: usize = 32;
/// The memory that the behaviour `large` takes.
const LARGE_BYTES: usize = 4 << 20;

static VERSION: [u8; TEXT_BYTES] = *b"lifecycle-version:0.1.0         ";
static BEHAVIOUR: [u8; TEXT_BYTES] = *b"lifecycle-behaviour:ok          ";

/// The text after the colon. It is read as it is in the memory of the instance, not as the compiler knows it.
fn text(place: &'static [u8; TEXT_BYTES]) -> String {
    let place = std::hint::black_box(place);
    let text = String::from_utf8_lossy(place);
    text.split_once(':').map_or_else(String::new, |(_, text)| text.trim_end().to_owned())
}

/// What some versions do instead of describing themselves, or before.
fn misbehave_in_describe(behaviour: &str) {
    match behaviour {
        "undescribed" => panic!("this version does not describe itself"),
        "endless" => loop {
            std::hint::black_box(&BEHAVIOUR);
        },
        "curious" => {
            std::hint::black_box(clock::now());
        }
        "large" => {
            std::hint::black_box(vec![1_u8; LARGE_BYTES]);
        }
        _ => {}
    }
}

struct Lifecycle;

impl Guest for Lifecycle {
    fn describe() -> Manifest {
        let behaviour = text(&BEHAVIOUR);
        misbehave_in_describe(&behaviour);
        let route = |path: &str, access| Route {
            method: "GET".to_owned(),
            path: path.to_owned(),
            access,
            operation: "{}".to_owned(),
        };
        let mut routes =
            vec![route("/v1/lifecycle/version", Access::User), route("/v1/lifecycle/extra", Access::Public)];
        if behaviour == "smaller" {
            routes.pop();
        }
        Manifest {
            name: "lifecycle".to_owned(),
            version: text(&VERSION),
            routes,
            messages: vec!["lifecycle".to_owned()],
            socket: "{}".to_owned(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            publications: Vec::new(),
            grants: Grants { read: Vec::new(), write: Vec::new(), publish: Recipients::Nobody, records: Vec::new() },
        }
    }

    fn handle(invocation: Invocation) -> Result<Reply, Failure> {
        match text(&BEHAVIOUR).as_str() {
            "fails" => Err(Failure {
                kind: FailureKind::Internal,
                code: "broken".to_owned(),
                message: "this version always fails".to_owned(),
                retry: false,
                retry_after_ms: None,
            }),
            "traps" => panic!("this version always traps"),
            "spins" => loop {
                std::hint::black_box(&BEHAVIOUR);
            },
            _ => {
                let is_message = matches!(invocation.request, Request::Message(_));
                let body = format!(r#"{{"version":"{}","message":{is_message}}}"#, text(&VERSION));
                Ok(Reply { status: 200, body })
            }
        }
    }
}

roost_function::bindings::export!(Lifecycle with_types_in roost_function::bindings);
