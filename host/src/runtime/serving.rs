//! What serves: for each function the component of the folder, the deployment that takes precedence over it, and the
//! canary. Together they make one routing table for every group of cohorts that sees the same revisions.

use std::collections::{BTreeMap, BTreeSet};

use super::cohort::Cohort;
use super::routes::{Conflict, Described, Table};

/// The revisions of one function that can serve, `T` standing for a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot<T> {
    /// The component of the folder.
    pub(super) base: Option<Described<T>>,
    /// The deployment, which takes precedence.
    pub(super) deployed: Option<Described<T>>,
    /// The canary, and the share of the users that it serves, in percent.
    pub(super) canary: Option<(Described<T>, u8)>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { base: None, deployed: None, canary: None }
    }
}

impl<T> Slot<T> {
    /// The revision that serves everybody whom the canary does not serve.
    pub(super) fn stable(&self) -> Option<&Described<T>> {
        self.deployed.as_ref().or(self.base.as_ref())
    }

    /// Every revision that the slot keeps.
    pub(super) fn revisions(&self) -> impl Iterator<Item = &Described<T>> {
        self.base.iter().chain(&self.deployed).chain(self.canary.as_ref().map(|(canary, _)| canary))
    }

    const fn is_empty(&self) -> bool {
        self.base.is_none() && self.deployed.is_none() && self.canary.is_none()
    }

    /// The revision for cohorts within this share of the users.
    fn within(&self, percent: u8) -> Option<&Described<T>> {
        match &self.canary {
            Some((canary, share)) if *share >= percent => Some(canary),
            _ => self.stable(),
        }
    }
}

/// The slots of all functions, by name.
pub(super) type Slots<T> = BTreeMap<String, Slot<T>>;

/// Removes slots without a revision.
pub(super) fn remove_empty<T>(slots: &mut Slots<T>) {
    slots.retain(|_, slot| !slot.is_empty());
}

/// The routing tables of all cohorts.
pub(super) struct Serving<T> {
    /// For each share of the users at which the revisions change, the table of the cohorts below it; ascending.
    canaries: Vec<(u8, Table<T>)>,
    /// The table of the cohorts that no canary serves.
    stable: Table<T>,
}

impl<T: Clone> Serving<T> {
    pub(super) const fn empty() -> Self {
        Self { canaries: Vec::new(), stable: Table::empty() }
    }

    /// The tables for these slots. A conflict is reported as that of the function `newest`.
    pub(super) fn of(slots: &Slots<T>, newest: Option<&str>) -> Result<Self, Conflict> {
        let shares: BTreeSet<u8> = slots.values().filter_map(|slot| Some(slot.canary.as_ref()?.1)).collect();
        let table = |percent| Table::of(slots.values().filter_map(|slot| slot.within(percent)), newest);
        let mut canaries = Vec::new();
        for percent in shares {
            canaries.push((percent, table(percent)?));
        }
        // No canary has a larger share than everybody.
        Ok(Self { canaries, stable: table(u8::MAX)? })
    }

    /// The table for this cohort.
    pub(super) fn table(&self, cohort: Cohort) -> &Table<T> {
        let canary = self.canaries.iter().find(|(percent, _)| cohort.is_within(*percent));
        canary.map_or(&self.stable, |(_, table)| table)
    }

    pub(super) const fn stable(&self) -> &Table<T> {
        &self.stable
    }

    /// Whether cohorts see different revisions.
    pub(super) const fn has_canaries(&self) -> bool {
        !self.canaries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roost_core::ids::UserId;

    use super::super::grants::Grants;
    use super::super::manifest::{Hook, Manifest};
    use super::super::socket_description::SocketDescription;
    use super::*;

    fn revision(name: &str, messages: &[&str], target: u8) -> Described<u8> {
        let manifest = Manifest {
            name: name.into(),
            version: "1.0.0".into(),
            routes: Vec::new(),
            messages: messages.iter().map(|name| (*name).into()).collect(),
            socket: SocketDescription::default(),
            hooks: vec![Hook::Connected],
            schedules: Vec::new(),
            publications: Vec::new(),
            asks: Grants::default(),
        };
        Described { manifest: Arc::new(manifest), target }
    }

    fn slot(stable: Option<Described<u8>>, canary: Option<(Described<u8>, u8)>) -> Slot<u8> {
        Slot { base: None, deployed: stable, canary }
    }

    /// The targets that answer a message, by cohort.
    fn targets(serving: &Serving<u8>, message: &str) -> BTreeSet<Option<u8>> {
        let users = (1..=2_000).map(|number| Cohort::of_user(UserId::from_u128(number)));
        users.map(|cohort| serving.table(cohort).message(message)).collect()
    }

    fn share(serving: &Serving<u8>, message: &str, target: u8) -> usize {
        let users = (1..=10_000).map(|number| Cohort::of_user(UserId::from_u128(number)));
        users.filter(|cohort| serving.table(*cohort).message(message) == Some(target)).count()
    }

    #[test]
    fn a_deployment_takes_precedence_over_the_folder() {
        let mut slot = Slot { base: Some(revision("a", &["a"], 1)), ..Slot::default() };
        assert_eq!(slot.stable().unwrap().target, 1);
        slot.deployed = Some(revision("a", &["a"], 2));
        assert_eq!(slot.stable().unwrap().target, 2);
        assert_eq!(slot.revisions().count(), 2);
    }

    #[test]
    fn every_canary_serves_its_share_and_the_stable_revision_the_others() {
        let slots = BTreeMap::from([
            ("a".to_owned(), slot(Some(revision("a", &["a"], 1)), Some((revision("a", &["a"], 2), 10)))),
            ("b".to_owned(), slot(Some(revision("b", &["b"], 3)), Some((revision("b", &["b"], 4), 40)))),
            ("c".to_owned(), slot(Some(revision("c", &["c"], 5)), None)),
        ]);
        let serving = Serving::of(&slots, None).unwrap();
        assert!(serving.has_canaries());
        assert!((800..1_200).contains(&share(&serving, "a", 2)) && (3_700..4_300).contains(&share(&serving, "b", 4)));
        assert_eq!(targets(&serving, "a"), BTreeSet::from([Some(1), Some(2)]));
        assert_eq!(targets(&serving, "c"), BTreeSet::from([Some(5)]));
        let stable = serving.table(Cohort::STABLE);
        assert_eq!((stable.message("a"), stable.message("b")), (Some(1), Some(3)));
        assert_eq!(serving.stable().hooks(Hook::Connected), [1, 3, 5], "hooks have one owner");
    }

    #[test]
    fn a_canary_of_nobody_and_one_of_everybody_are_possible() {
        for (percent, expected) in [(0, 1), (100, 2)] {
            let canary = Some((revision("a", &["a"], 2), percent));
            let slots = BTreeMap::from([("a".to_owned(), slot(Some(revision("a", &["a"], 1)), canary))]);
            let serving = Serving::of(&slots, None).unwrap();
            assert_eq!(targets(&serving, "a"), BTreeSet::from([Some(expected)]), "{percent} %");
        }
    }

    #[test]
    fn a_canary_can_add_and_remove_what_its_function_answers() {
        let canary = Some((revision("a", &["new"], 2), 50));
        let slots = BTreeMap::from([("a".to_owned(), slot(Some(revision("a", &["old"], 1)), canary))]);
        let serving = Serving::of(&slots, None).unwrap();
        assert_eq!(targets(&serving, "old"), BTreeSet::from([None, Some(1)]));
        assert_eq!(targets(&serving, "new"), BTreeSet::from([None, Some(2)]));
    }

    #[test]
    fn a_canary_that_conflicts_with_another_function_is_refused() {
        let slots = BTreeMap::from([
            ("a".to_owned(), slot(Some(revision("a", &["a"], 1)), Some((revision("a", &["b"], 2), 10)))),
            ("b".to_owned(), slot(Some(revision("b", &["b"], 3)), None)),
        ]);
        let conflict = Serving::of(&slots, Some("a")).err().unwrap();
        assert_eq!(conflict, Conflict::Message { name: "b".to_owned(), owner: "b".to_owned() });
    }

    #[test]
    fn empty_slots_are_removed() {
        let mut slots = BTreeMap::from([("a".to_owned(), Slot::<u8>::default())]);
        remove_empty(&mut slots);
        assert!(slots.is_empty() && !Serving::of(&slots, None).unwrap().has_canaries());
    }
}
