//! The desired state of a cluster: which revisions of which functions are deployed, and the rules that change it.
//!
//! Everything here is pure. A change makes a new state with the next version number; whoever writes it does so only if
//! the version before is still the one that the change was made from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How many revisions of one function are kept.
const REVISIONS_MAX: usize = 10;
/// How many functions may have deployments. One that is undeployed gives way to a new one.
const FUNCTIONS_MAX: usize = 256;

/// Which revisions of which functions are deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredState {
    /// One more than before each change; zero if there was none.
    pub(crate) version: u64,
    /// Made up for each change, so that two states of the same version can be told apart.
    pub(crate) change: String,
    /// The functions with deployments, by name.
    pub(crate) functions: BTreeMap<String, DesiredFunction>,
}

/// The deployments of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredFunction {
    /// The revision that serves; `None`: undeployed, so that the component of the folder serves, if there is one.
    pub(crate) live: Option<u64>,
    /// The canary beside it.
    pub(crate) canary: Option<DesiredCanary>,
    /// The kept revisions, oldest first.
    pub(crate) revisions: Vec<RevisionRecord>,
    /// The number that the next revision gets. No number is used twice.
    pub(crate) next_revision: u64,
}

/// A canary: a revision that serves a share of the users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredCanary {
    /// The number of the revision.
    pub(crate) revision: u64,
    /// The share of the users, in percent.
    pub(crate) percent: u8,
}

/// A revision that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevisionRecord {
    /// The number; each deployment of the function gets the next one.
    pub(crate) revision: u64,
    #[serde(flatten)]
    pub(crate) component: ComponentRecord,
    /// Why the revision was taken back by Roost itself; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) withdrawn: Option<String>,
    /// The revision that served before this one did; `None` if none did, or if this one was never more than a canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced: Option<u64>,
}

/// The component of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComponentRecord {
    /// The version in the manifest.
    pub(crate) version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub(crate) digest: String,
    /// The size of the component.
    pub(crate) bytes: u64,
    /// When it was deployed, in milliseconds since the Unix epoch.
    pub(crate) deployed_at_ms: u64,
    /// The grants that whoever deployed it allows, besides those of the configuration; as `Allowance::parse` reads
    /// them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) allow_grants: String,
}

/// A change of one function's deployments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeploymentChange {
    /// Deploys a component: for everybody, or as a canary for a share of the users.
    Deploy(ComponentRecord, Option<u8>),
    /// Returns to a revision. `None`: takes the canary back; without a canary, returns to the revision that served
    /// before the live one.
    RollBack(Option<u64>),
    /// Changes the share of the canary.
    SetCanary(u8),
    /// Lets the canary serve everybody.
    Promote,
    /// Takes the canary of this revision back, for this reason.
    Withdraw(u64, String),
    /// Lets the component of the folder serve again.
    Undeploy,
}

/// Why a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeRefused {
    #[error("the function {0} has no deployments; `roost functions` lists what serves")]
    UnknownFunction(String),
    #[error("the function {function} has no revision {revision}; kept are {kept}")]
    UnknownRevision { function: String, revision: u64, kept: String },
    #[error(
        "the function {0} has no earlier revision to return to; `roost functions {0}` lists those that are kept, and \
         `roost undeploy {0}` returns to the component of the folder"
    )]
    NoEarlierRevision(String),
    #[error("the function {0} has no canary; `roost deploy FILE --canary 10%` makes one")]
    NoCanary(String),
    #[error("a canary serves 0 to 100 percent of the users, not {0}")]
    PercentOutOfBounds(u8),
    #[error("{FUNCTIONS_MAX} functions have deployments already, which is the most; undeploy one first")]
    TooManyFunctions,
}

impl DesiredState {
    /// The state after a change. `change_id` is made up by the caller and must be unique.
    pub(crate) fn after(
        &self,
        name: &str,
        change: &DeploymentChange,
        change_id: String,
    ) -> Result<Self, ChangeRefused> {
        let mut next = self.clone();
        next.version += 1;
        next.change = change_id;
        let function = match (next.functions.get_mut(name), change) {
            (Some(function), _) => function,
            (None, DeploymentChange::Deploy(..)) => {
                next.make_room()?;
                next.functions.entry(name.to_owned()).or_default()
            }
            (None, _) => return Err(ChangeRefused::UnknownFunction(name.to_owned())),
        };
        function.apply(name, change)?;
        Ok(next)
    }

    /// Makes room for one more function. If there is none, one that is undeployed is forgotten: the one whose newest
    /// revision is the oldest.
    fn make_room(&mut self) -> Result<(), ChangeRefused> {
        if self.functions.len() < FUNCTIONS_MAX {
            return Ok(());
        }
        let newest = |function: &DesiredFunction| {
            function.revisions.iter().map(|revision| revision.component.deployed_at_ms).max()
        };
        let undeployed = self.functions.iter().filter(|(_, function)| function.is_undeployed());
        let oldest = undeployed.min_by_key(|(_, function)| newest(function)).map(|(name, _)| name.clone());
        let name = oldest.ok_or(ChangeRefused::TooManyFunctions)?;
        self.functions.remove(&name);
        Ok(())
    }

    /// The digests of all kept components.
    pub(crate) fn digests(&self) -> BTreeSet<String> {
        let revisions = self.functions.values().flat_map(|function| &function.revisions);
        revisions.map(|revision| revision.component.digest.clone()).collect()
    }

    /// Whether this state is to be preferred to another one: it is newer, or a different one of the same version.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.version > other.version || (self.version == other.version && self.change != other.change)
    }

    /// Forgets the oldest revisions that neither serve nor are canaries until the components have at most this size.
    pub(crate) fn prune(&mut self, bytes_max: u64) {
        while self.bytes() > bytes_max {
            let oldest = self.functions.iter().flat_map(|(name, function)| {
                let unused = function.revisions.iter().filter(|revision| !function.uses(revision.revision));
                unused.map(move |revision| (revision.component.deployed_at_ms, name.clone(), revision.revision))
            });
            let Some((_, name, number)) = oldest.min() else { return };
            if let Some(function) = self.functions.get_mut(&name) {
                function.revisions.retain(|revision| revision.revision != number);
            }
        }
    }

    /// The size of all kept components. A component that several revisions have counts once.
    pub(crate) fn bytes(&self) -> u64 {
        let revisions = self.functions.values().flat_map(|function| &function.revisions);
        let sizes: BTreeMap<&str, u64> =
            revisions.map(|revision| (revision.component.digest.as_str(), revision.component.bytes)).collect();
        sizes.values().sum()
    }
}

impl DesiredFunction {
    fn apply(&mut self, name: &str, change: &DeploymentChange) -> Result<(), ChangeRefused> {
        match change {
            DeploymentChange::Deploy(component, percent) => self.deploy(component, *percent),
            DeploymentChange::RollBack(revision) => self.roll_back(name, *revision),
            DeploymentChange::SetCanary(percent) => self.set_canary(name, *percent),
            DeploymentChange::Promote => {
                let canary = self.canary.take().ok_or_else(|| ChangeRefused::NoCanary(name.to_owned()))?;
                let replaced = self.live.replace(canary.revision);
                if let Some(record) = self.record_mut(canary.revision) {
                    record.replaced = replaced;
                }
                Ok(())
            }
            DeploymentChange::Withdraw(revision, reason) => self.withdraw(name, *revision, reason),
            DeploymentChange::Undeploy => {
                self.live = None;
                self.canary = None;
                Ok(())
            }
        }
    }

    fn deploy(&mut self, component: &ComponentRecord, percent: Option<u8>) -> Result<(), ChangeRefused> {
        let revision = self.next_revision.max(1);
        self.next_revision = revision + 1;
        let replaced = if percent.is_none() { self.live } else { None };
        self.revisions.push(RevisionRecord { revision, component: component.clone(), withdrawn: None, replaced });
        match percent {
            Some(percent) if percent > 100 => return Err(ChangeRefused::PercentOutOfBounds(percent)),
            Some(percent) => self.canary = Some(DesiredCanary { revision, percent }),
            None => {
                self.live = Some(revision);
                self.canary = None;
            }
        }
        while self.revisions.len() > REVISIONS_MAX {
            let Some(index) = self.revisions.iter().position(|kept| !self.uses(kept.revision)) else { break };
            self.revisions.remove(index);
        }
        Ok(())
    }

    fn roll_back(&mut self, name: &str, revision: Option<u64>) -> Result<(), ChangeRefused> {
        let Some(revision) = revision else {
            if self.canary.take().is_some() {
                return Ok(());
            }
            self.live = Some(self.earlier().ok_or_else(|| ChangeRefused::NoEarlierRevision(name.to_owned()))?);
            return Ok(());
        };
        if self.record(revision).is_none() {
            let kept: Vec<String> = self.revisions.iter().map(|kept| kept.revision.to_string()).collect();
            return Err(ChangeRefused::UnknownRevision { function: name.to_owned(), revision, kept: kept.join(", ") });
        }
        self.live = Some(revision);
        self.canary = None;
        Ok(())
    }

    /// The revision that served before the live one. If that is not known, or not kept any more, the newest older one
    /// that Roost has not taken back.
    fn earlier(&self) -> Option<u64> {
        let live = self.live_record()?;
        let replaced = live.replaced.filter(|revision| self.record(*revision).is_some());
        let is_older = |kept: &&RevisionRecord| kept.revision < live.revision && kept.withdrawn.is_none();
        replaced.or_else(|| self.revisions.iter().rev().find(is_older).map(|kept| kept.revision))
    }

    fn set_canary(&mut self, name: &str, percent: u8) -> Result<(), ChangeRefused> {
        if percent > 100 {
            return Err(ChangeRefused::PercentOutOfBounds(percent));
        }
        let canary = self.canary.as_mut().ok_or_else(|| ChangeRefused::NoCanary(name.to_owned()))?;
        canary.percent = percent;
        Ok(())
    }

    fn withdraw(&mut self, name: &str, revision: u64, reason: &str) -> Result<(), ChangeRefused> {
        if self.canary.as_ref().is_none_or(|canary| canary.revision != revision) {
            return Err(ChangeRefused::NoCanary(name.to_owned()));
        }
        self.canary = None;
        if let Some(record) = self.record_mut(revision) {
            record.withdrawn = Some(reason.to_owned());
        }
        Ok(())
    }

    /// The record of a kept revision.
    pub(crate) fn record(&self, revision: u64) -> Option<&RevisionRecord> {
        self.revisions.iter().find(|kept| kept.revision == revision)
    }

    fn record_mut(&mut self, revision: u64) -> Option<&mut RevisionRecord> {
        self.revisions.iter_mut().find(|kept| kept.revision == revision)
    }

    /// The record of the revision that serves.
    pub(crate) fn live_record(&self) -> Option<&RevisionRecord> {
        self.record(self.live?)
    }

    const fn is_undeployed(&self) -> bool {
        self.live.is_none() && self.canary.is_none()
    }

    fn uses(&self, revision: u64) -> bool {
        self.live == Some(revision) || self.canary.as_ref().is_some_and(|canary| canary.revision == revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(digest: &str, deployed_at_ms: u64) -> ComponentRecord {
        ComponentRecord {
            version: "1.0.0".into(),
            digest: digest.into(),
            bytes: 100,
            deployed_at_ms,
            allow_grants: String::new(),
        }
    }

    fn deploy(digest: &str) -> DeploymentChange {
        DeploymentChange::Deploy(component(digest, 0), None)
    }

    /// The state after these changes of one function.
    fn after(changes: &[DeploymentChange]) -> DesiredState {
        changes.iter().fold(DesiredState::default(), |state, change| {
            let id = format!("change {}", state.version + 1);
            state.after("typing", change, id).unwrap()
        })
    }

    /// The live revision and the canary.
    fn served(state: &DesiredState) -> (Option<u64>, Option<(u64, u8)>) {
        let function = &state.functions["typing"];
        (function.live, function.canary.as_ref().map(|canary| (canary.revision, canary.percent)))
    }

    fn refused(state: &DesiredState, change: DeploymentChange) -> ChangeRefused {
        state.after("typing", &change, "refused".into()).unwrap_err()
    }

    #[test]
    fn every_deployment_gets_the_next_number_and_serves() {
        let state = after(&[deploy("a"), deploy("b"), deploy("a")]);
        assert_eq!((served(&state), state.version), ((Some(3), None), 3));
        assert_eq!(state.digests(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_rollback_returns_to_the_revision_before_or_to_a_named_one() {
        let state = after(&[deploy("a"), deploy("b"), deploy("c"), DeploymentChange::RollBack(None)]);
        assert_eq!(served(&state), (Some(2), None));
        let first = state.after("typing", &DeploymentChange::RollBack(None), "x".into()).unwrap();
        assert_eq!(served(&first), (Some(1), None));
        assert_eq!(
            refused(&first, DeploymentChange::RollBack(None)),
            ChangeRefused::NoEarlierRevision("typing".into())
        );
        let third = first.after("typing", &DeploymentChange::RollBack(Some(3)), "y".into()).unwrap();
        assert_eq!(served(&third), (Some(3), None));
        let unknown = refused(&third, DeploymentChange::RollBack(Some(9)));
        assert_eq!(unknown.to_string(), "the function typing has no revision 9; kept are 1, 2, 3");
    }

    #[test]
    fn a_rollback_returns_to_what_served_before_and_to_nothing_that_was_taken_back() {
        let back = || DeploymentChange::RollBack(None);
        let canary = || DeploymentChange::Deploy(component("bad", 0), Some(10));
        for taken_back in [canary(), deploy("bad")] {
            let state = after(&[deploy("a"), taken_back.clone(), back(), deploy("c"), back()]);
            assert_eq!(served(&state), (Some(1), None), "{taken_back:?}");
        }
        let state = after(&[deploy("a"), canary(), back(), canary(), DeploymentChange::Promote, back()]);
        assert_eq!(served(&state), (Some(1), None), "a promoted canary has replaced the first revision");
    }

    #[test]
    fn a_rollback_returns_to_an_older_revision_if_the_one_before_is_not_kept() {
        let mut state = after(&[deploy("a"), deploy("b"), deploy("c")]);
        state.functions.get_mut("typing").unwrap().revisions.retain(|kept| kept.revision != 2);
        let state = state.after("typing", &DeploymentChange::RollBack(None), "x".into()).unwrap();
        assert_eq!(served(&state), (Some(1), None));
        let again = after(&[deploy("a"), DeploymentChange::Undeploy, deploy("b"), DeploymentChange::RollBack(None)]);
        assert_eq!(served(&again), (Some(1), None), "nothing deployed served before");
    }

    #[test]
    fn a_canary_grows_and_is_promoted() {
        let canary = DeploymentChange::Deploy(component("b", 0), Some(10));
        let state = after(&[deploy("a"), canary.clone(), DeploymentChange::SetCanary(50)]);
        assert_eq!(served(&state), (Some(1), Some((2, 50))));
        let promoted = state.after("typing", &DeploymentChange::Promote, "x".into()).unwrap();
        assert_eq!(served(&promoted), (Some(2), None));
        assert_eq!(refused(&promoted, DeploymentChange::Promote), ChangeRefused::NoCanary("typing".into()));
        assert_eq!(refused(&state, DeploymentChange::SetCanary(101)), ChangeRefused::PercentOutOfBounds(101));
    }

    #[test]
    fn a_rollback_during_a_canary_takes_the_canary_back() {
        let canary = DeploymentChange::Deploy(component("b", 0), Some(10));
        let state = after(&[deploy("a"), canary, DeploymentChange::RollBack(None)]);
        assert_eq!(served(&state), (Some(1), None));
    }

    #[test]
    fn a_withdrawn_canary_keeps_its_reason_and_is_passed_over_by_rollbacks() {
        let canary = DeploymentChange::Deploy(component("b", 0), Some(10));
        let withdraw = DeploymentChange::Withdraw(2, "it traps".into());
        let state = after(&[deploy("a"), canary, withdraw.clone(), deploy("c"), DeploymentChange::RollBack(None)]);
        assert_eq!(served(&state), (Some(1), None));
        assert_eq!(state.functions["typing"].record(2).unwrap().withdrawn.as_deref(), Some("it traps"));
        assert_eq!(refused(&state, withdraw), ChangeRefused::NoCanary("typing".into()));
    }

    #[test]
    fn what_was_undeployed_can_be_deployed_again_by_number() {
        let state = after(&[deploy("a"), DeploymentChange::Undeploy]);
        assert_eq!(served(&state), (None, None));
        let again = state.after("typing", &DeploymentChange::RollBack(Some(1)), "x".into()).unwrap();
        assert_eq!(served(&again), (Some(1), None));
    }

    #[test]
    fn changes_of_unknown_functions_are_refused() {
        for change in [DeploymentChange::RollBack(None), DeploymentChange::Promote, DeploymentChange::Undeploy] {
            let state = DesiredState::default();
            assert_eq!(refused(&state, change), ChangeRefused::UnknownFunction("typing".into()));
        }
    }

    #[test]
    fn ten_revisions_are_kept_and_never_fewer_than_what_serves() {
        let mut changes = vec![deploy("first"), DeploymentChange::Deploy(component("canary", 0), Some(1))];
        changes.extend((0..3).map(|_| DeploymentChange::SetCanary(2)));
        let mut state = after(&changes);
        for number in 0..30 {
            let canary = DeploymentChange::Deploy(component(&format!("c{number}"), 0), Some(1));
            state = state.after("typing", &canary, "x".into()).unwrap();
        }
        let function = &state.functions["typing"];
        assert_eq!(function.revisions.len(), REVISIONS_MAX);
        assert!(function.record(1).is_some(), "the live revision is kept");
        assert_eq!(function.revisions.last().unwrap().revision, 32);
    }

    #[test]
    fn components_are_kept_within_a_bound_of_bytes_oldest_first() {
        let mut state = DesiredState::default();
        for (at, digest) in ["a", "b", "c"].into_iter().enumerate() {
            let change = DeploymentChange::Deploy(component(digest, at as u64), None);
            state = state.after("typing", &change, "x".into()).unwrap();
        }
        state.prune(200);
        assert_eq!(state.digests(), BTreeSet::from(["b".to_owned(), "c".to_owned()]));
        state.prune(0);
        assert_eq!(state.digests(), BTreeSet::from(["c".to_owned()]), "what serves is kept");
    }

    #[test]
    fn functions_are_bounded() {
        let mut state = DesiredState::default();
        for number in 0..FUNCTIONS_MAX {
            state = state.after(&format!("f{number}"), &deploy("a"), "x".into()).unwrap();
        }
        assert_eq!(refused(&state, deploy("a")), ChangeRefused::TooManyFunctions);
        let undeployed = state.after("f7", &DeploymentChange::Undeploy, "x".into()).unwrap();
        let next = undeployed.after("typing", &deploy("a"), "x".into()).unwrap();
        assert_eq!((served(&next), next.functions.len()), ((Some(1), None), FUNCTIONS_MAX));
        assert!(!next.functions.contains_key("f7"), "what is undeployed makes room");
    }

    #[test]
    fn a_newer_state_and_another_one_of_the_same_version_replace_this_one() {
        let (old, new) = (after(&[deploy("a")]), after(&[deploy("a"), deploy("b")]));
        assert!(new.replaces(&old) && !old.replaces(&new) && !new.replaces(&new));
        let other = DesiredState { change: "other".into(), ..new.clone() };
        assert!(other.replaces(&new));
    }

    #[test]
    fn the_state_survives_being_written() {
        let state = after(&[deploy("a"), DeploymentChange::Deploy(component("b", 7), Some(10))]);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<DesiredState>(&text).unwrap(), state);
    }
}
