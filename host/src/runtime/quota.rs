//! How much one call of a function may use of what all functions share, and how many calls a second a function may
//! have.
//!
//! Rules only: `imports` takes what a call uses, `revision` asks whether a call may begin. The bytes that a function
//! keeps in the key space `app` are counted by the store, and those of its documents by the records.

use std::num::NonZeroU32;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::call::CallError;
use crate::config::FunctionConfig;

/// The key of the bound on calls a second.
pub(super) const CALLS_KEY: &str = "calls_per_second_max";

/// The key of the bound on what a function keeps in the key space `app`.
pub(super) const APP_BYTES_KEY: &str = "app_bytes_max";

/// The key of the bound on the documents that a function keeps in the records.
pub(super) const DOCUMENTS_BYTES_KEY: &str = "documents_bytes_max";

/// The keys of all quotas.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    Resource::ALL.into_iter().map(Resource::key).chain([CALLS_KEY, APP_BYTES_KEY, DOCUMENTS_BYTES_KEY])
}

/// Something that a call uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    StoreOperations,
    StoreReadBytes,
    StoreWrittenBytes,
    RecordsOperations,
    Publications,
    LogBytes,
}

impl Resource {
    const ALL: [Self; 6] = [
        Self::StoreOperations,
        Self::StoreReadBytes,
        Self::StoreWrittenBytes,
        Self::RecordsOperations,
        Self::Publications,
        Self::LogBytes,
    ];

    /// The configuration key of the bound.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::StoreOperations => "store_operations_max",
            Self::StoreReadBytes => "store_read_bytes_max",
            Self::StoreWrittenBytes => "store_written_bytes_max",
            Self::RecordsOperations => "records_operations_max",
            Self::Publications => "publications_max",
            Self::LogBytes => "log_bytes_max",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::StoreOperations => "queries and transactions",
            Self::StoreReadBytes => "bytes read from the store",
            Self::StoreWrittenBytes => "bytes sent to the store",
            Self::RecordsOperations => "operations of the records",
            Self::Publications => "published events",
            Self::LogBytes => "bytes of log lines",
        }
    }
}

/// An amount of each [`Resource`], in its order.
type Amounts = [u64; Resource::ALL.len()];

/// How much one call may use.
#[derive(Clone, Debug)]
pub(super) struct CallBounds(Amounts);

impl CallBounds {
    pub(super) const fn of(config: &FunctionConfig) -> Self {
        Self([
            config.store_operations_max,
            config.store_read_bytes_max,
            config.store_written_bytes_max,
            config.records_operations_max,
            config.publications_max,
            config.log_bytes_max,
        ])
    }

    fn of_resource(&self, resource: Resource) -> u64 {
        self.0.get(resource as usize).copied().unwrap_or_default()
    }
}

/// How much the present call has used.
#[derive(Clone, Debug, Default)]
pub(super) struct CallUsage(Amounts);

impl CallUsage {
    /// How much of a resource was used.
    pub(super) fn used(&self, resource: Resource) -> u64 {
        self.0.get(resource as usize).copied().unwrap_or_default()
    }

    /// Takes an amount. Beyond the bound nothing is taken, so that less can be tried.
    pub(super) fn take(&mut self, bounds: &CallBounds, resource: Resource, amount: u64) -> Result<(), QuotaExceeded> {
        let Some(used) = self.0.get_mut(resource as usize) else { return Ok(()) };
        let (max, sum) = (bounds.of_resource(resource), used.saturating_add(amount));
        if sum > max {
            return Err(QuotaExceeded { resource, max, sum });
        }
        *used = sum;
        Ok(())
    }
}

/// A call asks for more than it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotaExceeded {
    pub(super) resource: Resource,
    max: u64,
    sum: u64,
}

impl QuotaExceeded {
    /// What the function is told.
    pub(super) fn text(self, function: &str) -> String {
        let Self { resource, max, sum } = self;
        let (noun, key) = (resource.noun(), resource.key());
        format!(
            "this would make {sum} {noun} in one call, but {key} allows {max}; do less in one call, or let the operator raise \
             function.{function}.{key}"
        )
    }
}

/// Admits so many calls a second of one function, whichever of its revisions serves them.
pub(super) struct CallRate<C: Clock = MonotonicClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    clock: C,
}

impl CallRate {
    pub(super) fn new(calls_per_second_max: u32) -> Self {
        Self::with_clock(calls_per_second_max, MonotonicClock)
    }
}

impl<C: Clock + Clone> CallRate<C> {
    fn with_clock(calls_per_second_max: u32, clock: C) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(calls_per_second_max).unwrap_or(NonZeroU32::MIN));
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Admits a call, or says when the next one will be admitted.
    pub(super) fn admit(&self) -> Result<(), CallError> {
        self.limiter
            .check()
            .map_err(|refused| CallError::Busy { retry_after: refused.wait_time_from(self.clock.now()) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::config::Sources;

    fn bounds() -> CallBounds {
        let mut config = Sources::default().load().unwrap().function_defaults;
        (config.store_operations_max, config.log_bytes_max) = (10, 2_000);
        CallBounds::of(&config)
    }

    #[test]
    fn a_call_may_use_exactly_its_bound() {
        let mut usage = CallUsage::default();
        assert_eq!(usage.take(&bounds(), Resource::StoreOperations, 7), Ok(()));
        let exceeded = usage.take(&bounds(), Resource::StoreOperations, 4).unwrap_err();
        assert_eq!(exceeded, QuotaExceeded { resource: Resource::StoreOperations, max: 10, sum: 11 });
        assert_eq!(usage.take(&bounds(), Resource::StoreOperations, 3), Ok(()), "nothing was taken before");
        assert!(usage.take(&bounds(), Resource::StoreOperations, u64::MAX).is_err());
        assert_eq!(usage.take(&bounds(), Resource::LogBytes, 2_000), Ok(()), "each resource is counted for itself");
    }

    #[test]
    fn every_resource_is_bounded_by_its_own_key() {
        let set = |name: &str| (format!("ROOST_FUNCTION_DEFAULTS__{}", name.to_ascii_uppercase()), "1024".to_owned());
        for resource in [
            Resource::StoreOperations,
            Resource::StoreReadBytes,
            Resource::StoreWrittenBytes,
            Resource::RecordsOperations,
            Resource::Publications,
            Resource::LogBytes,
        ] {
            let config = Sources { environment: vec![set(resource.key())], ..Sources::default() }.load().unwrap();
            let bounds = CallBounds::of(&config.function_defaults);
            let mut usage = CallUsage::default();
            assert_eq!(usage.take(&bounds, resource, 1_024), Ok(()), "{resource:?}");
            let text = usage.take(&bounds, resource, 1).unwrap_err().text("polls");
            assert!(text.contains(&format!("raise function.polls.{}", resource.key())), "{text}");
            assert!(text.starts_with("this would make 1025 "), "{text}");
        }
    }

    #[test]
    fn calls_beyond_the_rate_learn_when_to_repeat() {
        let clock = FakeRelativeClock::default();
        let rate = CallRate::with_clock(4, clock.clone());
        for _ in 0..4 {
            assert_eq!(rate.admit(), Ok(()), "a second's calls may come at once");
        }
        assert_eq!(rate.admit(), Err(CallError::Busy { retry_after: Duration::from_millis(250) }));
        clock.advance(Duration::from_millis(250));
        assert_eq!(rate.admit(), Ok(()));
        assert_eq!(rate.admit(), Err(CallError::Busy { retry_after: Duration::from_millis(250) }));
        clock.advance(Duration::from_secs(60));
        let admitted = (0..10).filter(|_| rate.admit().is_ok()).count();
        assert_eq!(admitted, 4, "unused calls are not saved up");
    }
}
