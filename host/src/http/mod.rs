//! The public listener's routes: the host's own four, and whatever the functions declare.
//!
//! Every answer that is an error is a problem document with a trace id. The composition root makes one
//! [`Face`]; nothing here makes parts.

mod body;
mod count;
mod face;
mod head_timer;
mod own;
mod route;
mod serve;
#[cfg(test)]
mod tests;

pub use face::Face;
pub use serve::{Answerer, serve};
