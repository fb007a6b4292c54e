//! HTTP on the public listener: the built-in routes of the host, and the routes that functions declare.
//!
//! Every error is answered as a problem document with a trace id. The composition root makes one `HttpService`.

mod body;
mod bounded_stream;
pub(crate) mod builtin;
mod connection_places;
mod connection_state;
pub(crate) mod connections;
mod cors;
mod head_timer;
mod metrics;
pub mod query;
pub(crate) mod response;
mod route;
mod serve;
mod service;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

pub(crate) use serve::{Answerer, HttpListener, Peer, serve};
pub(crate) use service::HttpService;
