//! Every adapter of the store and of the records keeps the contract of its port, alone, under faults, and in memory use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value fails the test"
)]

mod app_totals;
mod conformance_records;
mod conformance_redis;
mod conformance_store;
mod memory;
mod postgres;
mod postgres_plans;
mod records_http;
mod records_wire;
mod redis_faults;
mod redis_keys;
