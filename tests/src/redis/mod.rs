//! Real Redis servers for tests: a standalone server, and a Cluster of three primaries with one replica each.
//!
//! Every server has its own port and folder and ends with the test process, however that ends. Tests inject the faults
//! that servers meet in production: pauses, kills, restarts with or without data, failovers.

mod cluster;
mod guardian;
mod options;
mod sentinel;
mod standalone;
pub mod store;

pub use cluster::{ClusterClient, RedisCluster};
pub use options::{Data, Options, VALKEY};
pub use sentinel::{Protection, RedisSentinel};
pub use standalone::RedisServer;
