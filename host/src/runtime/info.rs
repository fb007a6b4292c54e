//! What operators see of a revision that serves.

use serde::Serialize;

use super::grants::Grants;
use super::manifest::{Hook, Schedule};
use super::revision::Revision;

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
    pub reuse: bool,
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
            grants: revision.identity.grants,
            limits: LimitsInfo {
                memory_bytes_max: config.memory_bytes_max,
                deadline_ms: config.deadline.as_millis(),
                concurrency_max: config.concurrency_max,
                queue_max: config.queue_max,
                reply_bytes_max: config.reply_bytes_max,
                reuse: config.reuse,
            },
            in_flight: revision.metrics.in_flight(),
            calls: revision.metrics.calls(),
        }
    }
}
