//! Real Redis for tests: a standalone server, and a Cluster of three primaries with a replica each.
//!
//! Every server has a free port and a folder of its own and dies with the test's process, however that ends. Tests do
//! to it what happens to servers: it is paused, killed, restarted with or without its data, failed over.

mod cluster;
mod guardian;
mod options;
mod sentinel;
mod standalone;
pub mod store;

pub use cluster::{ClusterClient, RedisCluster};
pub use options::{Data, Options};
pub use sentinel::RedisSentinel;
pub use standalone::RedisServer;
pub(crate) use standalone::free_port;

use std::future::Future;
use std::time::{Duration, Instant};

/// How long a server may take for anything before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Returns when `holds` answers `true`.
///
/// # Panics
/// When it did not within [`DEADLINE`]; `what` says what was waited for.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
