//! What deployments answer: the outcome of a change, what is kept of a function, and why a change was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use roost_core::port::StoreError;
use serde::Serialize;

use super::cluster::{HostReport, ReportedCanary};
use super::desired::{ChangeRefused, RevisionRecord};
use super::probe::ProbeFailed;
use crate::runtime::manifest::Manifest;
use crate::runtime::{DeployError, FunctionInfo, Grants};

/// What a change of a function's deployments did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeploymentOutcome {
    /// The name of the function.
    pub(crate) name: String,
    /// The version in the manifest of the revision that was changed; `None` if nothing serves any more.
    pub(crate) version: Option<String>,
    /// SHA-256 of its component.
    pub(crate) digest: Option<String>,
    /// The number of the revision; `None` if it is the component of the folder, or nothing.
    pub(crate) revision: Option<u64>,
    /// The share of the users, in percent, if it serves as a canary.
    pub(crate) canary: Option<u8>,
    /// What served before; `None` if the function is new.
    pub(crate) replaced: Option<Replaced>,
    /// The routes that the change added and removed.
    pub(crate) routes: RouteChanges,
    /// The grants that the function asked for, and those that it has.
    pub(crate) grants: Option<GrantsOutcome>,
    /// What each host of the cluster runs now; only this host without a cluster.
    pub(crate) hosts: Vec<HostOutcome>,
    /// How long the steps took.
    pub(crate) timings_ms: BTreeMap<&'static str, u64>,
}

/// The revision that served before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Replaced {
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) revision: Option<u64>,
}

/// The routes that a change added and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RouteChanges {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
}

/// The grants of a revision.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GrantsOutcome {
    pub(crate) asked: Grants,
    pub(crate) given: Grants,
}

/// Whether a host follows the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HostOutcome {
    /// The name of the host.
    pub(crate) host: String,
    /// Whether the host serves what is desired.
    pub(crate) done: bool,
    /// Why it does not.
    pub(crate) problem: Option<String>,
}

/// A function as operators see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FunctionStatus {
    #[serde(flatten)]
    pub(crate) info: FunctionInfo,
    /// `file`: the component of the folder; `deployment`.
    pub(crate) source: &'static str,
    /// The number of the revision that serves, if it was deployed.
    pub(crate) revision: Option<u64>,
    /// The canary beside it, with the calls of both on this host since the canary began.
    pub(crate) canary: Option<ReportedCanary>,
    /// Why this host does not run what is desired; `None` if it does.
    pub(crate) problem: Option<String>,
}

/// A function with everything that is kept of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FunctionDetail {
    /// The name of the function.
    pub(crate) name: String,
    /// What serves; `None` if nothing does.
    pub(crate) serving: Option<FunctionStatus>,
    /// The kept revisions, oldest first.
    pub(crate) revisions: Vec<RevisionRecord>,
    /// What every host reports; only with `cluster=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Vec<HostReport>>,
}

/// Why a change of deployments was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeploymentError {
    #[error("{0}")]
    Component(#[from] DeployError),
    #[error(
        "the new version has no longer {}; repeat the change with --allow-removals (allow_removals=true) if that is intended",
        .0.join(", ")
    )]
    RemovalsRefused(Vec<String>),
    #[error("{0}")]
    Probe(#[from] ProbeFailed),
    #[error("{0}")]
    Change(#[from] ChangeRefused),
    #[error(
        "another deployment changed the function {0} meanwhile; look at `roost functions {0}`, and deploy again if that is still right"
    )]
    Superseded(String),
    #[error("the store does not answer, and deployments are shared through it; try again when it does")]
    StoreUnavailable(StoreError),
    #[error("the deployment cannot be written to the data directory: {0}; look at its free space and permissions")]
    Disk(#[from] io::Error),
    #[error(
        "components of {kept} bytes are kept that cannot be forgotten, but at most {allowed} are allowed; undeploy a function, or raise deployments.bytes_max"
    )]
    NoRoom { kept: u64, allowed: u64 },
    #[error(
        "the component of revision {revision} of the function {function} is neither on this host nor in the store; deploy it again"
    )]
    ComponentMissing { function: String, revision: u64 },
}

/// The routes, messages and hooks of a manifest, as an operator reads them.
fn offers(manifest: &Manifest) -> BTreeSet<String> {
    let routes = manifest.routes.iter().map(|route| format!("{} {}", route.method, route.path));
    let messages = manifest.messages.iter().map(|name| format!("the message {name}"));
    let hooks = manifest.hooks.iter().map(|hook| format!("the hook {}", hook.as_str()));
    routes.chain(messages).chain(hooks).collect()
}

/// What the old manifest offers and the new one does not; `None` stands for no function.
pub(super) fn removals(old: Option<&Manifest>, new: Option<&Manifest>) -> Vec<String> {
    let (old, new) = (old.map(offers).unwrap_or_default(), new.map(offers).unwrap_or_default());
    old.difference(&new).cloned().collect()
}

/// The routes that only one of the manifests has.
pub(super) fn route_changes(old: Option<&Manifest>, new: Option<&Manifest>) -> RouteChanges {
    let routes = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect()
    };
    let (old, new) = (old.map(routes).unwrap_or_default(), new.map(routes).unwrap_or_default());
    RouteChanges { added: new.difference(&old).cloned().collect(), removed: old.difference(&new).cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::manifest::{Access, Hook, Method, Route};
    use crate::runtime::socket_description::SocketDescription;

    /// A function with one route, one message and one hook.
    fn complete() -> Manifest {
        let (method, access) = (Method::Get, Access::User);
        Manifest {
            name: "polls".into(),
            version: "1.0.0".into(),
            routes: vec![Route { method, path: "/v1/polls".into(), access, operation: serde_json::json!({}) }],
            messages: vec!["poll.vote".into()],
            socket: SocketDescription::default(),
            hooks: vec![Hook::Connected],
            schedules: Vec::new(),
            publications: Vec::new(),
            asks: Grants::default(),
        }
    }

    #[test]
    fn a_route_a_message_and_a_hook_that_are_gone_are_removals() {
        let (route, message, hook) = ("GET /v1/polls", "the message poll.vote", "the hook connected");
        for (new, expected) in [
            (Some(complete()), Vec::new()),
            (Some(Manifest { routes: Vec::new(), ..complete() }), vec![route]),
            (Some(Manifest { messages: Vec::new(), ..complete() }), vec![message]),
            (Some(Manifest { hooks: Vec::new(), ..complete() }), vec![hook]),
            (None, vec![route, hook, message]),
        ] {
            assert_eq!(removals(Some(&complete()), new.as_ref()), expected);
            assert!(removals(new.as_ref(), Some(&complete())).is_empty(), "what is new is no removal");
        }
    }
}
