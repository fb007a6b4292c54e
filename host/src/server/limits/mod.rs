//! What one user may ask of this host, so that nobody takes what the others need: token buckets, calls in flight, and
//! reads of missed events. Services are exempt from the buckets and from the bound on calls.
//!
//! Every refusal says when to come back. A client that goes on in spite of refusals is answered later and later, so
//! that refusing costs little.

mod buckets;
pub(crate) mod connects;
mod replays;

use std::sync::Arc;
use std::time::Duration;

use roost_core::ids::UserId;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::buckets::{BucketRate, UserBuckets};
pub(crate) use self::connects::ConnectAdmission;
pub(crate) use self::replays::event_bytes;
use crate::config::{ConnectsConfig, UsersConfig};
use crate::ops::metrics;
use crate::runtime::keyed_places::{KeyedPlace, KeyedPlaces};
use crate::server::auth::Identity;
use crate::server::problem::{ApiError, ErrorCode};

/// A user's requests wait at most this long for one of the user's other calls to end.
const CALL_WAIT_MAX: Duration = Duration::from_secs(5);
/// So many requests of a user may wait for each one that is worked on.
const WAITING_FOR_EACH_CALL: usize = 16;
/// For each feed that may be read at once for a user, so many more reads may wait.
const WAITING_FOR_EACH_REPLAY: usize = 64;
/// How long refused calls and replays should wait before they are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The pause before another refusal is sent to a user who was refused more often than the bucket of requests allows.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);
/// Full buckets are removed this often.
const CLEAN_INTERVAL: Duration = Duration::from_secs(1);

/// A place among the calls of a user.
pub(crate) type CallOfUser = KeyedPlace<UserId>;

/// What is limited by a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Requests over HTTP.
    Requests,
    /// Frames of sockets.
    Frames,
    /// Messages that are sent, edited or deleted, by requests and by frames.
    Sends,
    /// Frames of the type `typing`.
    Typing,
    /// Sockets and event streams that are opened.
    Connects,
}

impl Limited {
    const ALL: [Self; 5] = [Self::Requests, Self::Frames, Self::Sends, Self::Typing, Self::Connects];

    /// The name in metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Frames => "frames",
            Self::Sends => "sends",
            Self::Typing => "typing",
            Self::Connects => "connects",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Frames => "frames",
            Self::Sends => "messages",
            Self::Typing => "frames `typing`",
            Self::Connects => "sockets and event streams",
        }
    }

    const fn rate(self, users: &UsersConfig) -> BucketRate {
        let (per_second, burst) = match self {
            Self::Requests => (users.requests_per_second_max, users.requests_burst_max),
            Self::Frames => (users.frames_per_second_max, users.frames_burst_max),
            Self::Sends => (users.sends_per_second_max, users.sends_burst_max),
            Self::Typing => (users.typing_per_second_max, users.typing_burst_max),
            Self::Connects => (users.connects_per_second_max, users.connects_burst_max),
        };
        BucketRate { per_second, burst }
    }

    /// What a frame of this type is counted as, besides a frame.
    pub(crate) fn of_frame(name: &str) -> Option<Self> {
        match name {
            "message.send" | "message.edit" | "message.delete" => Some(Self::Sends),
            "typing" => Some(Self::Typing),
            _ => None,
        }
    }

    /// What a request is counted as, besides a request. `route` is the path as its manifest writes it.
    pub(crate) fn of_request(method: &str, route: &str) -> Option<Self> {
        let about_messages =
            matches!(route, "/v1/conversations/{id}/messages" | "/v1/conversations/{id}/messages/{message}");
        (about_messages && !matches!(method, "GET" | "HEAD")).then_some(Self::Sends)
    }
}

/// The limits of all users of this host.
pub(crate) struct UserLimits {
    /// In the order of [`Limited::ALL`].
    buckets: [UserBuckets; Limited::ALL.len()],
    /// How often a user is refused at once. Further refusals are sent after a pause.
    refusals: UserBuckets,
    calls: Arc<KeyedPlaces<UserId>>,
    replays_of_users: Arc<KeyedPlaces<UserId>>,
    replays: Semaphore,
    replay_bytes_max: usize,
}

impl UserLimits {
    pub(crate) fn new(users: &UsersConfig, connects: &ConnectsConfig) -> Self {
        Self {
            buckets: Limited::ALL.map(|limited| UserBuckets::new(limited.rate(users))),
            refusals: UserBuckets::new(Limited::Requests.rate(users)),
            calls: KeyedPlaces::new(users.calls_max, users.calls_max * WAITING_FOR_EACH_CALL),
            replays_of_users: KeyedPlaces::new(users.replays_max, users.replays_max * WAITING_FOR_EACH_REPLAY),
            replays: Semaphore::new(connects.replays_max),
            replay_bytes_max: connects.replay_bytes_max,
        }
    }

    /// Takes a token of a user's bucket, or says when there is one again.
    pub(crate) fn count(&self, user: UserId, limited: Limited) -> Result<(), ApiError> {
        let Some(buckets) = self.buckets.get(limited as usize) else { return Ok(()) };
        buckets.take(user).map_err(|retry_after| {
            let BucketRate { per_second, burst } = buckets.rate();
            let noun = limited.noun();
            let detail = format!(
                "a user may have {per_second} {noun} a second, and {burst} at once after a pause; wait for the time that \
                 `retry_after_ms` says"
            );
            refusal(limited.label(), detail, retry_after)
        })
    }

    /// Counts a request and what it is besides. A user who goes on in spite of refusals is refused after a pause.
    pub(crate) async fn count_request(
        &self,
        identity: &Identity,
        limited: impl IntoIterator<Item = Limited>,
    ) -> Result<(), ApiError> {
        let Some(user) = limited_user(identity) else { return Ok(()) };
        for limited in limited {
            if let Err(error) = self.count(user, limited) {
                self.pause_before_refusal(user).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// A place for a request, until its answer is written. It is taken before the request's body is read, and waiting
    /// for it takes nothing that others need. Services need none.
    pub(crate) async fn begin_call(&self, identity: &Identity) -> Result<Option<CallOfUser>, ApiError> {
        let Some(user) = limited_user(identity) else { return Ok(None) };
        match timeout(CALL_WAIT_MAX, self.calls.take(user)).await {
            Ok(Some(place)) => Ok(Some(place)),
            _ => {
                self.pause_before_refusal(user).await;
                let detail = "too many requests of this user are worked on or wait; wait for their answers";
                Err(refusal("calls", detail.to_owned(), RETRY_AFTER))
            }
        }
    }

    /// A place for a frame, until its answer is written. Sockets bound how many frames wait.
    pub(crate) async fn begin_frame(&self, user: UserId) -> CallOfUser {
        loop {
            if let Some(place) = self.calls.take(user).await {
                return place;
            }
            // The user's requests fill the queue.
            sleep(RETRY_AFTER).await;
        }
    }

    async fn pause_before_refusal(&self, user: UserId) {
        if self.refusals.take(user).is_err() {
            sleep(REFUSAL_PAUSE).await;
        }
    }

    /// Removes the buckets of users who are quiet, again and again; never returns.
    pub(crate) async fn clean(&self) {
        let mut ticks = interval(CLEAN_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refusals.remove_full();
            for (limited, buckets) in Limited::ALL.into_iter().zip(&self.buckets) {
                buckets.remove_full();
                let users = i64::try_from(buckets.users()).unwrap_or(i64::MAX);
                metrics::LIMITED_USERS.of([limited.label()]).set(users);
            }
        }
    }
}

/// The user whom buckets and the bound on calls apply to: one with a token of their own.
pub(crate) const fn limited_user(identity: &Identity) -> Option<UserId> {
    match identity {
        Identity::User { user, .. } => Some(*user),
        Identity::Service { .. } | Identity::Anonymous => None,
    }
}

fn refusal(kind: &str, detail: String, retry_after: Duration) -> ApiError {
    metrics::RATE_LIMITED.of([kind]).inc();
    // Rounded up: whoever comes back after so many milliseconds is not refused for a fraction of one.
    let milliseconds = u64::try_from(retry_after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    ApiError::new(ErrorCode::RateLimited, detail).after(Duration::from_millis(milliseconds.max(1)))
}

#[cfg(test)]
mod tests;
