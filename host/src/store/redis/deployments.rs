//! What the hosts of a cluster share about deployments, in Redis: one hash with the desired state, one hash for each
//! component, one hash with the reports of the hosts, and a channel for announcements.
//!
//! Components are divided, so that a large one does not hold up the commands of the same connection for long.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, PushInfo, PushKind, Value as Reply, cmd};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connections::requests::RequestUnit;
use super::connections::topology::Topology;
use super::connections::{Backoff, ConnectionFactory, UnusableServer};
use super::names::RedisNames;
use super::{RedisStore, errors, scripts};
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::runtime::deployments::{ClusterDeployments, ClusterResult, DesiredState, HostReport};

/// The size of the parts in which a component is written and read.
const PART_BYTES: usize = 512 * 1024;
/// How long a component is kept that no state names yet.
const UNNAMED_SECONDS: u64 = 3_600;
/// The field with the number of parts, which is written after them.
const PARTS: &str = "parts";
/// A connection without announcements is checked with `PING` this often.
const PING_INTERVAL: Duration = Duration::from_secs(5);

const STATE: &str = "deployments:state";
const HOSTS: &str = "deployments:hosts";
const CHANNEL: &str = "deployments:changed";

impl RedisStore {
    async fn one<T: FromRedisValue>(&self, key: &str, command: Cmd) -> ClusterResult<T> {
        let unit = RequestUnit::single(self.names.slot_of(key), command);
        let mut results = self.requests.send(&[unit]).await?;
        let reply = results.pop().unwrap_or(Err(errors::unavailable()))?.last();
        if let Reply::ServerError(error) = &reply {
            tracing::error!(
                key,
                code = error.code(),
                details = error.details(),
                "Redis refused a command about deployments"
            );
            return Err(errors::unavailable());
        }
        redis::from_redis_value(reply.clone()).map_err(|_| errors::unexpected(key, &reply))
    }

    fn component_key(&self, digest: &str) -> String {
        self.names.plain(&format!("deployments:component:{digest}"))
    }

    async fn parts(&self, key: &str) -> ClusterResult<Option<usize>> {
        let mut command = cmd("HGET");
        command.arg(key).arg(PARTS);
        self.one(key, command).await
    }
}

impl ClusterDeployments for RedisStore {
    fn state(&self) -> BoxFuture<'_, ClusterResult<Option<DesiredState>>> {
        Box::pin(async {
            let key = self.names.plain(STATE);
            let mut command = cmd("HGET");
            command.arg(&key).arg("state");
            let text: Option<String> = self.one(&key, command).await?;
            Ok(text.and_then(|text| match serde_json::from_str(&text) {
                Ok(state) => Some(state),
                Err(error) => {
                    tracing::error!(key, %error, "the desired state in Redis is damaged; a host replaces it by its own copy");
                    None
                }
            }))
        })
    }

    fn replace<'s>(&'s self, before: u64, next: &'s DesiredState) -> BoxFuture<'s, ClusterResult<bool>> {
        Box::pin(async move {
            let key = self.names.plain(STATE);
            let text = serde_json::to_string(next).unwrap_or_default();
            let mut command = scripts::replace_deployments().call([&key].into_iter());
            command.arg(before).arg(next.version).arg(text).arg(self.names.plain(CHANNEL));
            let replaced: u8 = self.one(&key, command).await?;
            Ok(replaced == 1)
        })
    }

    fn component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<Option<Vec<u8>>>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            let Some(parts) = self.parts(&key).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            for part in 0..parts {
                let mut command = cmd("HGET");
                command.arg(&key).arg(part);
                let Some(mut part) = self.one::<Option<Vec<u8>>>(&key, command).await? else { return Ok(None) };
                bytes.append(&mut part);
            }
            Ok(Some(bytes))
        })
    }

    fn put_component<'s>(&'s self, digest: &'s str, bytes: &'s [u8]) -> BoxFuture<'s, ClusterResult<()>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            let parts = bytes.chunks(PART_BYTES);
            let count = parts.len();
            for (index, part) in parts.enumerate() {
                let mut command = cmd("HSET");
                command.arg(&key).arg(index).arg(part);
                self.one::<u64>(&key, command).await?;
                if index == 0 {
                    let mut command = cmd("EXPIRE");
                    command.arg(&key).arg(UNNAMED_SECONDS);
                    self.one::<u64>(&key, command).await?;
                }
            }
            let mut command = cmd("HSET");
            command.arg(&key).arg(PARTS).arg(count);
            self.one::<u64>(&key, command).await.map(drop)
        })
    }

    fn keep_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<bool>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            let mut command = cmd("PERSIST");
            command.arg(&key);
            self.one::<u64>(&key, command).await?;
            let mut command = cmd("HLEN");
            command.arg(&key);
            let fields: usize = self.one(&key, command).await?;
            Ok(self.parts(&key).await?.is_some_and(|parts| fields == parts + 1))
        })
    }

    fn remove_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            let mut command = cmd("UNLINK");
            command.arg(&key);
            self.one::<u64>(&key, command).await.map(drop)
        })
    }

    fn report<'s>(&'s self, report: &'s HostReport, ended: &'s [String]) -> BoxFuture<'s, ClusterResult<()>> {
        Box::pin(async move {
            let key = self.names.plain(HOSTS);
            let text = serde_json::to_string(report).unwrap_or_default();
            let mut command = cmd("HSET");
            command.arg(&key).arg(&report.host).arg(text);
            self.one::<u64>(&key, command).await?;
            if !ended.is_empty() {
                let mut command = cmd("HDEL");
                command.arg(&key).arg(ended);
                self.one::<u64>(&key, command).await?;
            }
            Ok(())
        })
    }

    fn reports(&self) -> BoxFuture<'_, ClusterResult<BTreeMap<String, HostReport>>> {
        Box::pin(async {
            let key = self.names.plain(HOSTS);
            let mut command = cmd("HGETALL");
            command.arg(&key);
            let texts: BTreeMap<String, String> = self.one(&key, command).await?;
            // A report that this version cannot read is another version's.
            let read = |(host, text): (String, String)| Some((host, serde_json::from_str(&text).ok()?));
            Ok(texts.into_iter().filter_map(read).collect())
        })
    }

    fn announcements(&self) -> watch::Receiver<u64> {
        self.announcements.subscribe()
    }
}

/// The announcements of changes. The connection for them is opened when somebody first wants them.
pub(super) struct Announcements {
    receiver: Arc<AnnouncementReceiver>,
    task: OnceLock<Supervisor>,
}

impl Announcements {
    pub(super) fn new(factory: Arc<ConnectionFactory>, topology: Arc<Topology>, names: RedisNames) -> Self {
        let receiver = AnnouncementReceiver { factory, topology, names, announced: watch::Sender::new(0) };
        Self { receiver: Arc::new(receiver), task: OnceLock::new() }
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.task.get_or_init(|| {
            let mut task = Supervisor::new(TaskHealth::of_process());
            let receiver = self.receiver.clone();
            task.spawn("deployment_announcements", move || receiver.clone().run());
            task
        });
        self.receiver.announced.subscribe()
    }
}

/// Receives the announcements, over a connection of its own.
struct AnnouncementReceiver {
    factory: Arc<ConnectionFactory>,
    topology: Arc<Topology>,
    names: RedisNames,
    announced: watch::Sender<u64>,
}

impl AnnouncementReceiver {
    /// Receives until the future is dropped. Announcements may be missed while there is no connection, so every new
    /// connection counts as one.
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new();
        loop {
            let closed = CancellationToken::new();
            match self.open(&closed).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.announced.send_modify(|count| *count += 1);
                    serve(connection, &closed).await;
                }
                Err(error) => tracing::debug!(%error, "announcements of deployments cannot be received; trying again"),
            }
            sleep(backoff.next()).await;
        }
    }

    async fn open(&self, closed: &CancellationToken) -> Result<MultiplexedConnection, UnusableServer> {
        let node = self.topology.primaries().into_iter().next();
        let node = node.ok_or_else(|| UnusableServer::NotConnected("no primary is known".to_owned()))?;
        let address = self.factory.resolve(&node.address).await?;
        let (announced, close) = (self.announced.clone(), closed.clone());
        let on_push = move |push: PushInfo| match push.kind {
            PushKind::Message => announced.send_modify(|count| *count += 1),
            PushKind::Disconnection => close.cancel(),
            _ => {}
        };
        let mut connection = self.factory.connect(&address, on_push).await?;
        cmd("SUBSCRIBE").arg(self.names.plain(CHANNEL)).exec_async(&mut connection).await?;
        Ok(connection)
    }
}

/// Waits until the connection is lost.
async fn serve(mut connection: MultiplexedConnection, closed: &CancellationToken) {
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            () = sleep(PING_INTERVAL) => {
                if cmd("PING").exec_async(&mut connection).await.is_err() {
                    return;
                }
            }
        }
    }
}
