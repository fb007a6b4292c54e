//! The real binary with real clients: HTTP and sockets, commands, deployments, hostile functions, several hosts, faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod additions;
mod big_answers;
mod deployments;
mod deployments_cluster;
mod deployments_under_load;
mod documents;
mod events;
mod fairness;
mod fairness_slow;
mod faults;
mod function_tests;
mod grants;
mod hostile;
mod hosts;
mod http;
mod logs;
mod new_function;
mod one_group;
mod openapi;
mod other_languages;
mod outages;
mod plain_forms;
mod quotas;
mod recovery;
mod redis_host;
mod reuse;
mod socket;
mod swap;
mod tracing;
mod triggers;
mod trust;
mod verify;
