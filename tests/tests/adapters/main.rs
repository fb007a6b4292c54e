//! Every adapter of the store and of the records keeps the contract of its port, alone, under faults, and in memory
//! use.
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
mod conversation_bound;
mod documents_migration;
mod erasing;
mod fan_out;
#[path = "../../golden/check.rs"]
mod golden;
mod memory;
mod postgres;
mod postgres_plans;
mod postgres_pooled;
mod records_http;
mod records_migration;
mod records_outages;
mod records_properties;
mod records_wire;
mod redis_faults;
mod redis_keys;
mod redis_outages;
