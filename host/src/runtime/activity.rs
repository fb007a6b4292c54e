//! Notes which users are active, so that the state of idle users can be removed (`store_idle_days`). Without that key,
//! nothing is noted.
//!
//! An activity is noted before the change that shows it, so that every user who has state in the store is noted. It is
//! not noted again within an hour, because idle times are counted in days.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use roost_core::idle;
use roost_core::ids::UserId;
use roost_core::limits::ACTIVITY_RESOLUTION_MS;
use roost_core::port::Transaction;
use roost_core::time::Timestamp;

use crate::store::Store;

/// Above twice this number of remembered users, the host forgets those whose activity may be noted again.
const REMEMBERED_MAX: usize = 100_000;

/// The activity that this host has noted. Clones share it.
#[derive(Clone, Default)]
pub struct ActivityLog(Option<Arc<EnabledLog>>);

struct EnabledLog {
    /// The time after which an idle user is removed.
    idle: Duration,
    noted: Mutex<HashMap<UserId, Timestamp>>,
}

impl ActivityLog {
    /// Notes activity if users who have been idle for so many days are to be removed.
    pub(crate) fn after_days(days: Option<u64>) -> Self {
        let idle = |days: u64| Duration::from_secs(days.saturating_mul(86_400));
        Self(days.map(|days| Arc::new(EnabledLog { idle: idle(days), noted: Mutex::default() })))
    }

    /// The time after which idle users are removed; `None`: never.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.0.as_ref().map(|log| log.idle)
    }

    /// Notes the users who are active as these transactions show. If the store does not answer, the next heartbeat
    /// tries again.
    pub(super) async fn note(&self, store: &Store, transactions: &[Transaction]) {
        let Some(log) = &self.0 else { return };
        let now = store.now();
        let active = log.not_noted(idle::active_users(transactions), now);
        if active.is_empty() {
            return;
        }
        match idle::note(store, active.iter().copied(), now).await {
            Ok(()) => log.remember(active, now),
            Err(error) => tracing::debug!(%error, "activity of users cannot be noted now; the next heartbeat does it"),
        }
    }
}

impl EnabledLog {
    fn not_noted(&self, mut users: BTreeSet<UserId>, now: Timestamp) -> BTreeSet<UserId> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|user| noted.get(user).is_none_or(|at| is_over(*at, now)));
        users
    }

    fn remember(&self, users: BTreeSet<UserId>, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(users.into_iter().map(|user| (user, now)));
        if noted.len() > 2 * REMEMBERED_MAX {
            noted.retain(|_, at| !is_over(*at, now));
            if noted.len() > REMEMBERED_MAX {
                // More users are active than this host remembers; their activity is noted again.
                noted.clear();
            }
        }
    }
}

/// Whether an activity that was noted at this time may be noted again.
fn is_over(at: Timestamp, now: Timestamp) -> bool {
    now >= at.plus(ACTIVITY_RESOLUTION_MS)
}

#[cfg(test)]
mod tests {
    use roost_core::key::{Key, Owner, Space};
    use roost_core::limits::ACTIVITY_SHARDS;
    use roost_core::port::{KeyValue, Mutation};

    use super::*;
    use crate::store::StepClock;

    const USER: UserId = UserId::from_u128(1);
    const DAY_MS: u64 = 86_400_000;

    fn counters() -> Transaction {
        let total = Mutation::Set(Key::of_user(Space::UnreadTotal, USER), b"0".to_vec(), None);
        Transaction::new(Owner::User(USER)).mutate(total)
    }

    /// Fills counters as a function does.
    async fn fill(store: &Store, log: &ActivityLog) {
        log.note(store, &[counters()]).await;
        store.commit(vec![counters()]).await.unwrap();
    }

    /// The number of users that a sweep at this time removes.
    async fn removed(store: &Store, days: u64) -> usize {
        let mut removed = 0;
        for shard in 0..ACTIVITY_SHARDS {
            let now = store.now();
            removed += idle::sweep(store, shard, (now, days * DAY_MS)).await.unwrap().removed;
        }
        removed
    }

    #[tokio::test]
    async fn activity_is_noted_with_what_it_leaves_and_idle_users_are_removed() {
        let clock = StepClock::at(Timestamp(1_790_000_000_000));
        let store = Store::memory_on(clock.clone());
        let log = ActivityLog::after_days(Some(2));
        assert_eq!(log.idle(), Some(Duration::from_millis(2 * DAY_MS)));
        let before = store.stats().keys;
        fill(&store, &log).await;
        assert_eq!(store.stats().keys, before + 2, "the counter, and the set of its shard");
        clock.advance(Duration::from_millis(DAY_MS));
        fill(&store, &log).await;
        clock.advance(Duration::from_millis(DAY_MS + 1));
        assert_eq!(removed(&store, 2).await, 0, "the user was active a day ago");
        clock.advance(Duration::from_millis(DAY_MS));
        assert_eq!(removed(&store, 2).await, 1);
        assert_eq!(store.stats().keys, before);
    }

    #[tokio::test]
    async fn activity_is_noted_once_an_hour_and_never_without_the_wish() {
        let clock = StepClock::at(Timestamp(1_790_000_000_000));
        let store = Store::memory_on(clock.clone());
        let keys = store.stats().keys;
        ActivityLog::default().note(&store, &[counters()]).await;
        assert_eq!((store.stats().keys, ActivityLog::default().idle()), (keys, None));
        let log = ActivityLog::after_days(Some(1));
        for (step_ms, expected) in [(0, 1), (ACTIVITY_RESOLUTION_MS - 1, 0), (1, 1)] {
            clock.advance(Duration::from_millis(step_ms));
            let Some(enabled) = &log.0 else { panic!("it is enabled") };
            let asked = enabled.not_noted(BTreeSet::from([USER]), store.now());
            assert_eq!(asked.len(), expected, "after {step_ms} ms more");
            log.note(&store, &[counters()]).await;
        }
    }
}
