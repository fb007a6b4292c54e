//! Live state in Redis 7.0 or newer, shared by all hosts: one server, a primary behind sentinels, or a Cluster.
//!
//! Each transaction is one command or one call of a script, so that Redis carries it out as a whole. This file makes a
//! store of the parts: `connections` carries requests, `read`, `commit` and `feed` turn them into commands,
//! `subscriptions` receives what is published, and `clock` knows the time of Redis.

mod app_totals;
mod clock;
mod cluster_commit;
mod commit;
mod connections;
mod deployments;
mod errors;
mod feed;
// The tests fuzz the parsers of replies through this module.
#[doc(hidden)]
pub mod fuzzing;
mod large_commits;
mod ledger;
mod names;
mod read;
mod script_calls;
mod scripts;
mod subscriptions;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use redis::Value as Answer;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, ScreenedCall, StoreError, Subscriber,
    Transaction, Value, validate_publish, validate_read,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;

use self::app_totals::AppTotals;
use self::clock::RedisClock;
use self::connections::ConnectionFactory;
use self::connections::requests::RequestSender;
use self::connections::topology::Topology;
use self::deployments::Announcements;
use self::names::RedisNames;
use self::subscriptions::Subscriptions;
use super::StoreStats;
use super::outbox::{self, PlainStore};
use crate::config::{RedisConfig, RedisMode};
use crate::ops::metrics;
use crate::ops::supervisor::{Supervisor, TaskHealth};

/// How often the clock is measured and the servers are asked for their statistics.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
/// The number of measurements of the clock before the store is used.
const FIRST_MEASUREMENTS: usize = 3;

/// A store in Redis.
pub struct RedisStore {
    names: RedisNames,
    processes_met: watch::Receiver<u64>,
    topology: Arc<Topology>,
    requests: Arc<RequestSender>,
    /// On a Cluster only: elsewhere each transaction counts what all items of its function take.
    app_totals: Option<Arc<AppTotals>>,
    subscriptions: Arc<Subscriptions>,
    announcements: Announcements,
    clock: RedisClock,
    stats: ServerStats,
    /// The URL without its password.
    url: String,
    /// Background tasks, which end when the store is dropped.
    _tasks: Supervisor,
}

/// The sums of what the servers reported last.
#[derive(Default)]
struct ServerStats {
    keys: AtomicU64,
    bytes: AtomicU64,
    evicted: AtomicU64,
}

impl RedisStore {
    /// Connects to Redis.
    ///
    /// # Errors
    /// Why Redis cannot be used. The message names the URL without its password.
    pub async fn open(config: RedisConfig) -> anyhow::Result<Self> {
        let url = config.url.to_string();
        let ca_file = config.ca_file.clone().unwrap_or_default();
        let factory = ConnectionFactory::new(config)
            .with_context(|| format!("store_ca_file: the file {} cannot be read", ca_file.display()))?;
        let factory = Arc::new(factory);
        let names = RedisNames::new(&factory.config().prefix, factory.config().url.mode == RedisMode::Cluster);
        let topology = Topology::open(factory.clone()).await;
        let topology = topology.with_context(|| format!("the store {url} cannot be used"))?;
        let subscriptions = Arc::new(Subscriptions::new(factory.clone(), names.clone(), topology.clone()));
        let mut tasks = Supervisor::new(TaskHealth::of_process());
        let (refreshed, following) = (topology.clone(), subscriptions.clone());
        if factory.config().url.mode == RedisMode::Cluster {
            tasks.spawn("redis_topology", move || refreshed.clone().keep_refreshed());
        }
        tasks.spawn("redis_subscriptions", move || {
            let following = following.clone();
            async move { following.follow_topology().await }
        });
        let requests = Arc::new(RequestSender::new(topology.clone(), factory.config().commands_max));
        let app_totals = names.in_cluster().then(|| Arc::new(AppTotals::new()));
        if let Some(totals) = app_totals.clone() {
            let (requests, names) = (requests.clone(), names.clone());
            tasks.spawn("redis_app_totals", move || {
                let (totals, requests, names) = (totals.clone(), requests.clone(), names.clone());
                async move { totals.run(&requests, &names).await }
            });
        }
        let store = Self {
            announcements: Announcements::new(factory.clone(), topology.clone(), names.clone()),
            names,
            processes_met: factory.processes_met(),
            requests,
            app_totals,
            topology,
            subscriptions,
            clock: RedisClock::new(),
            stats: ServerStats::default(),
            url,
            _tasks: tasks,
        };
        for _ in 0..FIRST_MEASUREMENTS {
            let measured = store.measure_clock().await;
            measured.with_context(|| format!("the store {} does not answer TIME", store.url))?;
        }
        Ok(store)
    }

    /// The present time on the clock of the first primary.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Changes when another server process was met, which may hold an older copy of the data.
    pub fn replaced(&self) -> watch::Receiver<u64> {
        self.processes_met.clone()
    }

    /// What the servers reported last. Feeds are counted among the keys.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            keys: self.stats.keys.load(Ordering::Relaxed),
            feeds: 0,
            subscriptions: self.subscriptions.len() as u64,
            bytes: self.stats.bytes.load(Ordering::Relaxed),
            evicted: self.stats.evicted.load(Ordering::Relaxed),
        }
    }

    /// Checks that every server can be asked and accepts writes.
    ///
    /// # Errors
    /// Which server cannot, and why, for the operator.
    pub async fn ready(&self) -> Result<(), String> {
        let primaries = self.topology.primaries();
        let problem = primaries.iter().find_map(|node| node.problem()).or_else(|| self.subscriptions.problem());
        if let Some(problem) = problem {
            return Err(format!("{}: {problem}", self.url));
        }
        if let Some((node, refusal)) = primaries.iter().find_map(|node| Some((node, node.write_refusal()?))) {
            return Err(format!("{}: {}: {}", self.url, node.address, refusal.advice()));
        }
        for node in primaries {
            let pinged = match node.connection().await {
                Ok(connection) => connection.send(redis::pipe().cmd("PING")).await,
                Err(error) => Err(error),
            };
            pinged.map_err(|error| format!("{}: {}: {error}", self.url, node.address))?;
        }
        Ok(())
    }

    /// Measures the clock and asks for the servers' statistics at intervals, until `shutdown`.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(MEASURE_INTERVAL) => {}
            }
            // Without an answer the clock goes on as it was measured last.
            let _ = self.measure_clock().await;
            self.collect_stats().await;
        }
    }

    async fn measure_clock(&self) -> Result<(), StoreError> {
        let node = self.topology.primaries().into_iter().next().ok_or(errors::unavailable())?;
        let connection = node.connection().await?;
        let asked = Instant::now();
        let answers = connection.send(redis::pipe().cmd("TIME")).await?;
        let answered = Instant::now();
        let answer = answers.into_iter().next().unwrap_or_default();
        let (seconds, microseconds): (u64, u64) = redis::from_redis_value(answer).map_err(|_| errors::unavailable())?;
        self.clock.measured(seconds * 1_000_000 + microseconds, asked, answered);
        Ok(())
    }

    async fn collect_stats(&self) {
        let (mut keys, mut bytes, mut evicted) = (0, 0, 0);
        let primaries = self.topology.primaries();
        let refusing = primaries.iter().filter(|node| node.write_refusal().is_some()).count();
        metrics::REDIS_REFUSING.set(i64::try_from(refusing).unwrap_or(i64::MAX));
        for node in primaries {
            let Ok(connection) = node.connection().await else { return };
            let mut pipeline = redis::pipe();
            pipeline.cmd("DBSIZE").cmd("INFO").arg("memory").cmd("INFO").arg("stats");
            let Ok(answers) = connection.send(&pipeline).await else { return };
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or_default();
            keys += redis::from_redis_value::<u64>(next()).unwrap_or_default();
            bytes += info_number(next(), "used_memory");
            let stats = next();
            evicted += info_number(stats.clone(), "expired_keys") + info_number(stats, "evicted_keys");
        }
        self.stats.keys.store(keys, Ordering::Relaxed);
        self.stats.bytes.store(bytes, Ordering::Relaxed);
        self.stats.evicted.store(evicted, Ordering::Relaxed);
    }
}

/// The number in a line of `INFO`; zero if there is no such line.
fn info_number(info: Answer, name: &str) -> u64 {
    let info: String = redis::from_redis_value(info).unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    line.unwrap_or_default()
}

impl KeyValue for RedisStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        validate_read(&queries)?;
        read::read(&self.requests, &self.names, &queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        outbox::commit(self, transactions).await
    }
}

impl PlainStore for RedisStore {
    fn time(&self) -> Timestamp {
        self.now()
    }

    async fn commit_plain(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let mut call = ScreenedCall::of(transactions)?;
        let accepted = call.take_accepted();
        let outcomes = match &self.app_totals {
            Some(totals) => cluster_commit::commit((&self.requests, totals), &self.names, &accepted).await?,
            None => commit::outcomes_of(large_commits::commit(&self.requests, &self.names, &accepted).await?),
        };
        Ok(call.outcomes(outcomes))
    }
}

impl PubSub for RedisStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        validate_publish(&publications)?;
        commit::publish(&self.requests, &self.names, publications).await
    }
}

impl Bus for RedisStore {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.subscriptions.join(user, subscriber).await
    }

    async fn leave(&self, user: UserId) {
        self.subscriptions.leave(user);
    }
}

impl Feeds for RedisStore {
    async fn follow(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        feed::follow(&self.requests, &self.names, (users, self.now())).await
    }

    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        feed::positions(&self.requests, &self.names, (users, self.now())).await
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        feed::replay(&self.requests, &self.names, user, (since, self.now())).await
    }
}

/// Counts a round trip and its commands for the metrics.
fn count_round_trip(commands: usize) {
    metrics::REDIS_ROUND_TRIPS.inc();
    metrics::REDIS_COMMANDS.inc_by(commands as u64);
}
