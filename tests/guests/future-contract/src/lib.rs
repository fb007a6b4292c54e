//! A function for a contract version that this host does not support. Its deployment must be refused, naming the version.
#![cfg(target_family = "wasm")]
#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated bindings")]

wit_bindgen::generate!({ path: "wit", world: "function" });

use exports::roost::edge::handler::Guest;

struct Future;

impl Guest for Future {
    fn describe() -> String {
        "from the future".to_owned()
    }

    fn handle(_: String) -> String {
        roost::edge::clock::now().to_string()
    }
}

export!(Future);
