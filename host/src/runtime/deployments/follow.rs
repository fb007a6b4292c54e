//! Follows the desired state in the background: what other hosts changed, what could not be done before, and canaries
//! that must be taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::cluster::{HostReport, ReportedCanary, ReportedFunction};
use super::desired::DesiredState;
use super::outcome::DeploymentError;
use super::verdict::reason_to_withdraw;
use super::{ClusterDeployments, Deployments, Followed, Problem};
use crate::ops::log::log_own_action;
use crate::ops::metrics;
use crate::runtime::registry::Placement;

/// How often the desired state is read even if no change was announced.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);
/// How often canaries are judged.
const JUDGE_INTERVAL: Duration = Duration::from_millis(250);
/// In one of so many rounds, the components in the shared store are looked after.
const COMPONENTS_EVERY: u64 = 8;
/// A host whose last report is older is taken for stopped.
const REPORT_LIFE_MS: u64 = 10_000;

impl Problem {
    fn of(error: &DeploymentError) -> Self {
        Self { reason: error.to_string(), is_permanent: matches!(error, DeploymentError::Component(_)) }
    }
}

impl Deployments {
    /// Follows what other hosts change, until the future is dropped. Without a cluster there is nothing to follow.
    pub(crate) async fn follow_cluster(self) {
        let Some(cluster) = self.shared.cluster.clone() else { return std::future::pending().await };
        let mut announcements = cluster.announcements();
        let mut round: u64 = 0;
        loop {
            announcements.mark_unchanged();
            let is_current = {
                let _changing = self.shared.changing.lock().await;
                // Without the store, the copy on disk serves.
                let is_current = self.latest().await.is_ok();
                if is_current {
                    self.retry_problems().await;
                }
                is_current
            };
            // Whoever deploys waits for it.
            self.exchange_reports().await;
            if is_current {
                self.maintain_components(cluster.as_ref(), round).await;
            }
            round += 1;
            tokio::select! {
                _ = announcements.changed() => {}
                () = sleep(FOLLOW_INTERVAL) => {}
            }
        }
    }

    /// Takes canaries back whose calls fail, until the future is dropped.
    pub(crate) async fn watch_canaries(self) {
        loop {
            sleep(JUDGE_INTERVAL).await;
            for (name, revision, reason) in self.failing_canaries() {
                tracing::warn!(function = name, revision, reason, "the canary is taken back");
                let detail = format!("the canary {name}, revision {revision}, was taken back: {reason}");
                match self.withdraw(&name, revision, reason).await {
                    Ok(()) => {
                        metrics::CANARIES_WITHDRAWN.of([&name]).inc();
                        log_own_action("canary", "ok", &detail);
                    }
                    // Another host, or an operator, was faster.
                    Err(DeploymentError::Change(_) | DeploymentError::Superseded(_)) => {}
                    Err(error) => {
                        tracing::error!(function = name, %error, "the canary cannot be taken back; trying again")
                    }
                }
            }
        }
    }

    fn failing_canaries(&self) -> Vec<(String, u64, String)> {
        let followed = self.followed();
        let judge = |name: &String| {
            let own = self.canary(&followed, name)?;
            let others = followed.peers.values().filter(|peer| peer.host != self.shared.options.host);
            let of_revision = others.filter_map(|peer| {
                peer.functions.get(name)?.canary.as_ref().filter(|canary| canary.revision == own.revision)
            });
            let (canary, stable) = of_revision.fold((own.canary_calls, own.stable_calls), |(canary, stable), other| {
                (canary.plus(&other.canary_calls), stable.plus(&other.stable_calls))
            });
            let reason = reason_to_withdraw(&stable, &canary, self.shared.options.canary)?;
            Some((name.clone(), own.revision, reason))
        };
        followed.baselines.keys().filter_map(judge).collect()
    }

    /// The calls of a function's canary on this host; `None` without a canary.
    pub(super) fn canary(&self, followed: &Followed, name: &str) -> Option<ReportedCanary> {
        let baseline = followed.baselines.get(name)?;
        let (canary, percent) = self.shared.functions.placement(name).canary?;
        let stable = self.shared.functions.stable(name).map(|stable| stable.call_counts()).unwrap_or_default();
        Some(ReportedCanary {
            revision: baseline.revision,
            percent,
            canary_calls: canary.call_counts().since(&baseline.canary),
            stable_calls: stable.since(&baseline.stable),
        })
    }

    /// The newest state of the cluster, which this host follows by then. If the shared store lost it, it is written
    /// again.
    pub(super) async fn latest(&self) -> Result<DesiredState, DeploymentError> {
        let own = self.followed().desired.clone();
        let Some(cluster) = &self.shared.cluster else { return Ok(own) };
        let shared = cluster.state().await.map_err(DeploymentError::StoreUnavailable)?.unwrap_or_default();
        if shared.version < own.version {
            let restored = cluster.replace(shared.version, &own).await.map_err(DeploymentError::StoreUnavailable)?;
            if restored {
                tracing::warn!(version = own.version, "the store had lost the deployments; this host wrote them again");
                self.share_components(cluster.as_ref()).await;
                return Ok(own);
            }
            // Another host wrote its state first; the next round follows it.
            return Err(DeploymentError::Superseded("of another host".to_owned()));
        }
        if shared.replaces(&own) {
            self.follow(shared.clone()).await;
            return Ok(shared);
        }
        Ok(own)
    }

    /// Lets this host serve what a state desires. What it cannot serve is left as it is, and named as a problem.
    pub(super) async fn follow(&self, next: DesiredState) {
        let before = self.followed().desired.clone();
        let names: BTreeSet<String> = before.functions.keys().chain(next.functions.keys()).cloned().collect();
        let (mut placements, mut problems) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            match self.resolve(&name, next.functions.get(&name), None).await {
                Ok(placement) => drop(placements.insert(name, placement)),
                Err(error) => drop(problems.insert(name, Problem::of(&error))),
            }
        }
        problems.extend(self.place(placements));
        if before != next {
            tracing::info!(
                version = next.version,
                functions = next.functions.len(),
                "this host follows the deployments"
            );
            if let Err(error) = self.shared.archive.save(&next).await {
                tracing::error!(%error, "the copy of the deployments cannot be written to the data directory; a restart needs the store");
            }
        }
        let mut followed = self.followed();
        for (function, problem) in
            problems.iter().filter(|(name, problem)| followed.problems.get(*name) != Some(problem))
        {
            let reason = &problem.reason;
            tracing::error!(function, reason, "this host cannot run the deployed revision and keeps what it runs");
        }
        followed.desired = next;
        followed.problems = problems;
        let names: Vec<String> = followed.desired.functions.keys().cloned().collect();
        for name in names {
            self.set_baseline(&mut followed, &name);
        }
    }

    /// Places everything in one step, or what is possible one by one. Returns the problems of what is not.
    fn place(&self, mut placements: BTreeMap<String, Placement>) -> BTreeMap<String, Problem> {
        if self.shared.functions.place(&placements).is_ok() {
            return BTreeMap::new();
        }
        loop {
            let (mut placed, mut problems) = (Vec::new(), BTreeMap::new());
            for (name, placement) in &placements {
                let one = BTreeMap::from([(name.clone(), placement.clone())]);
                match self.shared.functions.place(&one) {
                    Ok(()) => placed.push(name.clone()),
                    Err(conflict) => {
                        let problem = Problem { reason: conflict.to_string(), is_permanent: false };
                        problems.insert(name.clone(), problem);
                    }
                }
            }
            // What one function gave up may be what another one needs.
            if placed.is_empty() || problems.is_empty() {
                return problems;
            }
            placements.retain(|name, _| !placed.contains(name));
        }
    }

    /// Tries again what could not be done, unless a component itself was refused.
    async fn retry_problems(&self) {
        let desired = {
            let followed = self.followed();
            followed.problems.values().any(|problem| !problem.is_permanent).then(|| followed.desired.clone())
        };
        if let Some(desired) = desired {
            self.follow(desired).await;
        }
    }

    /// Removes the components of candidates that were not deployed, and looks after those in the shared store from time
    /// to time.
    async fn maintain_components(&self, cluster: &dyn ClusterDeployments, round: u64) {
        let is_any_removed = self.shared.candidates.remove_expired();
        let is_sharing_due = round.is_multiple_of(COMPONENTS_EVERY);
        if !is_any_removed && !is_sharing_due {
            return;
        }
        let _changing = self.shared.changing.lock().await;
        if is_any_removed {
            let named = self.followed().desired.digests();
            // The next change removes what is left.
            let _ = self.shared.archive.retain(named).await;
        }
        if is_sharing_due {
            self.share_components(cluster).await;
        }
    }

    /// Writes the components into the shared store that it does not have.
    async fn share_components(&self, cluster: &dyn ClusterDeployments) {
        let digests = self.followed().desired.digests();
        for digest in digests {
            self.share_component(cluster, &digest).await;
        }
    }

    /// Keeps a component in the shared store, and writes it there if the store does not have it. If that fails, it is
    /// tried again in the background.
    pub(super) async fn share_component(&self, cluster: &dyn ClusterDeployments, digest: &str) {
        if !matches!(cluster.keep_component(digest).await, Ok(false)) {
            return;
        }
        if let Some(component) = self.shared.archive.component(digest).await
            && cluster.put_component(digest, component.bytes()).await.is_ok()
        {
            let _ = cluster.keep_component(digest).await;
        }
    }

    /// Writes what this host runs, and reads what the others run.
    pub(super) async fn exchange_reports(&self) {
        let Some(cluster) = &self.shared.cluster else { return };
        let now = self.shared.store.now().0;
        let own = self.report();
        // If it is not written, the next round reports again.
        let (_, reports) = tokio::join!(cluster.report(&own, &[]), cluster.reports());
        let Ok(reports) = reports else { return };
        let (fresh, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            reports.into_iter().partition(|(_, report)| report.reported_at_ms + REPORT_LIFE_MS > now);
        let ended: Vec<String> = ended.into_keys().collect();
        self.followed().peers = fresh;
        if !ended.is_empty() {
            let _ = cluster.report(&own, &ended).await;
        }
    }

    /// What this host runs.
    pub(super) fn report(&self) -> HostReport {
        let functions = self.list().into_iter().map(|status| {
            let function = ReportedFunction {
                digest: Some(status.info.digest),
                revision: status.revision,
                canary: status.canary,
                problem: status.problem,
            };
            (status.info.name, function)
        });
        let mut functions: BTreeMap<String, ReportedFunction> = functions.collect();
        let followed = self.followed();
        for (name, problem) in &followed.problems {
            functions.entry(name.clone()).or_default().problem = Some(problem.reason.clone());
        }
        HostReport {
            host: self.shared.options.host.clone(),
            reported_at_ms: self.shared.store.now().0,
            version: followed.desired.version,
            functions,
        }
    }
}
