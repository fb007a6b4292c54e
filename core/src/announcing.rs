//! What all announcements of stored changes have in common: when they are repeated at once, and how those are counted
//! that remain pending.

use std::future::Future;

use crate::error::Error;
use crate::port::Telemetry;

/// The result of one attempt: whether an event may have been published, and the outcome.
pub(crate) type AnnounceAttempt<T = ()> = (bool, Result<T, Error>);

/// Announces something, and makes a second attempt at once if the store or the records are unavailable after an event
/// was published.
///
/// The event may not be the present state any more, and the first attempt could not find out. Recovery would not
/// correct it if another call announces the same change meanwhile and confirms it.
pub(crate) async fn announce_twice<F>(attempt: impl Fn() -> F) -> Result<(), Error>
where
    F: Future<Output = AnnounceAttempt>,
{
    let (is_published, outcome) = attempt().await;
    match outcome {
        Err(error) if is_published && error.is_unavailable() => attempt().await.1,
        outcome => outcome,
    }
}

/// Counts an announcement that remains pending: as `delayed` if a retry can help, and otherwise as `failed`. Returns
/// whether it remains pending.
///
/// The call that has stored the change succeeds in both cases. [`crate::messaging::recover`] repeats the announcement,
/// and reports it if it fails again and again.
pub(crate) fn count_pending(world: &impl Telemetry, announced: &Result<(), Error>) -> bool {
    let Err(error) = announced else { return false };
    let outcome = if error.retry() { "delayed" } else { "failed" };
    world.count("announcements", &[("outcome", outcome)], 1);
    true
}

/// Counts announcements that remain pending because they were not tried.
pub(crate) fn count_untried(world: &impl Telemetry, amount: usize) {
    if amount > 0 {
        world.count("announcements", &[("outcome", "delayed")], amount as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::port::RecordsError;
    use crate::testing::{FakeTelemetry, block_on};

    const AWAY: Error = Error::Records(RecordsError::Unavailable { retry_after_ms: 1 });

    /// The number of attempts, of which each ends like this, and the outcome.
    fn attempts(is_published: bool, outcome: &Result<(), Error>) -> (u32, Result<(), Error>) {
        let attempts = Cell::new(0);
        let announced = block_on(announce_twice(|| {
            attempts.set(attempts.get() + 1);
            std::future::ready((is_published, outcome.clone()))
        }));
        (attempts.get(), announced)
    }

    #[test]
    fn only_what_was_published_before_the_store_or_the_records_failed_is_announced_again_at_once() {
        assert_eq!(attempts(true, &Err(AWAY)), (2, Err(AWAY)));
        for (is_published, outcome) in [(false, Err(AWAY)), (true, Err(Error::Contended)), (true, Ok(()))] {
            assert_eq!(attempts(is_published, &outcome), (1, outcome));
        }
    }

    #[test]
    fn an_announcement_that_remains_pending_is_counted_by_whether_a_retry_can_help() {
        let telemetry = FakeTelemetry::new();
        assert!(!count_pending(&telemetry, &Ok(())));
        assert!(count_pending(&telemetry, &Err(AWAY)) && count_pending(&telemetry, &Err(Error::NoMessage)));
        count_untried(&telemetry, 3);
        let counted = |outcome: &str| telemetry.series(&format!("announcements{{outcome={outcome}}}"));
        assert_eq!((counted("delayed"), counted("failed")), (4, 1));
    }
}
