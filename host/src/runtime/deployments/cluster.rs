//! The port to what the hosts of a cluster share about deployments: the desired state, the components that it names,
//! and what each host reports. Redis implements it; a host with an embedded store has no cluster.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use roost_core::port::StoreError;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use super::desired::DesiredState;
use crate::runtime::CallCounts;

/// The answer of the shared store.
pub(crate) type ClusterResult<T> = Result<T, StoreError>;

/// What the hosts of a cluster share about deployments.
pub(crate) trait ClusterDeployments: Send + Sync {
    /// The desired state, as it was written; `None` if the store has none.
    fn state(&self) -> BoxFuture<'_, ClusterResult<Option<DesiredState>>>;

    /// Replaces the state if its version is still `before` (zero: there is none), and announces the change to all
    /// hosts. Returns whether the state was replaced. If there is no answer, it may have been.
    fn replace<'s>(&'s self, before: u64, next: &'s DesiredState) -> BoxFuture<'s, ClusterResult<bool>>;

    /// The component with this digest; `None` if the store does not have it, or not all of it.
    fn component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<Option<Vec<u8>>>>;

    /// Writes a component, unless the store has it. It is deleted after an hour unless it is kept with
    /// [`ClusterDeployments::keep_component`].
    fn put_component<'s>(&'s self, digest: &'s str, bytes: &'s [u8]) -> BoxFuture<'s, ClusterResult<()>>;

    /// Removes a component that is not kept.
    fn discard_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>>;

    /// Announces to all hosts that the component with this digest, which the store has, may be deployed soon.
    fn announce_candidate<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>>;

    /// Keeps a component until it is removed. Returns whether the store has all of it.
    fn keep_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<bool>>;

    /// Removes a component.
    fn remove_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>>;

    /// Writes what this host reports, and removes the reports of these hosts.
    fn report<'s>(&'s self, report: &'s HostReport, ended: &'s [String]) -> BoxFuture<'s, ClusterResult<()>>;

    /// What all hosts reported last, by host.
    fn reports(&self) -> BoxFuture<'_, ClusterResult<BTreeMap<String, HostReport>>>;

    /// Changes when a host has changed the state, and when a change may have been missed.
    fn announcements(&self) -> watch::Receiver<u64>;

    /// What is announced with [`ClusterDeployments::announce_candidate`], here or on another host. The oldest
    /// announcements are lost if they are not received in time, and any may be lost in between; the text may be
    /// anything.
    fn candidates(&self) -> broadcast::Receiver<String>;
}

/// What a host reports about the functions that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostReport {
    /// The name of the host.
    pub(crate) host: String,
    /// The time of the report on the clock of the store, in milliseconds since the Unix epoch.
    pub(crate) reported_at_ms: u64,
    /// The version of the desired state that the host follows.
    pub(crate) version: u64,
    /// The functions of the host, by name.
    pub(crate) functions: BTreeMap<String, ReportedFunction>,
}

/// What a host runs of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportedFunction {
    /// SHA-256 of the component that serves; `None` if none does.
    pub(crate) digest: Option<String>,
    /// The revision that serves; `None` if it is the component of the folder.
    pub(crate) revision: Option<u64>,
    /// The canary beside it, if there is one.
    pub(crate) canary: Option<ReportedCanary>,
    /// Why the host does not run what is desired; `None` if it does.
    pub(crate) problem: Option<String>,
}

/// The calls of a canary on one host, beside those of the revision that serves the other users, since the canary began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportedCanary {
    pub(crate) revision: u64,
    pub(crate) percent: u8,
    pub(crate) canary_calls: CallCounts,
    pub(crate) stable_calls: CallCounts,
}
