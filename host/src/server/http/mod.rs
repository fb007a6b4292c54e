//! The public listener's routes: the host's own four, and whatever the functions declare.
//!
//! Every answer that is an error is a problem document with a trace id. The composition root makes one
//! [`HttpService`]; nothing here makes parts.

mod body;
mod builtin;
mod head_timer;
mod metrics;
pub mod query;
pub mod response;
mod route;
mod serve;
mod service;
#[cfg(test)]
mod tests;

pub use serve::{Answerer, serve};
pub use service::HttpService;
