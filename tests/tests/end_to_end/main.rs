//! The real binary with real clients: HTTP and sockets, commands, deployments, hostile functions, several hosts, faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod additions;
mod asyncapi;
mod big_answers;
mod browsers;
mod client;
mod client_browser;
mod client_faults;
mod client_types;
mod connections;
mod cors;
mod deployment_failures;
mod deployments;
mod deployments_cluster;
mod deployments_under_load;
mod documents;
mod done_again;
mod erasing;
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
mod moderation;
mod new_function;
mod nginx;
mod one_group;
mod openapi;
mod other_languages;
mod outages;
mod pairs;
mod permissions;
mod plain_forms;
mod publishing_grants;
mod quotas;
mod raw_http;
mod raw_websocket;
mod recovery;
mod redis_host;
mod refusals;
mod reuse;
mod screen;
mod socket;
mod swap;
mod token_keys;
mod token_secrecy;
mod tokens;
mod tracing;
mod triggers;
mod trust;
mod verify;
