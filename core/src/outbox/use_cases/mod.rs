//! The use cases of the outbox: a commit with entries, and recovery.

mod commit;
mod deliver;
mod recover;

pub use commit::{CausedTrigger, OutboxRequest, commit};
pub use recover::{DueShards, OutboxRecovery, due_shards, recover};
