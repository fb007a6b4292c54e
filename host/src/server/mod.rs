//! The public listener: HTTP, WebSocket and Server-Sent Events, authentication, and the errors that clients are shown.

pub mod auth;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod golden;
pub mod http;
pub mod openapi;
pub mod problem;
pub mod session;
pub mod sse;
pub mod state;
pub mod sync;
pub mod websocket;
