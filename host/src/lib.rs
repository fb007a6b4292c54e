//! The Roost host: it loads functions (WebAssembly components of `roost:edge`), binds them to a store and to records,
//! and serves them over HTTP, WebSocket and Server-Sent Events. It knows no function by what it does.

pub mod app;
pub mod cli;
pub mod config;
pub mod delivery;
#[cfg(test)]
#[path = "../../tests/golden/check.rs"]
pub(crate) mod golden;
mod http_answer;
pub mod ops;
pub mod records;
pub mod runtime;
pub mod server;
pub mod store;
