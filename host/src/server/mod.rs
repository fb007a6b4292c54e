//! The public listener: HTTP, WebSocket and Server-Sent Events, authentication, and the errors that clients receive.
//!
//! What is `pub` here is used by the tests and benchmarks of `roost-tests`; everything else is for this crate.

pub(crate) mod asyncapi;
pub mod auth;
mod document_cache;
mod error_code;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod golden_tests;
pub mod http;
pub(crate) mod limits;
#[cfg(test)]
mod message_tests;
pub(crate) mod openapi;
pub mod problem;
pub(crate) mod refresh;
mod schema;
pub(crate) mod session;
pub(crate) mod sse;
pub(crate) mod state;
pub(crate) mod sync;
pub mod websocket;
