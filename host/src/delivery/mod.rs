//! Delivery of events to the connections of this host: who is connected, what waits for each client, and how gaps in a
//! feed are repaired. Nothing here knows sockets, HTTP or functions, except the heartbeats, which call a hook.

pub(crate) mod disconnect;
pub mod event;
mod gap_repair;
pub(crate) mod heartbeat;
pub(crate) mod hub;
mod outbox;
mod registry;
#[cfg(test)]
mod tests;
mod user_feed;

pub(crate) use outbox::{OutboxBatch, OutboxClosed, OutboxItem};
pub(crate) use user_feed::Connection;
