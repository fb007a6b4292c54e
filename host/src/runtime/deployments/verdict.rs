//! Whether a canary is taken back: its share of failed calls is compared with that of the revision beside it. Pure
//! rules.

use crate::runtime::CallCounts;

/// When a canary is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CanaryLimits {
    /// A canary with fewer calls is not judged.
    pub(crate) calls_min: u64,
    /// How much larger its share of failed calls may be than that of the revision beside it, in percentage points.
    pub(crate) margin_percent: u32,
}

impl CallCounts {
    /// Calls that failed because of the function: errors, traps and timeouts.
    const fn failed(&self) -> u64 {
        self.errors + self.traps + self.timeouts
    }

    /// The share of failed calls, in percent; zero without calls.
    pub(crate) fn failed_percent(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.failed() as f64 * 100.0 / self.calls as f64 }
    }

    /// The calls since an earlier reading of the same counters.
    pub(crate) const fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            refused: self.refused.saturating_sub(earlier.refused),
            errors: self.errors.saturating_sub(earlier.errors),
            traps: self.traps.saturating_sub(earlier.traps),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
        }
    }

    /// The sum with the calls of another host.
    pub(crate) const fn plus(&self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            refused: self.refused + other.refused,
            errors: self.errors + other.errors,
            traps: self.traps + other.traps,
            timeouts: self.timeouts + other.timeouts,
        }
    }
}

/// Why a canary is taken back; `None` if it goes on.
pub(crate) fn reason_to_withdraw(stable: &CallCounts, canary: &CallCounts, limits: CanaryLimits) -> Option<String> {
    let (stable_percent, canary_percent) = (stable.failed_percent(), canary.failed_percent());
    if canary.calls < limits.calls_min || canary_percent <= stable_percent + f64::from(limits.margin_percent) {
        return None;
    }
    Some(format!(
        "{canary_percent:.1} % of its {} calls failed ({} errors, {} traps, {} timeouts), against {stable_percent:.1} % of {} \
         calls of the revision beside it; allowed are {} percentage points more",
        canary.calls, canary.errors, canary.traps, canary.timeouts, stable.calls, limits.margin_percent
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CanaryLimits = CanaryLimits { calls_min: 50, margin_percent: 5 };

    fn counts(calls: u64, errors: u64, traps: u64, timeouts: u64) -> CallCounts {
        CallCounts { calls, refused: calls / 2, errors, traps, timeouts }
    }

    #[test]
    fn a_canary_is_judged_by_its_share_of_errors_traps_and_timeouts() {
        let stable = counts(1_000, 10, 0, 0);
        assert_eq!(reason_to_withdraw(&stable, &counts(100, 2, 2, 2), LIMITS), None, "exactly the margin");
        for failing in [counts(100, 7, 0, 0), counts(100, 0, 7, 0), counts(100, 0, 0, 7)] {
            assert!(reason_to_withdraw(&stable, &failing, LIMITS).is_some(), "{failing:?}");
        }
    }

    #[test]
    fn a_canary_with_few_calls_goes_on() {
        let failing = |calls| counts(calls, calls, 0, 0);
        assert_eq!(reason_to_withdraw(&counts(0, 0, 0, 0), &failing(49), LIMITS), None);
        let reason = reason_to_withdraw(&counts(0, 0, 0, 0), &failing(50), LIMITS).unwrap();
        assert_eq!(
            reason,
            "100.0 % of its 50 calls failed (50 errors, 0 traps, 0 timeouts), against 0.0 % of 0 calls of the revision \
             beside it; allowed are 5 percentage points more"
        );
    }

    #[test]
    fn refused_calls_are_no_failures() {
        let refused = CallCounts { calls: 100, refused: 100, ..CallCounts::default() };
        assert_eq!(reason_to_withdraw(&counts(100, 0, 0, 0), &refused, LIMITS), None);
    }

    #[test]
    fn counts_are_subtracted_and_added() {
        let (earlier, later) = (counts(100, 1, 2, 3), counts(150, 2, 4, 6));
        assert_eq!(later.since(&earlier).plus(&earlier), later);
    }
}
