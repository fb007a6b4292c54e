//! Rust bindings generated from the contract in `wit/`. Only `edge`, `invocation`, `function`, `log` and the
//! `function!` macro of this crate use them; everything else uses the core's types.

#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated from wit/, which holds the documentation")]
#![allow(clippy::all, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "function",
    pub_export_macro: true,
    // Arguments are borrowed: an event for a thousand members is not copied a thousand times.
    ownership: Borrowing { duplicate_if_necessary: true },
});
