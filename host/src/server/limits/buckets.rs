//! One token bucket for each user, in a table that is bounded: the bucket of a user who is quiet is full again after a
//! while, and is then the same as none.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use roost_core::ids::UserId;

/// The users are distributed over this many tables, each with a lock of its own.
const SHARDS: usize = 16;
/// The most users in one of these tables: about two MiB. All of them together have a million users, each of whom has
/// been active within the last seconds.
const USERS_IN_SHARD_MAX: usize = 65_536;
/// How long a user should wait for whom the table has no room.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How fast a bucket fills, and how much fits into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BucketRate {
    pub(super) per_second: u32,
    pub(super) burst: u32,
}

type Shard<C> = RateLimiter<UserId, HashMapStateStore<UserId>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The buckets of all users for one kind of action.
pub(super) struct UserBuckets<C: Clock = MonotonicClock> {
    rate: BucketRate,
    shards: Vec<Shard<C>>,
    clock: C,
    users_in_shard_max: usize,
}

impl UserBuckets {
    pub(super) fn new(rate: BucketRate) -> Self {
        Self::with_clock(rate, USERS_IN_SHARD_MAX, MonotonicClock)
    }
}

impl<C: Clock + Clone> UserBuckets<C> {
    fn with_clock(rate: BucketRate, users_in_shard_max: usize, clock: C) -> Self {
        let non_zero = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(non_zero(rate.per_second)).allow_burst(non_zero(rate.burst));
        let shards = (0..SHARDS).map(|_| RateLimiter::hashmap_with_clock(quota, clock.clone())).collect();
        Self { rate, shards, clock, users_in_shard_max }
    }

    pub(super) const fn rate(&self) -> BucketRate {
        self.rate
    }

    /// Takes a token, or says when there is one again.
    pub(super) fn take(&self, user: UserId) -> Result<(), Duration> {
        let Some(shard) = self.shard(user) else { return Ok(()) };
        if shard.len() >= self.users_in_shard_max {
            return Err(FULL_RETRY_AFTER);
        }
        shard.check_key(&user).map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    /// Removes the buckets that are full again.
    pub(super) fn remove_full(&self) {
        for shard in &self.shards {
            shard.retain_recent();
            shard.shrink_to_fit();
        }
    }

    /// How many users have a bucket that is not full, or was not at the last removal.
    pub(super) fn users(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    fn shard(&self, user: UserId) -> Option<&Shard<C>> {
        let bits = user.as_u128();
        let mixed = ((bits ^ (bits >> 64)) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.shards.get((mixed >> 32) as usize % SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from_u128(number)
    }

    fn buckets(users_in_shard_max: usize) -> (UserBuckets<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = BucketRate { per_second: 2, burst: 3 };
        (UserBuckets::with_clock(rate, users_in_shard_max, clock.clone()), clock)
    }

    #[test]
    fn each_user_has_a_bucket_that_fills_again() {
        let (buckets, clock) = buckets(8);
        for _ in 0..3 {
            assert_eq!(buckets.take(user(1)), Ok(()));
        }
        assert_eq!(buckets.take(user(1)), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take(user(2)), Ok(()), "another user is not affected");
        clock.advance(Duration::from_millis(500));
        assert_eq!(buckets.take(user(1)), Ok(()));
        assert_eq!(buckets.take(user(1)), Err(Duration::from_millis(500)));
    }

    #[test]
    fn full_buckets_are_removed_and_the_others_remain() {
        let (buckets, clock) = buckets(1_000);
        for number in 0..100 {
            buckets.take(user(number)).unwrap();
        }
        clock.advance(Duration::from_secs(10));
        buckets.take(user(1)).unwrap();
        assert_eq!(buckets.users(), 100);
        buckets.remove_full();
        assert_eq!(buckets.users(), 1);
        for _ in 0..2 {
            assert_eq!(buckets.take(user(1)), Ok(()));
        }
        assert!(buckets.take(user(1)).is_err(), "what was taken before the removal still counts");
    }

    #[test]
    fn the_table_is_bounded() {
        let (buckets, clock) = buckets(4);
        let admitted = (0..10_000).filter(|number| buckets.take(user(*number)).is_ok()).count();
        assert_eq!((admitted, buckets.users()), (SHARDS * 4, SHARDS * 4));
        assert_eq!(buckets.take(user(20_000)), Err(FULL_RETRY_AFTER));
        clock.advance(Duration::from_secs(10));
        buckets.remove_full();
        assert_eq!(buckets.take(user(20_000)), Ok(()));
    }
}
