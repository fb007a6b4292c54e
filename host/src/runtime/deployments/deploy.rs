//! The changes that operators make, and what they are shown.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::desired::{ComponentRecord, DeploymentChange};
use super::outcome::{
    DeploymentError, DeploymentOutcome, FunctionDetail, FunctionStatus, GrantsOutcome, HostOutcome, removals,
    route_changes,
};
use super::probe::Probe;
use super::{Deployments, PlannedChange};
use crate::ops::log::milliseconds;
use crate::runtime::loader::{CheckedComponent, ComponentBytes};
use crate::runtime::{Allowance, Target};

/// How long a change waits for the other hosts to follow it before it is answered.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);
/// The pauses between readings of their reports meanwhile. They grow, so that the answer is late by a part of the whole
/// time at most.
const REPORTS_PAUSE_MIN: Duration = Duration::from_millis(2);
const REPORTS_PAUSE_MAX: Duration = Duration::from_millis(30);

/// A component to deploy.
#[derive(Clone, Debug)]
pub(crate) struct DeployRequest {
    /// What errors call the component.
    pub(crate) source: String,
    /// The bytes of the component.
    pub(crate) bytes: Vec<u8>,
    /// The share of the users that it serves, in percent; `None`: it serves everybody.
    pub(crate) canary: Option<u8>,
    /// Whether the new version may lack routes, messages or hooks of the old one.
    pub(crate) allow_removals: bool,
    /// The grants that it is allowed besides those of the configuration, and how they were written.
    pub(crate) allow_grants: (Allowance, String),
    /// A call that the new version must answer before it serves.
    pub(crate) probe: Option<Probe>,
}

/// A step of a deployment that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// All bytes are there; what takes longest, compiling, begins.
    Received,
    /// Verified, compiled, linked and described.
    Prepared,
    /// The probe was answered as expected.
    Probed,
    /// Written to the disk and to the shared store.
    Stored,
    /// It serves on this host.
    Serving,
}

impl Stage {
    /// The name that operators see.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Prepared => "prepared",
            Self::Probed => "probed",
            Self::Stored => "stored",
            Self::Serving => "serving",
        }
    }
}

/// Measures the steps of a deployment and tells whoever waits for it.
struct Steps<'p> {
    progress: &'p (dyn Fn(Stage) + Sync),
    began: Instant,
    last: Instant,
    timings_ms: BTreeMap<&'static str, u64>,
}

impl<'p> Steps<'p> {
    fn start(progress: &'p (dyn Fn(Stage) + Sync)) -> Self {
        let now = Instant::now();
        Self { progress, began: now, last: now, timings_ms: BTreeMap::new() }
    }

    fn complete(&mut self, stage: Stage) {
        let now = Instant::now();
        self.timings_ms.insert(stage.as_str(), milliseconds(now - self.last));
        self.last = now;
        (self.progress)(stage);
    }

    fn end(mut self) -> BTreeMap<&'static str, u64> {
        self.timings_ms.insert("followed", milliseconds(self.last.elapsed()));
        self.timings_ms.insert("total", milliseconds(self.began.elapsed()));
        self.timings_ms
    }
}

impl Deployments {
    /// Deploys a component. If anything is wrong with it, nothing changes.
    pub(crate) async fn deploy(
        &self,
        mut request: DeployRequest,
        progress: &(dyn Fn(Stage) + Sync),
    ) -> Result<DeploymentOutcome, DeploymentError> {
        let steps = Steps::start(progress);
        progress(Stage::Received);
        let bytes = std::mem::take(&mut request.bytes);
        let hashing = move || ComponentBytes::of(bytes);
        let component = self.shared.functions.check_component(&request.source, hashing).await?;
        let deployed = self.deploy_checked(request, &component, steps).await;
        if let Err(error) = &deployed {
            self.discard(component.digest(), error).await;
        }
        deployed
    }

    /// Deploys a component that passed the first checks. It is stored, and prepared by the other hosts, while this host
    /// prepares it.
    async fn deploy_checked(
        &self,
        request: DeployRequest,
        component: &CheckedComponent,
        mut steps: Steps<'_>,
    ) -> Result<DeploymentOutcome, DeploymentError> {
        // Nothing is cancelled, so that what is stored for a refused component is known to be complete, and can be
        // removed.
        let (prepared, stored) =
            tokio::join!(self.prepare_upload(&request, component, &mut steps), self.store_component(component));
        let target = prepared?;
        stored?;
        let name = target.name().to_owned();
        let record = ComponentRecord {
            version: target.manifest().version.clone(),
            digest: target.digest().to_owned(),
            bytes: component.bytes().len() as u64,
            deployed_at_ms: self.shared.store.now().0,
            allow_grants: request.allow_grants.1,
        };
        let changing = self.shared.changing.lock().await;
        // Another change may have removed it, because nothing names it yet. From here on there are no other changes.
        if !self.shared.archive.has(component.digest()).await {
            self.shared.archive.put(component.digest(), component.bytes().clone()).await?;
        }
        steps.complete(Stage::Stored);
        let change = DeploymentChange::Deploy(record, request.canary);
        let admit = |planned: &PlannedChange| refuse_removals(planned, Some(&target), request.allow_removals);
        let planned = self.change(&name, (&change, Some(&target)), admit).await?;
        drop(changing);
        steps.complete(Stage::Serving);
        let hosts = self.followed_by(&name, planned.next.version).await;
        let outcome = outcome(&name, &planned, Some(&target), (hosts, steps.end()));
        log(&outcome, "deployed");
        Ok(outcome)
    }

    async fn prepare_upload(
        &self,
        request: &DeployRequest,
        component: &CheckedComponent,
        steps: &mut Steps<'_>,
    ) -> Result<Target, DeploymentError> {
        let target = self.uploaded(&request.source, component, request.allow_grants.0).await?;
        steps.complete(Stage::Prepared);
        if let Some(probe) = &request.probe {
            probe.run(&self.shared.functions, &target).await?;
            steps.complete(Stage::Probed);
        }
        Ok(target)
    }

    async fn store_component(&self, component: &CheckedComponent) -> Result<(), DeploymentError> {
        let archiving = self.shared.archive.put(component.digest(), component.bytes().clone());
        let (archived, announced) = tokio::join!(archiving, self.announce_candidate(component));
        archived?;
        announced
    }

    /// Writes a component to the shared store, and lets the other hosts prepare it.
    async fn announce_candidate(&self, component: &CheckedComponent) -> Result<(), DeploymentError> {
        let Some(cluster) = &self.shared.cluster else { return Ok(()) };
        let put = cluster.put_component(component.digest(), component.bytes()).await;
        put.map_err(DeploymentError::StoreUnavailable)?;
        // Hosts that do not hear of it prepare it when it is deployed.
        let _ = cluster.announce_candidate(component.digest()).await;
        Ok(())
    }

    /// Removes what was stored of a component that was refused, unless a deployment names it.
    async fn discard(&self, digest: &str, error: &DeploymentError) {
        if matches!(error, DeploymentError::StoreUnavailable(_) | DeploymentError::Disk(_)) {
            // The change may have been written although there was no answer. In the store, what nothing names expires.
            return;
        }
        let named = self.followed().desired.digests();
        if named.contains(digest) {
            return;
        }
        if let Some(cluster) = &self.shared.cluster {
            // If that fails, the component expires.
            let _ = cluster.discard_component(digest).await;
        }
        // The next change removes it otherwise.
        if let Ok(_changing) = self.shared.changing.try_lock() {
            let named = self.followed().desired.digests();
            let _ = self.shared.archive.retain(named).await;
        }
    }

    /// Returns to the revision before, or to a named one. With a canary and no named revision, the canary is taken
    /// back.
    pub(crate) async fn roll_back(
        &self,
        name: &str,
        revision: Option<u64>,
    ) -> Result<DeploymentOutcome, DeploymentError> {
        self.carry_out(name, &DeploymentChange::RollBack(revision), "rolled back", |_| Ok(())).await
    }

    /// Changes the share of the users that the canary serves.
    pub(crate) async fn set_canary(
        &self,
        name: &str,
        percent: u8,
        allow_removals: bool,
    ) -> Result<DeploymentOutcome, DeploymentError> {
        let admit = |planned: &PlannedChange| {
            // The version beside a canary of everybody serves no user any more. A smaller share was checked when the
            // canary was deployed.
            if percent < 100 {
                return Ok(());
            }
            let canary = planned.placement.canary.as_ref().map(|(canary, _)| canary);
            refuse_removals(planned, canary, allow_removals)
        };
        self.carry_out(name, &DeploymentChange::SetCanary(percent), "canary changed", admit).await
    }

    /// Lets the canary serve everybody. The version beside it may be a newer one than when the canary was deployed,
    /// because the folder may have been read again.
    pub(crate) async fn promote(&self, name: &str, allow_removals: bool) -> Result<DeploymentOutcome, DeploymentError> {
        let admit = |planned: &PlannedChange| refuse_removals(planned, planned.after.as_ref(), allow_removals);
        self.carry_out(name, &DeploymentChange::Promote, "canary promoted", admit).await
    }

    /// Lets the component of the folder serve again; nothing serves if there is none.
    pub(crate) async fn undeploy(
        &self,
        name: &str,
        allow_removals: bool,
    ) -> Result<DeploymentOutcome, DeploymentError> {
        let admit = |planned: &PlannedChange| refuse_removals(planned, planned.after.as_ref(), allow_removals);
        self.carry_out(name, &DeploymentChange::Undeploy, "undeployed", admit).await
    }

    /// Takes a canary back because its calls fail.
    pub(super) async fn withdraw(&self, name: &str, revision: u64, reason: String) -> Result<(), DeploymentError> {
        let change = DeploymentChange::Withdraw(revision, reason);
        self.carry_out(name, &change, "canary taken back", |_| Ok(())).await.map(drop)
    }

    /// Makes a change that brings no component, and waits for the hosts as long as a deployment does.
    async fn carry_out(
        &self,
        name: &str,
        change: &DeploymentChange,
        what: &str,
        admit: impl Fn(&PlannedChange) -> Result<(), DeploymentError>,
    ) -> Result<DeploymentOutcome, DeploymentError> {
        let mut steps = Steps::start(&|_| {});
        let changing = self.shared.changing.lock().await;
        let planned = self.change(name, (change, None), admit).await?;
        drop(changing);
        steps.complete(Stage::Serving);
        let hosts = self.followed_by(name, planned.next.version).await;
        let shown = match &planned.placement.canary {
            Some((canary, _)) => Some(canary.clone()),
            None => planned.after.clone(),
        };
        let outcome = outcome(name, &planned, shown.as_ref(), (hosts, steps.end()));
        log(&outcome, what);
        Ok(outcome)
    }

    /// Waits until every host follows this version of a function's deployments, within a bound.
    async fn followed_by(&self, name: &str, version: u64) -> Vec<HostOutcome> {
        if self.shared.cluster.is_none() {
            return vec![HostOutcome { host: self.shared.options.host.clone(), done: true, problem: None }];
        }
        let mut hosts = Vec::new();
        let following = async {
            let mut pause = REPORTS_PAUSE_MIN;
            loop {
                self.exchange_reports().await;
                hosts = self.host_outcomes(name, version);
                if hosts.iter().all(|host| host.done || host.problem.is_some()) {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 3 / 2).min(REPORTS_PAUSE_MAX);
            }
        };
        // After that time the answer says which hosts do not follow yet.
        let _ = timeout(FOLLOWED_WITHIN, following).await;
        hosts
    }

    fn host_outcomes(&self, name: &str, version: u64) -> Vec<HostOutcome> {
        let outcome = |report: &super::HostReport| {
            let problem = report.functions.get(name).and_then(|function| function.problem.clone());
            let follows = report.version >= version;
            HostOutcome {
                host: report.host.clone(),
                done: follows && problem.is_none(),
                problem: problem.filter(|_| follows),
            }
        };
        let own = self.report();
        let followed = self.followed();
        std::iter::once(&own).chain(followed.peers.values().filter(|peer| peer.host != own.host)).map(outcome).collect()
    }

    /// Every function that serves on this host, in the order of their names.
    pub(crate) fn list(&self) -> Vec<FunctionStatus> {
        let followed = self.followed();
        let status = |info: crate::runtime::FunctionInfo| {
            let desired = followed.desired.functions.get(&info.name);
            let is_deployed = self.shared.functions.placement(&info.name).live.is_some();
            let live = desired.and_then(|function| function.live_record());
            let served = live.filter(|record| is_deployed && record.component.digest == info.digest);
            FunctionStatus {
                source: if is_deployed { "deployment" } else { "file" },
                revision: served.map(|record| record.revision),
                canary: self.canary(&followed, &info.name),
                problem: followed.problems.get(&info.name).map(|problem| problem.reason.clone()),
                info,
            }
        };
        self.shared.functions.list().into_iter().map(status).collect()
    }

    /// What is kept of a function; `None` if nothing of this name serves or is kept.
    pub(crate) fn detail(&self, name: &str) -> Option<FunctionDetail> {
        let serving = self.list().into_iter().find(|function| function.info.name == name);
        let kept = self.followed().desired.functions.get(name).map(|function| function.revisions.clone());
        if serving.is_none() && kept.is_none() {
            return None;
        }
        Some(FunctionDetail { name: name.to_owned(), serving, revisions: kept.unwrap_or_default(), hosts: None })
    }

    /// What every host runs, as the hosts report it; only this host without a cluster.
    pub(crate) async fn hosts(&self) -> Vec<super::HostReport> {
        self.exchange_reports().await;
        let own = self.report();
        let followed = self.followed();
        let others = followed.peers.values().filter(|peer| peer.host != own.host).cloned();
        std::iter::once(own.clone()).chain(others).collect()
    }
}

/// Refuses a change after which the function lacks something that it offers now, unless that is allowed. `after` is
/// what serves then; `None` stands for nothing.
fn refuse_removals(
    planned: &PlannedChange,
    after: Option<&Target>,
    allow_removals: bool,
) -> Result<(), DeploymentError> {
    let removed = removals(planned.before.as_ref().map(Target::manifest), after.map(Target::manifest));
    if removed.is_empty() || allow_removals { Ok(()) } else { Err(DeploymentError::RemovalsRefused(removed)) }
}

fn outcome(
    name: &str,
    planned: &PlannedChange,
    shown: Option<&Target>,
    (hosts, timings_ms): (Vec<HostOutcome>, BTreeMap<&'static str, u64>),
) -> DeploymentOutcome {
    let function = planned.next.functions.get(name);
    let canary = function.and_then(|function| function.canary.as_ref());
    let revision = canary.map(|canary| canary.revision).or_else(|| function.and_then(|function| function.live));
    DeploymentOutcome {
        name: name.to_owned(),
        version: shown.map(|target| target.manifest().version.clone()),
        digest: shown.map(|target| target.digest().to_owned()),
        revision,
        canary: canary.map(|canary| canary.percent),
        replaced: planned.replaced.clone(),
        routes: route_changes(planned.before.as_ref().map(Target::manifest), shown.map(Target::manifest)),
        grants: shown.map(|target| GrantsOutcome { asked: target.manifest().asks, given: target.grants() }),
        hosts,
        timings_ms,
    }
}

fn log(outcome: &DeploymentOutcome, what: &str) {
    tracing::info!(
        function = outcome.name,
        version = outcome.version,
        revision = outcome.revision,
        canary_percent = outcome.canary,
        hosts = outcome.hosts.iter().filter(|host| host.done).count(),
        took_ms = outcome.timings_ms.get("total"),
        "function {what}"
    );
}
