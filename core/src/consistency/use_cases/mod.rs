//! Looks at both sides, judges what was seen, and mends what does not agree.

mod repair;
mod snapshot;
mod verify;

pub use repair::repair;
pub use verify::verify;
