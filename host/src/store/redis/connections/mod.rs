//! Where Redis is and how to get in: opens connections, and hides the password in everything that is shown.

pub(crate) mod backoff;
pub(crate) mod node;
pub(crate) mod requests;
pub(crate) mod sentinel;
pub(crate) mod server;
pub(crate) mod topology;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisResult, TlsCertificates,
};
use roost_core::time::Timestamp;
use tokio::sync::watch;

use crate::config::{RedisConfig, RedisMode};

/// Requests that wait in one connection before their senders do.
const QUEUE: usize = 4_096;
/// Server processes that are remembered.
const SERVERS_MAX: usize = 1_024;

/// A server's place in the network.
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

/// Opens connections as the configuration says.
pub(crate) struct Dial {
    config: RedisConfig,
    authority: Option<Vec<u8>>,
    /// Since when each server process is known to serve.
    began: Mutex<HashMap<String, Timestamp>>,
    /// Counts server processes, at their first meeting.
    met: watch::Sender<u64>,
}

impl Dial {
    /// Reads the file with the certificates that are trusted, if there is one.
    pub(crate) fn new(config: RedisConfig) -> std::io::Result<Self> {
        let authority = config.ca_file.as_ref().map(std::fs::read).transpose()?;
        Ok(Self { config, authority, began: Mutex::default(), met: watch::Sender::new(0) })
    }

    pub(crate) const fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The earliest moment since which this process is known to serve; here, or from what was found out before.
    pub(crate) fn began(&self, server: &str, began: Timestamp) -> Timestamp {
        let mut known = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERVERS_MAX {
            known.clear();
        }
        let earliest = known.entry(server.to_owned()).or_insert_with(|| {
            self.met.send_modify(|met| *met += 1);
            began
        });
        *earliest = began.min(*earliest);
        *earliest
    }

    /// Changes when a process is met that was not known.
    pub(crate) fn met(&self) -> watch::Receiver<u64> {
        self.met.subscribe()
    }

    pub(crate) fn seeds(&self) -> Vec<Address> {
        let address = |(host, port): &(String, u16)| Address { host: host.clone(), port: *port };
        self.config.url.nodes.iter().map(address).collect()
    }

    /// A connection whose pushes go to `heard`, which must not block.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        heard: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout))
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |info| {
                heard(info);
                Ok::<(), std::convert::Infallible>(())
            });
        // The crate's bound covers the network, not a server that accepts and never answers.
        let connected = self.client(address, true)?;
        let opening = connected.get_multiplexed_async_connection_with_config(&config);
        within(self.config.connect_timeout + self.config.response_timeout, opening).await
    }

    /// A connection to a sentinel, which has neither databases nor the servers' users.
    pub(crate) async fn connect_sentinel(&self, address: &Address) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let client = self.client(address, false)?;
        within(self.config.connect_timeout, client.get_multiplexed_async_connection_with_config(&config)).await
    }

    fn client(&self, address: &Address, is_server: bool) -> RedisResult<Client> {
        let (host, port) = (address.host.clone(), address.port);
        let url = &self.config.url;
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if is_server {
            settings = settings.set_db(if url.mode == RedisMode::Cluster { 0 } else { url.database });
            if let Some(username) = &url.username {
                settings = settings.set_username(username);
            }
            if let Some(password) = &url.password {
                settings = settings.set_password(&password.0);
            }
        }
        if !url.tls {
            let info = ConnectionAddr::Tcp(host, port).into_connection_info()?;
            return Client::open(info.set_redis_settings(settings));
        }
        let tls = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        let info = tls.into_connection_info()?.set_redis_settings(settings);
        Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: self.authority.clone() })
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
