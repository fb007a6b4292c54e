//! The nine invariants of the design as oracles: what is meaningful at every moment is looked at after every effect
//! and every answer, the rest once the world has come to rest.

pub(crate) mod counters;
pub(crate) mod delivery;
pub(crate) mod people;
pub(crate) mod presence;
pub(crate) mod settled;
pub(crate) mod views;
