//! Connections to Redis: where its servers are, and how a connection to one is opened.
//!
//! [`ConnectionFactory`] opens connections as the configuration says and never shows the password. `node` keeps one
//! connection to each server open, `topology` knows which server leads which slot, `requests` sends requests there.

mod node;
pub(crate) mod requests;
mod server;
pub(crate) mod topology;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, RedisResult, TlsCertificates,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;

pub(crate) use self::node::NodeConnection;
pub(crate) use self::server::{ServerProcess, UnusableServer};
use crate::config::{RedisConfig, RedisMode, Secret};

/// Requests that wait for one connection; when there are more, their senders wait.
const REQUEST_QUEUE_MAX: usize = 4_096;
/// Server processes that are remembered.
const PROCESSES_MAX: usize = 1_024;

/// The host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Opens connections as the configuration says, and remembers the server processes that they led to.
pub(crate) struct ConnectionFactory {
    config: RedisConfig,
    /// The certificates that are trusted, in PEM; `None`: those of the operating system.
    authority: Option<Vec<u8>>,
    /// For each server process, the earliest time since which it is known to serve.
    serving_since: Mutex<HashMap<String, Timestamp>>,
    /// The number of server processes that this host has met.
    processes_met: watch::Sender<u64>,
}

impl ConnectionFactory {
    /// Reads the file with the trusted certificates, if one is configured.
    pub(crate) fn new(config: RedisConfig) -> std::io::Result<Self> {
        let authority = config.ca_file.as_ref().map(std::fs::read).transpose()?;
        Ok(Self { config, authority, serving_since: Mutex::default(), processes_met: watch::Sender::new(0) })
    }

    pub(crate) const fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The earliest time since which this server process is known to serve, from `since` and all earlier answers.
    pub(crate) fn serving_since(&self, process: &str, since: Timestamp) -> Timestamp {
        let mut known = self.serving_since.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PROCESSES_MAX {
            known.clear();
        }
        let earliest = known.entry(process.to_owned()).or_insert_with(|| {
            self.processes_met.send_modify(|count| *count += 1);
            since
        });
        *earliest = since.min(*earliest);
        *earliest
    }

    /// Changes when a server process is met for the first time.
    pub(crate) fn processes_met(&self) -> watch::Receiver<u64> {
        self.processes_met.subscribe()
    }

    /// The servers that the URL names.
    pub(crate) fn configured_addresses(&self) -> Vec<Address> {
        let address = |(host, port): &(String, u16)| Address { host: host.clone(), port: *port };
        self.config.url.nodes.iter().map(address).collect()
    }

    /// Where to connect for this configured server: to the server itself, or to the primary that the sentinels name.
    pub(crate) async fn resolve(&self, configured: &Address) -> Result<Address, UnusableServer> {
        match &self.config.url.mode {
            RedisMode::Sentinel(service) => self.ask_sentinels(service).await,
            RedisMode::Standalone | RedisMode::Cluster => Ok(configured.clone()),
        }
    }

    /// Opens a connection to a server. `on_push` receives its push messages and must not block.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let config = self.timeouts().set_pipeline_buffer_size(REQUEST_QUEUE_MAX).set_push_sender(move |push| {
            on_push(push);
            Ok::<(), std::convert::Infallible>(())
        });
        let client = self.server_client(address)?;
        // The crate limits the time of the TCP connection, but not of a server that accepts it and never answers.
        let limit = self.config.connect_timeout + self.config.response_timeout;
        within(limit, client.get_multiplexed_async_connection_with_config(&config)).await
    }

    /// The primary of a service, as the first sentinel that knows it answers.
    async fn ask_sentinels(&self, service: &str) -> Result<Address, UnusableServer> {
        let mut failure = UnusableServer::UnknownService(service.to_owned());
        for sentinel in self.configured_addresses() {
            match self.ask_sentinel(&sentinel, service).await {
                Ok(Some((host, port))) => return Ok(Address { host, port }),
                Ok(None) => {}
                Err(error) => failure = UnusableServer::of_sentinel(error),
            }
        }
        Err(failure)
    }

    async fn ask_sentinel(&self, sentinel: &Address, service: &str) -> Result<Option<(String, u16)>, RedisError> {
        let config = self.timeouts();
        let client = self.sentinel_client(sentinel)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(self.config.connect_timeout, connecting).await?;
        redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(service).query_async(&mut connection).await
    }

    fn timeouts(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout))
    }

    /// A client of a server.
    fn server_client(&self, address: &Address) -> RedisResult<Client> {
        let url = &self.config.url;
        let database = if url.mode == RedisMode::Cluster { 0 } else { url.database };
        let settings = credentials(url.username.as_ref(), url.password.as_ref()).set_db(database);
        self.client(address, url.tls, settings)
    }

    /// A client of a sentinel, which has neither the databases nor the users of a server.
    fn sentinel_client(&self, address: &Address) -> RedisResult<Client> {
        let RedisConfig { sentinel_username, sentinel_password, sentinel_tls, url, .. } = &self.config;
        let settings = credentials(sentinel_username.as_ref(), sentinel_password.as_ref());
        self.client(address, sentinel_tls.unwrap_or(url.tls), settings)
    }

    fn client(&self, address: &Address, uses_tls: bool, settings: RedisConnectionInfo) -> RedisResult<Client> {
        let (host, port) = (address.host.clone(), address.port);
        if !uses_tls {
            let info = ConnectionAddr::Tcp(host, port).into_connection_info()?;
            return Client::open(info.set_redis_settings(settings));
        }
        let tls = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        let info = tls.into_connection_info()?.set_redis_settings(settings);
        Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: self.authority.clone() })
    }
}

fn credentials(username: Option<&String>, password: Option<&Secret>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(&password.0);
    }
    settings
}

async fn within<T>(limit: Duration, connecting: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// The waits before attempts to connect: each is twice the one before, shortened by up to a half at random, so that
/// two hosts do not try at the same time.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const MIN: Duration = Duration::from_millis(25);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) const fn new() -> Self {
        Self(Self::MIN)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::MAX);
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        let (min, max) = (Backoff::MIN, Backoff::MAX);
        assert!(waits[0] <= min && waits[11] >= max / 2 && waits.iter().all(|wait| *wait <= max), "{waits:?}");
        assert!(waits[8..].windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
    }
}
