//! The keys behind `token_jwks_url`: a JWKS document that is read at the start, at a steady interval, and when a token
//! names a key that is not known. Only the task of [`KeySetUrl::run`] sends requests, one at a time and never two
//! within the pause, however many unknown keys are named. While the server does not answer, the keys of the last good
//! answer remain.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Url};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::digest;
use super::key_file::KeyFileError;
use super::key_ring::KeyRing;
use super::key_set::KeySet;
use crate::http_answer::{self, causes, excerpt};
use crate::ops::metrics;
use crate::server::problem::{ApiError, ErrorCode};

/// More than any key set has.
const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// The most requests that wait until the keys were read because of an unknown key. Others are refused at once.
const WAITING_MAX: usize = 64;
/// The label of this source in metrics.
const SOURCE: &str = "url";

/// The times of the requests for the keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeySetTimes {
    /// The keys are read this often.
    pub(super) refresh: Duration,
    /// After a failure they are read again after this time, if that is sooner.
    pub(super) retry: Duration,
    /// The time between the end of a request and the next one, whatever the reason.
    pub(super) pause: Duration,
    /// How long a request may take.
    pub(super) timeout: Duration,
}

impl KeySetTimes {
    pub(super) const fn refreshed_every(refresh: Duration) -> Self {
        let (retry, pause, timeout) = (Duration::from_secs(30), Duration::from_secs(2), Duration::from_secs(3));
        Self { refresh, retry, pause, timeout }
    }
}

/// The readings so far.
#[derive(Clone, Debug, Default)]
struct Readings {
    begun: u64,
    /// The number of the last reading that has ended.
    ended: u64,
    /// Why the last reading failed.
    problem: Option<String>,
    /// Whether one of them has succeeded.
    has_keys: bool,
}

/// A key set behind a URL.
#[derive(Debug)]
pub(super) struct KeySetUrl {
    client: Client,
    url: Url,
    /// The number of this source in the key ring.
    source: usize,
    times: KeySetTimes,
    readings: watch::Sender<Readings>,
    /// A token has named a key that is not known.
    requested: Notify,
    waiting: Semaphore,
    /// The digest of the last good answer.
    answer: Mutex<Option<[u8; 32]>>,
}

impl KeySetUrl {
    pub(super) fn new(url: &str, source: usize, times: KeySetTimes) -> Result<Self, KeyFileError> {
        let url = Url::parse(url).map_err(|error| KeyFileError::Url(error.to_string()))?;
        let client = Client::builder()
            .user_agent(concat!("roost/", env!("CARGO_PKG_VERSION")))
            // Whoever may redirect could name another server, and plain HTTP.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(times.timeout)
            .pool_max_idle_per_host(0)
            .build();
        Ok(Self {
            client: client.map_err(|error| KeyFileError::Url(error.to_string()))?,
            url,
            source,
            times,
            readings: watch::Sender::new(Readings::default()),
            requested: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
            answer: Mutex::default(),
        })
    }

    /// Whether there are keys; otherwise why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        let readings = self.readings.borrow();
        match &readings.problem {
            _ if readings.has_keys => Ok(()),
            Some(problem) => Err(format!("token_jwks_url has given no keys yet: {problem}")),
            None => Err("token_jwks_url was not read yet".to_owned()),
        }
    }

    /// Reads the keys for the first time, and then again and again; never returns.
    pub(super) async fn run(&self, ring: &KeyRing) {
        if self.readings.borrow().ended == 0 {
            self.read(ring).await;
        }
        loop {
            let KeySetTimes { refresh, retry, pause, .. } = self.times;
            let has_failed = self.readings.borrow().problem.is_some();
            let next = if has_failed { refresh.min(retry) } else { refresh };
            sleep(pause).await;
            tokio::select! {
                () = sleep(next.saturating_sub(pause)) => {}
                () = self.requested.notified() => {}
            }
            self.read(ring).await;
        }
    }

    /// Reads the keys once. Only one task may do so at a time.
    pub(super) async fn read(&self, ring: &KeyRing) {
        self.readings.send_modify(|readings| readings.begun += 1);
        let took_too_long = |_| Err(format!("it did not answer within {} ms", self.times.timeout.as_millis()));
        let read = timeout(self.times.timeout, self.fetch()).await.unwrap_or_else(took_too_long);
        let problem = match read {
            Ok(text) => self.apply(&text, ring).err(),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = &problem {
            tracing::warn!(problem, "token_jwks_url gave no usable keys; those of the last good answer remain in use");
            metrics::TOKEN_KEY_READS.of([SOURCE, "failed"]).inc();
        }
        metrics::TOKEN_KEYS_FAILING.of([SOURCE]).set(problem.is_some().into());
        self.readings.send_modify(|readings| {
            readings.ended = readings.begun;
            readings.has_keys |= problem.is_none();
            readings.problem = problem;
        });
    }

    fn apply(&self, text: &str, ring: &KeyRing) -> Result<(), String> {
        let set = KeySet::parse(text).map_err(|problem| excerpt(&problem))?;
        let digest = digest(text);
        let last = self.answer.lock().unwrap_or_else(PoisonError::into_inner).replace(digest);
        if last == Some(digest) {
            metrics::TOKEN_KEY_READS.of([SOURCE, "unchanged"]).inc();
            return Ok(());
        }
        set.warn("token_jwks_url");
        tracing::info!(keys = set.keys.len(), "the keys of token_jwks_url were read");
        metrics::TOKEN_KEY_READS.of([SOURCE, "changed"]).inc();
        ring.replace(self.source, set.keys);
        Ok(())
    }

    async fn fetch(&self) -> Result<String, String> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let response = request.send().await.map_err(unreachable)?;
        if response.status() != 200 {
            return Err(format!("it answered status {}", response.status().as_u16()));
        }
        let body = http_answer::body(response, KEY_SET_BYTES_MAX).await.map_err(unreachable)?;
        let body = body.ok_or_else(|| format!("its answer has more than {KEY_SET_BYTES_MAX} bytes"))?;
        String::from_utf8(body).map_err(|_| "its answer is not UTF-8".to_owned())
    }

    /// Has the keys read again because `is_known` does not hold, and waits for that. Returns whether it holds then. An
    /// error if the keys cannot be read at present, so that nobody knows whether the key exists.
    pub(super) async fn learn(&self, is_known: impl Fn() -> bool + Send + Sync) -> Result<bool, ApiError> {
        let Ok(_place) = self.waiting.try_acquire() else { return Err(self.unavailable()) };
        let mut readings = self.readings.subscribe();
        let begun = readings.borrow().begun;
        self.requested.notify_one();
        let learned = async {
            loop {
                let (has_ended, has_failed) = {
                    let readings = readings.borrow_and_update();
                    // One that had begun before may have missed the key.
                    (readings.ended > begun, readings.problem.is_some())
                };
                if is_known() {
                    return Ok(true);
                }
                if has_ended {
                    return if has_failed { Err(self.unavailable()) } else { Ok(false) };
                }
                if readings.changed().await.is_err() {
                    return Err(self.unavailable());
                }
            }
        };
        let KeySetTimes { pause, timeout: takes, .. } = self.times;
        timeout(pause + takes + takes, learned).await.unwrap_or_else(|_| Err(self.unavailable()))
    }

    fn unavailable(&self) -> ApiError {
        ApiError::from(ErrorCode::TokenKeysUnavailable).after(self.times.pause)
    }
}

fn unreachable(error: reqwest::Error) -> String {
    excerpt(&format!("it cannot be reached: {}", causes(error)))
}

#[cfg(test)]
mod tests;
