//! The real binary with real clients: HTTP and sockets, commands, deployments, hostile functions, several hosts,
//! faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

/// What users do with each other: conversations and their members, messages, read positions, and who may do what.
mod chat {
    mod additions;
    mod big_answers;
    mod done_again;
    mod erasing;
    mod moderation;
    mod one_group;
    mod pairs;
    mod permissions;
    mod screen;
}

/// Tokens of users, and whom and what a host trusts.
mod credentials {
    mod token_keys;
    mod token_secrecy;
    mod tokens;
    mod trust;
}

/// Versions of functions on hosts that serve: deployed, replaced, taken back, and refused.
mod deploying {
    mod deployment_candidates;
    mod deployment_failures;
    mod deployments;
    mod deployments_cluster;
    mod deployments_under_load;
    mod swap;
}

/// What functions may do, what they use, and the tools of those who write them.
mod functions {
    mod documents;
    mod function_tests;
    mod grants;
    mod hostile;
    mod new_function;
    mod other_languages;
    mod plain_forms;
    mod publishing_grants;
    mod quotas;
    mod reuse;
    mod triggers;
}

/// The JavaScript client.
mod javascript {
    mod client;
    mod client_browser;
    mod client_faults;
    mod client_types;
}

/// What operators read and repair.
mod operations {
    mod logs;
    mod tracing;
    mod verify;
}

/// Users and clients who ask for too much.
mod overload {
    mod fairness;
    mod fairness_slow;
}

/// HTTP, sockets and event streams as clients, browsers and proxies see them, and their descriptions.
mod protocol {
    mod asyncapi;
    mod browsers;
    mod connections;
    mod cors;
    mod events;
    mod http;
    mod nginx;
    mod openapi;
    mod raw_http;
    mod raw_websocket;
    mod refusals;
    mod socket;
}

/// Hosts, stores and records that fail or are cut off.
mod resilience {
    mod faults;
    mod hosts;
    mod outages;
    mod recovery;
    mod redis_host;
}
