//! Delivery of events to the connections of this host: who is connected, what waits for each client, and how gaps in a
//! feed are repaired. Nothing here knows sockets, HTTP or functions, except the heartbeats, which call a hook.

pub mod event;
mod gap_repair;
pub mod heartbeat;
pub mod hub;
mod outbox;
mod registry;
#[cfg(test)]
mod tests;
mod user;

pub use outbox::{Batch, Item, Outbox, OutboxBounds, Overflowed, Room};
pub use user::Connection;
