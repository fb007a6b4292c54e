//! What operators see and use: the admin listener, logs, metrics, traces, the supervision of background tasks, the
//! consistency check and its repair, and signals.

pub mod admin;
pub mod consistency;
pub(crate) mod idle;
pub mod latency;
pub mod log;
pub mod metrics;
pub mod otlp;
pub(crate) mod outbox;
pub mod reconcile;
pub mod shutdown;
pub mod supervisor;
pub mod trace;
