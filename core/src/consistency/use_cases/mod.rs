//! The use cases of the consistency check: read and compare both sides, judge the differences, and repair them.

mod compare;
mod repair;
mod unannounced;
mod verify;

pub use repair::repair;
pub use verify::verify;
