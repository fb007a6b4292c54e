//! Every rule of Roost: presence, unread counters, last messages, messaging, contacts and typing.
//!
//! This crate never uses a clock, a socket, a file, a thread, randomness or the environment, and it depends neither on
//! WIT nor on a store. Each domain has the same two parts: `rules` decide from plain values, and `use_cases` read, ask
//! a rule, commit and try again after a lost race, through the ports in [`port`].

pub mod additions;
mod announcing;
pub mod consistency;
pub mod contacts;
pub mod documents;
pub mod error;
pub mod event;
pub mod feed;
pub mod idle;
pub mod ids;
mod insertion;
mod json_size;
pub mod key;
pub mod last_message;
pub mod limits;
pub mod live_state;
pub mod message_kind;
pub mod messaging;
pub mod outbox;
pub mod port;
pub mod presence;
pub mod recipients;
pub mod slot;
pub mod source;
mod spread;
mod store_answers;
mod store_calls;
mod stored_text;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod trigger;
pub mod typing;
pub mod unread;
