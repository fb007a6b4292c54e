//! The rules of presence: pure decisions from plain values. They do no IO and read no clock.

pub(super) mod disconnect;
pub(super) mod heartbeat;
pub(super) mod record;
pub(super) mod sweep;
