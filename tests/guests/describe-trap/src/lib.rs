//! A function that cannot even say what it is: its deployment is refused.
#![cfg(target_family = "wasm")]
#![allow(clippy::panic, reason = "misbehaving is the point")]

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
