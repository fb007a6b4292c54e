//! The ten invariants of the design as oracles. Invariants that hold at all times are checked after every effect and
//! every answer; the others are checked in the final state. `addressed` checks a further one: a change and the events
//! for named users never diverge.

pub(crate) mod addressed;
pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod exact;
pub(crate) mod final_state;
pub(crate) mod membership;
pub(crate) mod presence;
pub(crate) mod screen;
pub(crate) mod views;
