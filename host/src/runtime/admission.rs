//! Bounds how many calls of one function run at once, and how many may wait for one of them to end. A call beyond both
//! bounds is answered `Busy`.
//!
//! No user and no conversation takes every place, and a call that waits for another call gives its place away
//! meanwhile.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roost_core::ids::{ConversationId, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::CallError;
use super::call_keys::CallKeys;
use super::keyed_places::{KeyedPlace, KeyedPlaces};

/// How long a caller that is refused is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many calls of one function are admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionBounds {
    pub(super) running_max: usize,
    /// How many calls may pause in addition to those that run.
    pub(super) paused_max: usize,
    pub(super) waiting_max: usize,
    pub(super) wait_max: Duration,
}

/// Admits the calls of one function.
#[derive(Debug)]
pub(super) struct CallAdmission {
    bounds: AdmissionBounds,
    running: Arc<Semaphore>,
    paused: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// New calls wait for a place one at a time, so that a call which was paused finds at most one of them before it.
    entrance: Semaphore,
    /// The places of single users and conversations.
    shares: Arc<KeyedPlaces<ShareKey>>,
}

/// Whoever may have only a share of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ShareKey {
    User(UserId),
    Conversation(ConversationId),
}

/// A call that may run. Dropping it gives its places back.
#[derive(Debug)]
pub(super) struct AdmittedCall {
    place: Arc<CallPlace>,
    _shares: [Option<KeyedPlace<ShareKey>>; 2],
}

/// The place of a running call, which it gives away while it is paused.
#[derive(Debug)]
pub(super) struct CallPlace {
    running: Arc<Semaphore>,
    paused: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl CallAdmission {
    pub(super) fn new(bounds: AdmissionBounds) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let share = (bounds.running_max / 4).max(1);
        let waiting_share = (bounds.waiting_max - bounds.waiting_max / 4).max(1);
        Self {
            running: semaphore(bounds.running_max),
            paused: semaphore(bounds.paused_max),
            waiting: AtomicUsize::new(0),
            entrance: Semaphore::new(1),
            shares: KeyedPlaces::new(share, waiting_share),
            bounds,
        }
    }

    /// Admits a call if it does not have to wait.
    pub(super) fn try_admit(&self, keys: CallKeys) -> Option<AdmittedCall> {
        let conversation = match keys.conversation {
            Some(conversation) => Some(self.shares.try_take(ShareKey::Conversation(conversation))?),
            None => None,
        };
        // The shares of users are counted only when places become few, because most calls find them free.
        let user = match keys.user {
            Some(user) if self.is_crowded() => Some(self.shares.try_take(ShareKey::User(user))?),
            _ => None,
        };
        let permit = Arc::clone(&self.running).try_acquire_owned().ok()?;
        Some(self.admitted(permit, [user, conversation]))
    }

    /// Admits a call, at once or after a bounded wait.
    pub(super) async fn admit(&self, keys: CallKeys) -> Result<AdmittedCall, CallError> {
        if let Some(admitted) = self.try_admit(keys) {
            return Ok(admitted);
        }
        let _waiting = Waiting::new(self).ok_or(BUSY)?;
        let admitted = tokio::time::timeout(self.bounds.wait_max, self.wait_for_places(keys)).await;
        admitted.ok().flatten().ok_or(BUSY)
    }

    /// `None` if too many calls of the user or about the conversation wait.
    async fn wait_for_places(&self, keys: CallKeys) -> Option<AdmittedCall> {
        let user = match keys.user {
            Some(user) => Some(self.shares.take(ShareKey::User(user)).await?),
            None => None,
        };
        let conversation = match keys.conversation {
            Some(conversation) => Some(self.shares.take(ShareKey::Conversation(conversation)).await?),
            None => None,
        };
        let _entrance = self.entrance.acquire().await.ok()?;
        let permit = Arc::clone(&self.running).acquire_owned().await.ok()?;
        Some(self.admitted(permit, [user, conversation]))
    }

    fn is_crowded(&self) -> bool {
        self.running.available_permits() <= self.bounds.running_max / 2
    }

    fn admitted(&self, permit: OwnedSemaphorePermit, shares: [Option<KeyedPlace<ShareKey>>; 2]) -> AdmittedCall {
        let (running, paused) = (Arc::clone(&self.running), Arc::clone(&self.paused));
        let place = CallPlace { running, paused, permit: Mutex::new(Some(permit)) };
        AdmittedCall { place: Arc::new(place), _shares: shares }
    }
}

impl AdmittedCall {
    /// The place of the call, for what it waits for.
    pub(super) fn place(&self) -> Arc<CallPlace> {
        Arc::clone(&self.place)
    }
}

impl Drop for AdmittedCall {
    fn drop(&mut self) {
        self.place.exchange(None);
    }
}

impl CallPlace {
    /// Waits for what another call does. Meanwhile others may have the place, unless too many calls are paused.
    pub(super) async fn pause<F: Future>(&self, wait: F) -> F::Output {
        let Ok(_paused) = self.paused.try_acquire() else { return wait.await };
        self.exchange(None);
        let output = wait.await;
        // The semaphore is never closed.
        let permit = Arc::clone(&self.running).acquire_owned().await.ok();
        self.exchange(permit);
        output
    }

    fn exchange(&self, permit: Option<OwnedSemaphorePermit>) {
        let before = std::mem::replace(&mut *self.permit.lock().unwrap_or_else(PoisonError::into_inner), permit);
        drop(before);
    }
}

/// The answer to a call beyond the bounds.
pub(super) const BUSY: CallError = CallError::Busy { retry_after: RETRY_AFTER };

/// One place among the calls that wait; given back when it is dropped.
struct Waiting<'a>(&'a CallAdmission);

impl<'a> Waiting<'a> {
    fn new(admission: &'a CallAdmission) -> Option<Self> {
        let before = admission.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Self(admission);
        (before < admission.bounds.waiting_max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
