//! The rules of presence. They decide from plain values, do no IO and read no clock.

pub(super) mod cut_off;
pub(super) mod devices;
pub(super) mod disconnect;
pub(super) mod heartbeat;
pub(super) mod outage;
pub(super) mod record;
pub(super) mod sweep;
