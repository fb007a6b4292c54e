//! The Roost host: it loads functions (WebAssembly components of `roost:edge`), binds them to a store and to records,
//! and serves them over HTTP, WebSocket and Server-Sent Events. It knows no function by what it does.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod golden;

pub mod admin;
pub mod app;
pub mod audit;
pub mod auth;
pub mod beat;
pub mod build;
pub mod calls;
pub mod cli;
pub mod config;
pub mod dev;
pub mod error;
pub mod feed;
pub mod functions;
pub mod hooks;
pub mod http;
pub mod hub;
mod latency;
pub mod log;
pub mod mend;
pub mod metrics;
pub mod openapi;
pub mod public;
pub mod query;
pub mod records;
pub mod respond;
mod say;
pub mod schedule;
pub mod shutdown;
pub mod socket;
pub mod sse;
pub mod store;
pub mod sync;
pub mod token;
pub mod trace;
pub mod visit;
pub mod watch;
