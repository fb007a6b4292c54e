//! The Roost host: it loads functions (WebAssembly components of `roost:edge`), binds them to a store and to records,
//! and serves them over HTTP, WebSocket and Server-Sent Events. It knows no function by what it does.

pub mod config;
pub mod records;
pub mod store;
