//! Makes revisions of components for deployments.
//!
//! A host that receives an upload announces its component, a *candidate*, before it is decided whether the component is
//! deployed. All hosts of a cluster prepare it then at the same time. What it is allowed is decided by each host when
//! the desired state names it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::desired::DesiredFunction;
use super::outcome::DeploymentError;
use super::{Deployments, archive};
use crate::runtime::loader::{CheckedComponent, ComponentBytes, PreparedComponent, is_digest};
use crate::runtime::{Allowance, Target};

/// What logs call a component that another host may be about to deploy.
const CANDIDATE: &str = "a candidate";

/// A component that a host has found.
struct FoundComponent {
    component: ComponentBytes,
    /// Whether it is on the disk; otherwise it comes from the shared store.
    is_archived: bool,
}

impl Deployments {
    /// Prepares the components that other hosts announce, one at a time, until the future is dropped. Without a cluster
    /// there are none.
    pub(crate) async fn prepare_candidates(self) {
        let Some(cluster) = self.shared.cluster.clone() else { return std::future::pending().await };
        let mut announced = cluster.candidates();
        loop {
            match announced.recv().await {
                Ok(digest) => self.prepare_candidate(&digest).await,
                // Those that were missed are prepared when they are deployed.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    /// Prepares a component that a host has announced. A failure is reported when it is deployed, if it ever is.
    pub(super) async fn prepare_candidate(&self, digest: &str) {
        if !is_digest(digest) || self.shared.functions.kept(digest).is_some() {
            return;
        }
        let Some(preparation) = self.shared.candidates.begin_announced(digest) else { return };
        let is_remembered = match self.prepare_stored(CANDIDATE, digest).await {
            Ok(Some(prepared)) => {
                preparation.end(Arc::new(prepared));
                true
            }
            Ok(None) => {
                tracing::debug!(digest, "a component that was announced is not in the store");
                false
            }
            Err(error) => {
                tracing::debug!(digest, %error, "a component that was announced cannot be prepared");
                matches!(error, DeploymentError::Component(_))
            }
        };
        if !is_remembered {
            self.shared.candidates.forget(digest);
        }
    }

    /// Makes a revision of a component that was uploaded.
    pub(super) async fn uploaded(
        &self,
        source: &str,
        component: &CheckedComponent,
        by_deployer: Allowance,
    ) -> Result<Target, DeploymentError> {
        let functions = &self.shared.functions;
        if let Some(kept) = functions.kept_with(source, component.digest(), by_deployer)? {
            return Ok(kept);
        }
        let prepared = self.prepare_once(component.digest(), self.prepare_checked(source, component)).await?;
        Ok(functions.new_revision(source, &prepared, by_deployer)?)
    }

    /// The revision with this number. It may be `prepared` already.
    pub(super) async fn target(
        &self,
        name: &str,
        (function, revision): (&DesiredFunction, u64),
        prepared: Option<&Target>,
    ) -> Result<Target, DeploymentError> {
        let missing = || DeploymentError::ComponentMissing { function: name.to_owned(), revision };
        let component = function.record(revision).map(|record| &record.component).ok_or_else(missing)?;
        let digest = &component.digest;
        if let Some(kept) = self.shared.functions.kept(digest) {
            return Ok(kept);
        }
        // A revision that served when it was prepared may have been replaced since.
        if let Some(prepared) = prepared.filter(|target| target.digest() == digest && !target.is_retired()) {
            return Ok(prepared.clone());
        }
        let source = format!("{name} (revision {revision})");
        let preparing = async { self.prepare_stored(&source, digest).await?.ok_or_else(missing) };
        let prepared = self.prepare_once(digest, preparing).await?;
        if !self.is_archived(digest).await? {
            return Err(missing());
        }
        // The names were read when it was deployed; what another version of the host cannot read allows nothing.
        let by_deployer = Allowance::parse(&component.allow_grants).unwrap_or(Allowance::NOTHING);
        Ok(self.shared.functions.new_revision(&source, &prepared, by_deployer)?)
    }

    /// The prepared component with this digest. `preparing` runs unless this host is preparing the component already,
    /// or has done so a short time ago.
    async fn prepare_once(
        &self,
        digest: &str,
        preparing: impl Future<Output = Result<PreparedComponent, DeploymentError>>,
    ) -> Result<Arc<PreparedComponent>, DeploymentError> {
        if self.shared.cluster.is_none() {
            // Nobody announces anything, and nothing is kept.
            return Ok(Arc::new(preparing.await?));
        }
        if let Some(prepared) = self.shared.candidates.prepared(digest).await {
            return Ok(prepared);
        }
        let preparation = self.shared.candidates.begin(digest);
        let prepared = Arc::new(preparing.await?);
        if let Some(preparation) = preparation {
            preparation.end(Arc::clone(&prepared));
        }
        Ok(prepared)
    }

    async fn prepare_checked(
        &self,
        source: &str,
        component: &CheckedComponent,
    ) -> Result<PreparedComponent, DeploymentError> {
        Ok(self.shared.functions.prepare_component(source, component).await?)
    }

    /// Prepares a component that is on the disk or in the shared store, and writes it to the disk meanwhile. `None` if
    /// it is in neither.
    async fn prepare_stored(&self, source: &str, digest: &str) -> Result<Option<PreparedComponent>, DeploymentError> {
        let Some(FoundComponent { component, is_archived }) = self.component(digest).await? else { return Ok(None) };
        let component = self.shared.functions.check_component(source, move || component).await?;
        let archiving = async {
            if is_archived { Ok(()) } else { self.shared.archive.put(digest, component.bytes().clone()).await }
        };
        let (prepared, archived) = tokio::join!(self.prepare_checked(source, &component), archiving);
        let prepared = prepared?;
        archived?;
        Ok(Some(prepared))
    }

    /// Whether a component is on the disk. One that was prepared before a deployment named it may have been removed
    /// since; it is then written again.
    async fn is_archived(&self, digest: &str) -> Result<bool, DeploymentError> {
        if self.shared.archive.has(digest).await {
            return Ok(true);
        }
        let Some(found) = self.component(digest).await? else { return Ok(false) };
        if !found.is_archived {
            self.shared.archive.put(digest, found.component.bytes().clone()).await?;
        }
        Ok(true)
    }

    /// A component, from the disk or from the other hosts.
    async fn component(&self, digest: &str) -> Result<Option<FoundComponent>, DeploymentError> {
        if let Some(component) = self.shared.archive.component(digest).await {
            return Ok(Some(FoundComponent { component, is_archived: true }));
        }
        let Some(cluster) = &self.shared.cluster else { return Ok(None) };
        let fetched = cluster.component(digest).await.map_err(DeploymentError::StoreUnavailable)?;
        let Some(bytes) = fetched else { return Ok(None) };
        let component = archive::hashed(bytes).await?;
        let is_intact = component.digest() == digest;
        Ok(is_intact.then_some(FoundComponent { component, is_archived: false }))
    }
}
