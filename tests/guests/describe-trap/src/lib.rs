//! A function whose `describe` panics. Its deployment must be refused.
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "the guest misbehaves on purpose")]

use roost_function::bindings::exports::roost::edge::handler::{Failure, Guest, Invocation, Manifest, Reply};

struct DescribeTrap;

impl Guest for DescribeTrap {
    fn describe() -> Manifest {
        panic!("no idea")
    }

    fn handle(_: Invocation) -> Result<Reply, Failure> {
        Ok(Reply { status: 200, body: String::new() })
    }
}

roost_function::bindings::export!(DescribeTrap with_types_in roost_function::bindings);
