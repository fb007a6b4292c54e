//! The components that this host is preparing, or has prepared a short time ago without knowing yet whether they serve.
//!
//! A component is prepared once, however many ask for it. Few are kept, the newest ones, and for a short time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a component is kept that was prepared. A failure is remembered for as long.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(30);
/// The most components that are kept or under way.
pub(crate) const CANDIDATES_MAX: usize = 4;

/// The candidates of a host. `P` is the type of a prepared component.
pub(super) struct Candidates<P> {
    entries: Mutex<Entries<P>>,
}

struct Entries<P> {
    /// The candidates, the oldest one first.
    candidates: Vec<Candidate<P>>,
    /// Whether any were removed since [`Candidates::remove_expired`].
    is_any_removed: bool,
}

struct Candidate<P> {
    digest: String,
    begun: Instant,
    /// Its sender is dropped when the preparation ends; if nothing was sent, it has failed.
    prepared: watch::Receiver<Option<KeptComponent<P>>>,
}

struct KeptComponent<P> {
    prepared: Arc<P>,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Prepared,
    Failed,
    Expired,
}

/// A preparation that is under way. If it is dropped before [`Preparation::end`], it has failed.
pub(super) struct Preparation<P> {
    sender: watch::Sender<Option<KeptComponent<P>>>,
}

impl<P> Default for Candidates<P> {
    fn default() -> Self {
        Self { entries: Mutex::new(Entries { candidates: Vec::new(), is_any_removed: false }) }
    }
}

impl<P> Candidates<P> {
    /// Begins to prepare a component; `None` if that is under way, or was done a short time ago.
    pub(super) fn begin(&self, digest: &str) -> Option<Preparation<P>> {
        self.begin_unless(digest, |progress| matches!(progress, Progress::UnderWay | Progress::Prepared))
    }

    /// As [`Candidates::begin`], for a component that may never be deployed: a failure a short time ago is not
    /// repeated.
    pub(super) fn begin_announced(&self, digest: &str) -> Option<Preparation<P>> {
        self.begin_unless(digest, |progress| progress != Progress::Expired)
    }

    fn begin_unless(&self, digest: &str, is_known: impl Fn(Progress) -> bool) -> Option<Preparation<P>> {
        let mut entries = self.lock();
        if entries.candidates.iter().any(|known| known.digest == digest && is_known(known.progress())) {
            return None;
        }
        entries.retain(|known| known.digest != digest);
        while entries.candidates.len() >= CANDIDATES_MAX {
            drop(entries.candidates.remove(0));
            entries.is_any_removed = true;
        }
        let (sender, prepared) = watch::channel(None);
        entries.candidates.push(Candidate { digest: digest.to_owned(), begun: Instant::now(), prepared });
        Some(Preparation { sender })
    }

    /// A component that was prepared a short time ago. Waits for a preparation that is under way. `None` if there is
    /// none, or if it fails.
    pub(super) async fn prepared(&self, digest: &str) -> Option<Arc<P>> {
        let mut prepared = self.find(digest)?;
        let kept = prepared.wait_for(Option::is_some).await.ok()?;
        kept.as_ref().filter(|kept| kept.until > Instant::now()).map(|kept| Arc::clone(&kept.prepared))
    }

    fn find(&self, digest: &str) -> Option<watch::Receiver<Option<KeptComponent<P>>>> {
        let entries = self.lock();
        let found = entries.candidates.iter().find(|known| known.digest == digest)?;
        Some(found.prepared.clone())
    }

    /// Forgets a component, so that its next announcement counts.
    pub(super) fn forget(&self, digest: &str) {
        self.lock().retain(|known| known.digest != digest);
    }

    /// Removes those whose time is over. Returns whether any were removed since the last call, here or to make room.
    pub(super) fn remove_expired(&self) -> bool {
        let mut entries = self.lock();
        entries.retain(|known| known.progress() != Progress::Expired);
        std::mem::take(&mut entries.is_any_removed)
    }

    fn lock(&self) -> MutexGuard<'_, Entries<P>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Entries<P> {
    fn retain(&mut self, is_kept: impl Fn(&Candidate<P>) -> bool) {
        let before = self.candidates.len();
        self.candidates.retain(is_kept);
        self.is_any_removed |= self.candidates.len() < before;
    }
}

impl<P> Candidate<P> {
    fn progress(&self) -> Progress {
        let now = Instant::now();
        // While this is borrowed nothing is sent, so that a closed channel means a failure.
        let kept = self.prepared.borrow();
        match &*kept {
            Some(kept) if kept.until > now => Progress::Prepared,
            None if self.prepared.has_changed().is_ok() => Progress::UnderWay,
            None if self.begun + KEPT_FOR > now => Progress::Failed,
            _ => Progress::Expired,
        }
    }
}

impl<P> Preparation<P> {
    /// Hands the component to all who ask for it, for a short time.
    pub(super) fn end(self, prepared: Arc<P>) {
        let until = Instant::now() + KEPT_FOR;
        // It may have made room for newer ones.
        let _ = self.sender.send(Some(KeptComponent { prepared, until }));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// What is known of a component without waiting.
    fn known(candidates: &Candidates<u8>, digest: &str) -> Option<Progress> {
        candidates.lock().candidates.iter().find(|known| known.digest == digest).map(Candidate::progress)
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_is_prepared_once_however_many_ask_for_it() {
        let candidates = Candidates::default();
        let preparation = candidates.begin_announced("a").unwrap();
        assert!(candidates.begin("a").is_none() && candidates.begin_announced("a").is_none(), "it is under way");
        let ending = async {
            advance(2 * KEPT_FOR).await;
            preparation.end(Arc::new(7));
        };
        let (first, second, ()) = tokio::join!(candidates.prepared("a"), candidates.prepared("a"), ending);
        assert_eq!((first.as_deref(), second.as_deref()), (Some(&7), Some(&7)), "it took long, and both have waited");
        assert_eq!(candidates.prepared("a").await.as_deref(), Some(&7));
        assert!(candidates.begin("a").is_none(), "it was done a short time ago");
        assert_eq!(candidates.prepared("b").await, None, "nobody has announced it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_is_not_deployed_is_removed_after_a_short_time() {
        let candidates = Candidates::default();
        candidates.begin("a").unwrap().end(Arc::new(7));
        let under_way = candidates.begin("b").unwrap();
        advance(KEPT_FOR - Duration::from_millis(1)).await;
        assert!(!candidates.remove_expired(), "nothing is over yet");
        advance(Duration::from_millis(1)).await;
        assert_eq!(candidates.prepared("a").await, None);
        assert!(candidates.remove_expired() && !candidates.remove_expired());
        assert_eq!((known(&candidates, "a"), known(&candidates, "b")), (None, Some(Progress::UnderWay)));
        assert!(candidates.begin("a").is_some());
        drop(under_way);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_repeated_only_for_a_deployment() {
        let candidates = Candidates::<u8>::default();
        drop(candidates.begin_announced("a").unwrap());
        assert_eq!(candidates.prepared("a").await, None);
        assert!(candidates.begin_announced("a").is_none(), "another announcement says nothing new");
        drop(candidates.begin("a").unwrap());
        advance(KEPT_FOR).await;
        drop(candidates.begin_announced("a").unwrap());
        candidates.forget("a");
        assert!(candidates.begin_announced("a").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_are_kept() {
        let candidates = Candidates::default();
        let names: Vec<String> = (0..=CANDIDATES_MAX).map(|number| number.to_string()).collect();
        for name in &names {
            candidates.begin_announced(name).unwrap().end(Arc::new(7));
        }
        let kept = names.iter().filter(|name| known(&candidates, name) == Some(Progress::Prepared)).count();
        assert_eq!((kept, known(&candidates, "0")), (CANDIDATES_MAX, None));
        assert!(candidates.remove_expired(), "one was removed to make room");
    }
}
