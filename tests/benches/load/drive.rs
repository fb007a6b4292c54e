//! Puts load on one address: as much as the connections carry, or a fixed number of requests per second.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::client::Connection;

/// The largest latency, in µs; the histogram keeps three digits.
const MICROSECONDS_MAX: u64 = 60_000_000;
/// The largest number of requests that are due and not sent yet, at a fixed rate; more are counted as failed.
const DUE_MAX: usize = 10_000;

/// No latencies yet, in µs. Every histogram of a run has the same bounds, so that they can be added.
pub fn no_latencies() -> Histogram<u64> {
    Histogram::new_with_max(MICROSECONDS_MAX, 3).expect("the bounds are valid")
}

/// The requests to one address, sent repeatedly in order by whichever connection is free.
pub struct Requests {
    rendered: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Requests {
    pub fn new(rendered: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { rendered, next: AtomicUsize::new(0) })
    }

    fn next(&self) -> &[u8] {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        &self.rendered[number % self.rendered.len()]
    }
}

/// The result of a round.
pub struct Outcome {
    /// The latencies of successful requests, in µs.
    pub latencies: Histogram<u64>,
    /// The number of failed answers, and of requests that were not sent in time.
    pub failures: u64,
    /// The first failure as text.
    pub first_failure: Option<String>,
    /// The time from the first request to the last answer.
    pub took: Duration,
}

impl Outcome {
    pub fn new() -> Self {
        Self { latencies: no_latencies(), failures: 0, first_failure: None, took: Duration::ZERO }
    }

    /// Adds another round.
    pub fn add(&mut self, other: &Self) {
        self.took += other.took;
        self.merge(other);
    }

    pub fn requests(&self) -> u64 {
        self.latencies.len()
    }

    pub fn per_second(&self) -> f64 {
        self.requests() as f64 / self.took.as_secs_f64()
    }

    /// A percentile of the latencies, in milliseconds.
    pub fn percentile(&self, percentile: f64) -> f64 {
        self.latencies.value_at_percentile(percentile) as f64 / 1e3
    }

    /// Adds the result of another connection in the same round.
    fn merge(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the bounds are the same");
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or_else(|| other.first_failure.clone());
    }

    fn note(&mut self, since: Instant, answer: anyhow::Result<()>) {
        match answer {
            Ok(()) => self.latencies.saturating_record(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn fail(&mut self, why: &str) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(|| why.to_owned());
    }
}

/// Sends as many requests as the connections carry in this time.
pub async fn closed(address: SocketAddr, requests: &Arc<Requests>, connections: usize, span: Duration) -> Outcome {
    let began = Instant::now();
    let workers = (0..connections).map(|_| {
        let requests = Arc::clone(requests);
        async move {
            let mut outcome = Outcome::new();
            let mut connection = Connection::open(address).await.expect("the host takes connections");
            while began.elapsed() < span {
                let asked = Instant::now();
                let answer = connection.ask(requests.next()).await;
                outcome.note(asked, answer);
            }
            outcome
        }
    });
    gather(workers, began).await
}

/// Sends a fixed number of requests per second, whether earlier ones are answered or not. A latency counts from the
/// time at which the request was due.
pub async fn open(address: SocketAddr, requests: &Arc<Requests>, connections: usize, rate: FixedRate) -> Outcome {
    let began = Instant::now();
    let (due, waiting) = mpsc::channel(DUE_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    // A separate thread, because its sleeps are more precise than the runtime's.
    let metronome = std::thread::spawn(move || schedule_requests(began, rate, &due));
    let workers = (0..connections).map(|_| {
        let (requests, waiting) = (Arc::clone(requests), Arc::clone(&waiting));
        async move {
            let mut outcome = Outcome::new();
            let mut connection = Connection::open(address).await.expect("the host takes connections");
            while let Some(due) = next(&waiting).await {
                let answer = connection.ask(requests.next()).await;
                outcome.note(due, answer);
            }
            outcome
        }
    });
    let mut outcome = gather(workers, began).await;
    for _ in 0..metronome.join().expect("the metronome ends") {
        outcome.fail("not sent: every connection was busy");
    }
    outcome
}

/// A fixed rate of requests.
#[derive(Clone, Copy)]
pub struct FixedRate {
    pub per_second: u32,
    pub span: Duration,
}

/// Sends the due time of each request; returns how many did not fit into the queue.
fn schedule_requests(began: Instant, rate: FixedRate, due: &mpsc::Sender<Instant>) -> u64 {
    let total = rate.span.as_secs_f64() * f64::from(rate.per_second);
    let mut refused = 0;
    for number in 0..total as u32 {
        let due_at = began + Duration::from_secs_f64(f64::from(number) / f64::from(rate.per_second));
        std::thread::sleep(due_at.saturating_duration_since(Instant::now()));
        refused += u64::from(due.try_send(due_at).is_err());
    }
    refused
}

async fn next(waiting: &Mutex<mpsc::Receiver<Instant>>) -> Option<Instant> {
    waiting.lock().await.recv().await
}

async fn gather(
    workers: impl Iterator<Item = impl Future<Output = Outcome> + Send + 'static>,
    began: Instant,
) -> Outcome {
    let mut running: JoinSet<Outcome> = workers.collect();
    let mut outcome = Outcome::new();
    while let Some(one) = running.join_next().await {
        outcome.merge(&one.expect("a worker does not panic"));
    }
    outcome.took = began.elapsed();
    outcome
}
