//! A function of a contract version that this host does not speak: its deployment is refused by version.
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
