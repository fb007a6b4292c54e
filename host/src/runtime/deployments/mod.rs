//! Deployments: which revisions serve, on this host and on all hosts of a cluster, also after a restart.
//!
//! `desired` has the rules, `archive` the copy on disk, `cluster` the port to what hosts share, `verdict` the judgement
//! of canaries, `probe` the trial call, `preparing` the way from a component to a revision, with the `candidates` that
//! may be deployed soon. This file changes the desired state and lets this host follow it; `follow` does that in the
//! background. Losing the shared store loses no function: the copy on disk serves, and is written back.

mod archive;
mod candidates;
mod cluster;
mod deploy;
mod desired;
mod follow;
mod outcome;
mod preparing;
mod probe;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};

use tokio::sync::Mutex;
use uuid::Uuid;

use self::archive::Archive;
pub(crate) use self::candidates::CANDIDATES_MAX;
use self::candidates::Candidates;
pub(crate) use self::cluster::{ClusterDeployments, ClusterResult, HostReport};
pub(crate) use self::deploy::{DeployRequest, Stage};
pub(crate) use self::desired::{ChangeRefused, DesiredState};
use self::desired::{DeploymentChange, DesiredFunction};
use self::outcome::Replaced;
pub(crate) use self::outcome::{DeploymentError, DeploymentOutcome, FunctionStatus};
pub(crate) use self::probe::Probe;
pub(crate) use self::verdict::CanaryLimits;
use crate::runtime::loader::PreparedComponent;
use crate::runtime::registry::{BaseChange, Functions, Placement};
use crate::runtime::target::Target;
use crate::runtime::{CallCounts, Conflict, DeployError};
use crate::store::Store;

/// How often a change is made again because another function's deployments changed meanwhile.
const TRIES: usize = 8;

/// What deployments need to know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct DeploymentOptions {
    /// The folder of the copy on disk.
    pub(crate) folder: PathBuf,
    /// The folder with the components that serve without a deployment.
    pub(crate) functions_dir: PathBuf,
    /// The most bytes of all kept components.
    pub(crate) bytes_max: u64,
    /// When a canary is taken back.
    pub(crate) canary: CanaryLimits,
    /// The name of this host.
    pub(crate) host: String,
}

/// The deployments of this host. Clones share them.
#[derive(Clone)]
pub(crate) struct Deployments {
    shared: Arc<DeploymentsShared>,
}

struct DeploymentsShared {
    functions: Functions,
    archive: Archive,
    cluster: Option<Arc<dyn ClusterDeployments>>,
    /// Empty without a cluster.
    candidates: Candidates<PreparedComponent>,
    /// Its clock is the one of all hosts.
    store: Store,
    options: DeploymentOptions,
    /// Held during a change, so that this host makes one at a time.
    changing: Mutex<()>,
    followed: SyncMutex<Followed>,
}

/// What this host follows.
#[derive(Default)]
struct Followed {
    desired: DesiredState,
    /// Why a function does not run as desired, by name.
    problems: BTreeMap<String, Problem>,
    /// The calls at the time when a canary began, by the name of its function.
    baselines: BTreeMap<String, CanaryBaseline>,
    /// What the other hosts reported last.
    peers: BTreeMap<String, HostReport>,
}

/// Why this host does not run a function as desired.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    reason: String,
    /// The component itself was refused, so that trying again does not help.
    is_permanent: bool,
}

/// The calls at the time when a canary began.
#[derive(Clone, Copy, Debug)]
struct CanaryBaseline {
    revision: u64,
    canary: CallCounts,
    stable: CallCounts,
}

/// A change that can be made.
struct PlannedChange {
    next: DesiredState,
    placement: Placement,
    /// What serves the users without a canary, before and after.
    before: Option<Target>,
    after: Option<Target>,
    replaced: Option<Replaced>,
}

impl Deployments {
    /// Reads the copy on disk. Nothing serves because of it before [`Deployments::restore`].
    pub(crate) async fn open(functions: Functions, store: Store, options: DeploymentOptions) -> std::io::Result<Self> {
        let archive = Archive::new(options.folder.clone());
        let followed = Followed { desired: archive.load().await?, ..Followed::default() };
        let shared = DeploymentsShared {
            functions,
            archive,
            cluster: store.deployments(),
            candidates: Candidates::default(),
            store,
            options,
            changing: Mutex::default(),
            followed: SyncMutex::new(followed),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Lets the deployments serve that the copy on disk names, and then those of the cluster, if it can be asked. One
    /// that cannot serve is logged, and the component of the folder serves.
    pub(crate) async fn restore(&self) {
        let _changing = self.shared.changing.lock().await;
        let desired = self.followed().desired.clone();
        if desired.version > 0 {
            self.follow(desired).await;
        }
        if let Err(error) = self.latest().await {
            tracing::warn!(%error, "the deployments of the cluster are not known yet; the copy on disk serves");
        }
    }

    /// Reads the folder with the components again.
    pub(crate) async fn reload(&self) -> Result<BaseChange, Vec<DeployError>> {
        let _changing = self.shared.changing.lock().await;
        self.shared.functions.reload_dir(&self.shared.options.functions_dir).await
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.shared.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the desired state that this host follows.
    pub(crate) fn version(&self) -> u64 {
        self.followed().desired.version
    }

    /// The name of this host.
    pub(crate) fn host(&self) -> &str {
        &self.shared.options.host
    }

    /// Whether the deployments are those of several hosts.
    pub(crate) fn is_cluster(&self) -> bool {
        self.shared.cluster.is_some()
    }

    /// The numbers of the kept revisions of a function with the digests of their components, oldest first.
    pub(crate) fn revision_digests(&self, name: &str) -> Vec<(u64, String)> {
        let followed = self.followed();
        let kept =
            followed.desired.functions.get(name).map(|function| function.revisions.as_slice()).unwrap_or_default();
        kept.iter().map(|record| (record.revision, record.component.digest.clone())).collect()
    }

    /// Makes a change, lets this host follow it, and announces it to the others. `admit` may refuse it. A revision that
    /// is `prepared` already is not prepared again.
    async fn change(
        &self,
        name: &str,
        (change, prepared): (&DeploymentChange, Option<&Target>),
        admit: impl Fn(&PlannedChange) -> Result<(), DeploymentError>,
    ) -> Result<PlannedChange, DeploymentError> {
        let mut before = self.latest().await?;
        for _ in 0..TRIES {
            let planned = self.plan(name, &before, (change, prepared)).await?;
            admit(&planned)?;
            let placements = BTreeMap::from([(name.to_owned(), planned.placement.clone())]);
            self.shared.functions.check(&placements).map_err(|conflict| refused(name, conflict))?;
            if self.commit(&before, &planned.next).await? {
                self.serve(name, &planned, placements).await?;
                return Ok(planned);
            }
            let latest = self.latest().await?;
            if latest.functions.get(name) != before.functions.get(name) {
                break;
            }
            before = latest;
        }
        Err(DeploymentError::Superseded(name.to_owned()))
    }

    async fn plan(
        &self,
        name: &str,
        before: &DesiredState,
        (change, prepared): (&DeploymentChange, Option<&Target>),
    ) -> Result<PlannedChange, DeploymentError> {
        let mut next = before.after(name, change, Uuid::new_v4().to_string())?;
        next.prune(self.shared.options.bytes_max);
        let (kept, allowed) = (next.bytes(), self.shared.options.bytes_max);
        if kept > allowed {
            return Err(DeploymentError::NoRoom { kept, allowed });
        }
        let placement = self.resolve(name, next.functions.get(name), prepared).await?;
        let serving = self.shared.functions.stable(name);
        let replaced = serving.as_ref().map(|target| Replaced {
            version: target.manifest().version.clone(),
            digest: target.digest().to_owned(),
            revision: before.functions.get(name).and_then(|function| function.live),
        });
        let after = placement.live.clone().or_else(|| self.shared.functions.base(name));
        Ok(PlannedChange { next, placement, before: serving, after, replaced })
    }

    /// The revisions that serve according to the desired state. One of them may be `prepared` already.
    async fn resolve(
        &self,
        name: &str,
        function: Option<&DesiredFunction>,
        prepared: Option<&Target>,
    ) -> Result<Placement, DeploymentError> {
        let Some(function) = function else { return Ok(Placement::default()) };
        let live = match function.live {
            Some(revision) => Some(self.target(name, (function, revision), prepared).await?),
            None => None,
        };
        let canary = match &function.canary {
            Some(canary) => Some((self.target(name, (function, canary.revision), prepared).await?, canary.percent)),
            None => None,
        };
        Ok(Placement { live, canary })
    }

    /// Writes the next state unless another one was written meanwhile.
    async fn commit(&self, before: &DesiredState, next: &DesiredState) -> Result<bool, DeploymentError> {
        match &self.shared.cluster {
            Some(cluster) => {
                let replaced = cluster.replace(before.version, next).await;
                replaced.map_err(DeploymentError::StoreUnavailable)
            }
            None => {
                self.shared.archive.save(next).await?;
                Ok(true)
            }
        }
    }

    /// Lets this host follow a change that was committed.
    async fn serve(
        &self,
        name: &str,
        planned: &PlannedChange,
        placements: BTreeMap<String, Placement>,
    ) -> Result<(), DeploymentError> {
        let placed = self.shared.functions.place(&placements);
        let before = {
            let mut followed = self.followed();
            let before = std::mem::replace(&mut followed.desired, planned.next.clone());
            followed.problems.remove(name);
            if let Err(conflict) = &placed {
                let problem = Problem { reason: conflict.to_string(), is_permanent: false };
                followed.problems.insert(name.to_owned(), problem);
            }
            self.set_baseline(&mut followed, name);
            before
        };
        if let Some(cluster) = &self.shared.cluster {
            let sharing = self.update_shared_components(cluster.as_ref(), (&before, &planned.next));
            let (saved, ()) = tokio::join!(self.shared.archive.save(&planned.next), sharing);
            // The other hosts follow whether or not this host can write its copy, and the copy is written again later.
            if let Err(error) = saved {
                tracing::error!(%error, "the copy of the deployments cannot be written to the data directory; a restart needs the store");
            }
        }
        placed.map_err(|conflict| refused(name, conflict))
    }

    /// Keeps the components in the shared store that a change has named, and removes those that it has forgotten.
    async fn update_shared_components(
        &self,
        cluster: &dyn ClusterDeployments,
        (before, after): (&DesiredState, &DesiredState),
    ) {
        let (before, after) = (before.digests(), after.digests());
        for digest in after.difference(&before) {
            self.share_component(cluster, digest).await;
        }
        for digest in before.difference(&after) {
            // A component that is left behind costs memory until the store is emptied.
            let _ = cluster.remove_component(digest).await;
        }
    }

    /// Remembers the calls at the time when the canary of a function began.
    fn set_baseline(&self, followed: &mut Followed, name: &str) {
        let canary = followed.desired.functions.get(name).and_then(|function| function.canary.as_ref());
        let placed = self.shared.functions.placement(name).canary;
        let (Some(canary), Some((target, _))) = (canary, placed) else {
            followed.baselines.remove(name);
            return;
        };
        if followed.baselines.get(name).is_some_and(|baseline| baseline.revision == canary.revision) {
            return;
        }
        let stable = self.shared.functions.stable(name).map(|stable| stable.call_counts()).unwrap_or_default();
        let baseline = CanaryBaseline { revision: canary.revision, canary: target.call_counts(), stable };
        followed.baselines.insert(name.to_owned(), baseline);
    }
}

fn refused(name: &str, conflict: Conflict) -> DeploymentError {
    DeploymentError::Component(DeployError { source_name: name.to_owned(), failure: conflict.into() })
}

#[cfg(test)]
mod tests;
