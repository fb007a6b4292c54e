//! Cohorts: every user belongs to one of a hundred, always the same one. A canary of 10 % serves the first ten cohorts,
//! so that a user sees one version, and goes on seeing the canary when its share grows.
//!
//! All canaries use the same cohorts: a user who sees one canary sees every other one of at least the same share.

use roost_core::ids::UserId;
use sha2::{Digest, Sha256};

/// One hundredth of the users, or the callers that no canary serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cohort(u8);

impl Cohort {
    /// The number of cohorts.
    const COUNT: u8 = 100;
    /// For calls that canaries never serve: hooks and schedules, which have one owner.
    pub const STABLE: Self = Self(Self::COUNT);

    /// The cohort of a user.
    pub fn of_user(user: UserId) -> Self {
        Self::of(user.to_string().as_bytes())
    }

    /// The cohort of a call without a user, by its trace id: such calls are divided by chance.
    pub(crate) fn of_trace(trace: &str) -> Self {
        Self::of(trace.as_bytes())
    }

    /// Equal on every host and in every build, so that hosts of a cluster agree.
    fn of(bytes: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let [a, b, c, d, ..] = digest;
        Self((u32::from_be_bytes([a, b, c, d]) % u32::from(Self::COUNT)) as u8)
    }

    /// Whether a canary with this share of the users, in percent, serves this cohort.
    pub(super) const fn is_within(self, percent: u8) -> bool {
        self.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_users_is_served_and_is_still_served_when_the_share_grows() {
        let users: Vec<Cohort> = (1..=10_000).map(|number| Cohort::of_user(UserId::from_u128(number))).collect();
        let served = |percent| users.iter().filter(|cohort| cohort.is_within(percent)).count();
        assert_eq!((served(0), served(100)), (0, 10_000));
        assert!((800..1_200).contains(&served(10)), "{}", served(10));
        assert!(users.iter().all(|cohort| !cohort.is_within(10) || cohort.is_within(11)));
        assert!(!Cohort::STABLE.is_within(100));
    }

    #[test]
    fn a_cohort_is_the_same_in_every_build() {
        let user = "6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55".parse().unwrap();
        assert_eq!(Cohort::of_user(user), Cohort(36));
        assert_eq!(Cohort::of_trace("6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55"), Cohort(36));
    }
}
