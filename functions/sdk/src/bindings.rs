//! The contract as generated Rust. Only this crate's `edge`, `invocation`, `function`, `log` and the `function!` macro
//! look in here; everybody else speaks the core's types.

#![allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated from wit/, which holds the documentation")]
#![allow(clippy::all, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "function",
    pub_export_macro: true,
    // What goes out is lent: a message to a thousand members is not copied a thousand times.
    ownership: Borrowing { duplicate_if_necessary: true },
});
