//! A revision of a function as the rest of the host holds it: its name, what it offers, and what it may do.

use std::sync::Arc;
use std::time::Duration;

use super::grants::Grants;
use super::info::FunctionInfo;
use super::manifest::Manifest;
use super::metrics::CallCounts;
use super::revision::Revision;
use super::routes::Described;

/// One revision of one function, which can be called. A target keeps its revision alive.
#[derive(Clone)]
pub struct Target(pub(super) Arc<Revision>);

impl Target {
    /// The name of the function.
    pub fn name(&self) -> &str {
        &self.0.manifest.name
    }

    /// The first letters of the digest of the component.
    pub fn revision(&self) -> &str {
        &self.0.identity.revision
    }

    /// SHA-256 of the component, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// What the function offers and asks for.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// What the function may do.
    pub fn grants(&self) -> Grants {
        self.0.identity.grants
    }

    /// How the calls of this revision have ended so far.
    pub(crate) fn call_counts(&self) -> CallCounts {
        self.0.metrics.counts()
    }

    /// How operators see the revision.
    pub fn info(&self) -> FunctionInfo {
        FunctionInfo::of(&self.0)
    }

    /// Whether a newer revision has replaced it, so that it keeps no instances between calls.
    pub(super) fn is_retired(&self) -> bool {
        self.0.is_retired()
    }

    pub(super) fn described(&self) -> Described<Self> {
        Described { manifest: Arc::clone(&self.0.manifest), target: self.clone() }
    }

    /// Whether the function is called for publications of this type.
    pub(super) fn is_called_for(&self, event: &str) -> bool {
        self.0.manifest.publications.iter().any(|publication| publication == event)
    }

    /// The longest time that a call can take: it waits for admission, then it runs.
    pub(super) fn call_time_max(&self) -> Duration {
        self.0.config.deadline * 2
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Target {}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name(), self.revision())
    }
}
