//! Every rule of Roost: presence, unread counters, last messages, messaging, contacts, typing.
//!
//! This crate never touches a clock, a socket, a file, a thread, randomness or the environment, and knows
//! neither WIT nor a store. A rule decides from plain values; the use cases read, ask the rule,
//! commit and try again, through the ports in [`port`].

pub mod consistency;
pub mod contacts;
pub mod error;
pub mod event;
pub mod feed;
pub mod ids;
pub mod key;
pub mod last_message;
pub mod limits;
pub mod messaging;
pub mod port;
pub mod presence;
pub mod source;
mod store_answers;
mod store_calls;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod typing;
pub mod unread;
