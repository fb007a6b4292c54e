//! What operators see of a revision that serves.

use serde::Serialize;

use super::grants::Grants;
use super::manifest::{Hook, Schedule};
use super::revision::Revision;
use crate::config::FunctionConfig;

/// A live function, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionInfo {
    /// The name of the function.
    pub name: String,
    /// The version in the manifest.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The routes, such as `GET /v1/presence/{user}`.
    pub routes: Vec<String>,
    /// The socket frame types that the function answers.
    pub messages: Vec<String>,
    /// The life-cycle hooks.
    pub hooks: Vec<Hook>,
    /// The ticks that the function asked for.
    pub schedules: Vec<Schedule>,
    /// The types of events for whose publication the function is called.
    pub publications: Vec<String>,
    /// What the function may do.
    pub grants: Grants,
    /// What the function may use.
    pub limits: LimitsInfo,
    /// How many calls have not ended.
    pub in_flight: usize,
    /// How many calls this revision had since it was deployed.
    pub calls: u64,
}

/// What a function may use, as operators see it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "as in `FunctionConfig`")]
pub struct LimitsInfo {
    pub memory_bytes_max: usize,
    pub deadline_ms: u128,
    pub concurrency_max: usize,
    pub queue_max: usize,
    pub reply_bytes_max: usize,
    pub calls_per_second_max: u32,
    pub store_operations_max: u64,
    pub store_read_bytes_max: u64,
    pub store_written_bytes_max: u64,
    pub records_operations_max: u64,
    pub publications_max: u64,
    pub log_bytes_max: u64,
    pub recorded_calls_per_second_max: u32,
    pub app_bytes_max: u64,
    pub documents_bytes_max: u64,
    pub reuse: bool,
}

impl LimitsInfo {
    const fn of(config: &FunctionConfig) -> Self {
        Self {
            memory_bytes_max: config.memory_bytes_max,
            deadline_ms: config.deadline.as_millis(),
            concurrency_max: config.concurrency_max,
            queue_max: config.queue_max,
            reply_bytes_max: config.reply_bytes_max,
            calls_per_second_max: config.calls_per_second_max,
            store_operations_max: config.store_operations_max,
            store_read_bytes_max: config.store_read_bytes_max,
            store_written_bytes_max: config.store_written_bytes_max,
            records_operations_max: config.records_operations_max,
            publications_max: config.publications_max,
            log_bytes_max: config.log_bytes_max,
            recorded_calls_per_second_max: config.recorded_calls_per_second_max,
            app_bytes_max: config.app_bytes_max,
            documents_bytes_max: config.documents_bytes_max,
            reuse: config.reuse,
        }
    }
}

impl FunctionInfo {
    pub(super) fn of(revision: &Revision) -> Self {
        let (manifest, config) = (&revision.manifest, &revision.config);
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            digest: revision.digest.clone(),
            routes: manifest.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect(),
            messages: manifest.messages.clone(),
            hooks: manifest.hooks.clone(),
            schedules: manifest.schedules.clone(),
            publications: manifest.publications.clone(),
            grants: revision.identity.grants,
            limits: LimitsInfo::of(config),
            in_flight: revision.metrics.in_flight(),
            calls: revision.metrics.calls(),
        }
    }
}
