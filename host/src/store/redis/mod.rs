//! Live state in Redis 7.0 or newer: one server, one behind sentinels, or a Cluster. Shared by all hosts.
//!
//! Each transaction is one command or one script, so Redis itself keeps it whole; `commit.lua` says how. This file makes a
//! store of the parts: `client` and `node` carry requests, `read`, `commit` and `feed` say them in Redis's words, `entry` an event of a feed, `bus`
//! hears what is published, `clock` knows Redis's time.

mod clock;
mod commit;
mod connections;
mod entry;
mod errors;
mod feed;
mod invocation;
mod names;
mod read;
mod scripts;
mod subscriptions;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics::Counter;
use redis::Value as Answer;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, StoreError, Subscriber, Transaction, Value,
    validate_commit, validate_publish, validate_read,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::clock::StoreTime;
use self::connections::Dial;
use self::connections::requests::Client;
use self::connections::topology::Topology;
use self::names::Names;
use self::subscriptions::Channels;
use super::Stats;
use crate::config::{RedisConfig, RedisMode};

/// The clock is measured this often, and the store's figures are taken.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
/// Measurements of the clock before the first use.
const FIRST_MEASUREMENTS: usize = 3;

/// A store in Redis.
pub struct RedisStore {
    names: Names,
    met: watch::Receiver<u64>,
    topology: Arc<Topology>,
    client: Client,
    channels: Arc<Channels>,
    time: StoreTime,
    figures: Figures,
    url: String,
    /// Ends with the store.
    _keepers: JoinSet<()>,
}

/// What the servers said about themselves last.
#[derive(Default)]
struct Figures {
    keys: AtomicU64,
    bytes: AtomicU64,
    evicted: AtomicU64,
}

impl RedisStore {
    /// Connects, or says why that is impossible. The error names the URL without its password.
    pub async fn open(config: RedisConfig) -> anyhow::Result<Self> {
        let url = config.url.to_string();
        let dial = Arc::new(Dial::new(config).context("the file of store_ca_file cannot be read")?);
        let names = Names::new(&dial.config().prefix, dial.config().url.mode == RedisMode::Cluster);
        let opened = Topology::open(dial.clone()).await;
        let topology = opened.with_context(|| format!("the store {url} cannot be used"))?;
        let channels = Arc::new(Channels::new(dial.clone(), names.clone(), topology.clone()));
        let met = dial.met();
        let mut keepers = JoinSet::new();
        keepers.spawn(topology.clone().keep());
        let following = channels.clone();
        keepers.spawn(async move { following.follow().await });
        let client = Client::new(topology.clone(), dial.config().commands_max);
        let (time, figures) = (StoreTime::new(), Figures::default());
        let store = Self { names, met, topology, client, channels, time, figures, url, _keepers: keepers };
        for _ in 0..FIRST_MEASUREMENTS {
            store.measure_time().await.with_context(|| format!("the store {} does not tell the time", store.url))?;
        }
        Ok(store)
    }

    /// The present moment by the clock of the first primary.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Changes when another server process was met: it may hold an older copy.
    pub fn replaced(&self) -> watch::Receiver<u64> {
        self.met.clone()
    }

    /// What was found out last; feeds are among the keys.
    pub fn stats(&self) -> Stats {
        Stats {
            keys: self.figures.keys.load(Ordering::Relaxed),
            feeds: 0,
            subscriptions: self.channels.len() as u64,
            bytes: self.figures.bytes.load(Ordering::Relaxed),
            evicted: self.figures.evicted.load(Ordering::Relaxed),
        }
    }

    /// Whether every part of the store can be asked; otherwise which cannot, and why.
    pub async fn ready(&self) -> Result<(), String> {
        let primaries = self.topology.primaries();
        let down = primaries.iter().find_map(|node| node.fault()).or_else(|| self.channels.fault());
        if let Some(fault) = down {
            return Err(format!("{}: {fault}", self.url));
        }
        for node in primaries {
            let pinged = match node.session().await {
                Ok(session) => session.exchange(redis::pipe().cmd("PING")).await,
                Err(error) => Err(error),
            };
            pinged.map_err(|error| format!("{}: {}: {error}", self.url, node.address))?;
        }
        Ok(())
    }

    /// Keeps the clock in step and the figures fresh until `shutdown`.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(MEASURE_INTERVAL) => {}
            }
            // While the store is away, time goes on as it went.
            let _ = self.measure_time().await;
            self.take_figures().await;
        }
    }

    async fn measure_time(&self) -> Result<(), StoreError> {
        let node = self.topology.primaries().into_iter().next().ok_or(errors::unavailable())?;
        let session = node.session().await?;
        let asked = Instant::now();
        let answers = session.exchange(redis::pipe().cmd("TIME")).await?;
        let answered = Instant::now();
        let answer = answers.into_iter().next().unwrap_or_default();
        let (seconds, microseconds): (u64, u64) = redis::from_redis_value(answer).map_err(|_| errors::unavailable())?;
        self.time.learn(seconds * 1_000_000 + microseconds, asked, answered);
        Ok(())
    }

    async fn take_figures(&self) {
        let (mut keys, mut bytes, mut evicted) = (0, 0, 0);
        for node in self.topology.primaries() {
            let Ok(session) = node.session().await else { return };
            let mut asked = redis::pipe();
            asked.cmd("DBSIZE").cmd("INFO").arg("memory").cmd("INFO").arg("stats");
            let Ok(answers) = session.exchange(&asked).await else { return };
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or_default();
            keys += redis::from_redis_value::<u64>(next()).unwrap_or_default();
            bytes += figure(next(), "used_memory");
            let stats = next();
            evicted += figure(stats.clone(), "expired_keys") + figure(stats, "evicted_keys");
        }
        self.figures.keys.store(keys, Ordering::Relaxed);
        self.figures.bytes.store(bytes, Ordering::Relaxed);
        self.figures.evicted.store(evicted, Ordering::Relaxed);
    }
}

/// A line of `INFO`; zero if there is none.
fn figure(info: Answer, name: &str) -> u64 {
    let info: String = redis::from_redis_value(info).unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    line.unwrap_or_default()
}

impl KeyValue for RedisStore {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        validate_read(&queries)?;
        read::read(&self.client, &self.names, &queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        validate_commit(&transactions)?;
        commit::commit(&self.client, &self.names, &transactions).await
    }
}

impl PubSub for RedisStore {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        validate_publish(&publications)?;
        commit::publish(&self.client, &self.names, publications).await
    }
}

impl Bus for RedisStore {
    async fn join(&self, user: UserId, subscriber: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        self.channels.join(user, subscriber).await
    }

    async fn leave(&self, user: UserId) {
        self.channels.leave(user);
    }
}

impl Feeds for RedisStore {
    async fn positions(&self, users: &[UserId]) -> Result<Vec<Position>, StoreError> {
        feed::positions(&self.client, &self.names, (users, self.now())).await
    }

    async fn replay(&self, user: UserId, since: &Position) -> Result<Replay, StoreError> {
        feed::replay(&self.client, &self.names, user, (since, self.now())).await
    }
}

/// Counts one round trip and its commands.
fn count(commands: usize) {
    COUNTERS.round_trips.increment(1);
    COUNTERS.commands.increment(commands as u64);
}

/// Bound to the process's recorder at the first use, so that none looks its counter up.
struct Counters {
    round_trips: Counter,
    commands: Counter,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| Counters {
    round_trips: metrics::counter!("roost_redis_round_trips_total"),
    commands: metrics::counter!("roost_redis_commands_total"),
});
