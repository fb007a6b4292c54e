//! A function that imports an interface outside the contract. Its deployment must be refused, naming the import.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "acme:outside/foreign", generate_all });

use exports::roost::edge::handler::{Failure, Grants, Guest, Invocation, Manifest, Recipients, Reply};

struct Foreign;

impl Guest for Foreign {
    fn describe() -> Manifest {
        Manifest {
            name: "foreign-import".to_owned(),
            version: "0.1.0".to_owned(),
            routes: Vec::new(),
            messages: Vec::new(),
            socket: "{}".to_owned(),
            hooks: Vec::new(),
            schedules: Vec::new(),
            publications: Vec::new(),
            grants: Grants { read: Vec::new(), write: Vec::new(), publish: Recipients::Nobody, records: Vec::new() },
        }
    }

    fn handle(_: Invocation) -> Result<Reply, Failure> {
        Ok(Reply { status: 200, body: acme::outside::sockets::connect("192.0.2.1").to_string() })
    }
}

export!(Foreign);
