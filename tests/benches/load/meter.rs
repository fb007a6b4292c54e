//! The cost of a round beside time: the server's processor time, the commands that Redis executed, and the host's own
//! counters.

use std::fs;
use std::ops::Sub;

use roost_tests::client::Client;
use roost_tests::metrics::Metrics;

/// Linux reports processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Readings of counters that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Processor seconds of the server, in user and kernel mode.
    pub cpu_seconds: f64,
    /// Commands that Redis executed for all clients, including those inside scripts.
    pub redis_commands: f64,
    /// The host's round trips to Redis.
    pub round_trips: f64,
    /// Commands that the host sent to Redis.
    pub commands_sent: f64,
}

impl Sub for Reading {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            redis_commands: self.redis_commands - before.redis_commands,
            round_trips: self.round_trips - before.round_trips,
            commands_sent: self.commands_sent - before.commands_sent,
        }
    }
}

impl Reading {
    pub fn add(&mut self, other: Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.redis_commands += other.redis_commands;
        self.round_trips += other.round_trips;
        self.commands_sent += other.commands_sent;
    }
}

/// The sources of the readings of one server.
pub struct Meter {
    process: u32,
    admin: Option<Client>,
    redis: Option<redis::Client>,
}

impl Meter {
    /// A meter of a process; `admin` is a client of its admin listener, `store_url` its store.
    pub fn new(process: u32, admin: Option<Client>, store_url: &str) -> Self {
        let redis = store_url.starts_with("redis").then(|| redis::Client::open(store_url).expect("a URL of Redis"));
        Self { process, admin, redis }
    }

    pub async fn read(&self) -> Reading {
        let metrics = self.metrics().await;
        Reading {
            cpu_seconds: cpu_seconds(self.process),
            redis_commands: self.redis.as_ref().map_or(0.0, commands_carried_out),
            round_trips: metrics.sum("roost_redis_round_trips_total", &[]),
            commands_sent: metrics.sum("roost_redis_commands_total", &[]),
        }
    }

    /// The metrics of the server, empty if it has no admin listener.
    pub async fn metrics(&self) -> Metrics {
        match &self.admin {
            Some(admin) => Metrics::of(admin).await,
            None => Metrics::none(),
        }
    }
}

/// The 14th and 15th field of the process's line. The second field, its name, can hold anything and ends with a
/// parenthesis.
fn cpu_seconds(process: u32) -> f64 {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = line.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

fn commands_carried_out(redis: &redis::Client) -> f64 {
    let mut connection = redis.get_connection().expect("Redis answers");
    let statistics: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).expect("its statistics");
    let calls = statistics.lines().filter_map(|line| {
        let (command, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        (command != "info").then(|| figures.split(',').next()?.parse::<f64>().ok())?
    });
    calls.sum()
}
