//! What the hosts of a cluster share about deployments, in Redis: one hash with the desired state, one hash for each
//! component, one hash with the reports of the hosts, and two channels for announcements: of changes of the state, and
//! of components that may be deployed soon.
//!
//! Components are divided, so that a large one does not hold up the commands of the same connection for long. One that
//! no state names has a time to live from its first part on.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, PushInfo, PushKind, ServerError, Value as Reply, cmd};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connections::requests::RequestUnit;
use super::connections::topology::Topology;
use super::connections::{Backoff, ConnectionFactory, UnusableServer};
use super::names::RedisNames;
use super::{RedisStore, errors, scripts};
use crate::ops::supervisor::{Supervisor, TaskHealth};
use crate::runtime::COMPONENT_BYTES_MAX;
use crate::runtime::deployments::{CANDIDATES_MAX, ClusterDeployments, ClusterResult, DesiredState, HostReport};

/// The size of the parts in which a component is written and read.
const PART_BYTES: usize = 512 * 1024;
/// The most parts of a component.
const PARTS_MAX: usize = COMPONENT_BYTES_MAX.div_ceil(PART_BYTES);
/// How long a component is kept that no state names yet.
const UNNAMED_SECONDS: u64 = 3_600;
/// The field with the number of parts, which is written with the last of them.
const PARTS: &str = "parts";
/// A connection without announcements is checked with `PING` this often.
const PING_INTERVAL: Duration = Duration::from_secs(5);

const STATE: &str = "deployments:state";
const HOSTS: &str = "deployments:hosts";
const CHANNEL: &str = "deployments:changed";
const CANDIDATES: &str = "deployments:candidate";

impl RedisStore {
    async fn one<T: FromRedisValue>(&self, key: &str, command: Cmd) -> ClusterResult<T> {
        let unit = RequestUnit::single(self.names.slot_of(key), command);
        let reply = self.replies(key, unit).await?.pop().unwrap_or_default();
        read(key, &reply)
    }

    /// Sends commands about a key together. None of the replies is an error.
    async fn replies(&self, key: &str, unit: RequestUnit) -> ClusterResult<Vec<Reply>> {
        let mut results = self.requests.send(&[unit]).await?;
        let replies = results.pop().unwrap_or(Err(errors::unavailable()))?.values;
        if let Some(error) = replies.iter().find_map(refusal) {
            tracing::error!(
                key,
                code = error.code(),
                details = error.details(),
                "Redis refused a command about deployments"
            );
            return Err(errors::unavailable());
        }
        Ok(replies)
    }

    fn component_key(&self, digest: &str) -> String {
        self.names.plain(&format!("deployments:component:{digest}"))
    }

    /// Changes the time to live of a component. Returns whether the store has all of it.
    async fn has_whole(&self, key: &str, change: Cmd) -> ClusterResult<bool> {
        let (mut fields, mut parts) = (cmd("HLEN"), cmd("HGET"));
        fields.arg(key);
        parts.arg(key).arg(PARTS);
        let commands = vec![change, fields, parts];
        let unit = RequestUnit { slot: self.names.slot_of(key), commands, is_signed: false };
        let replies = self.replies(key, unit).await?;
        let [_, fields, parts] = replies.as_slice() else { return Err(errors::unavailable()) };
        let (fields, parts): (usize, Option<usize>) = (read(key, fields)?, read(key, parts)?);
        Ok(parts.is_some_and(|parts| fields == parts + 1))
    }
}

fn read<T: FromRedisValue>(key: &str, reply: &Reply) -> ClusterResult<T> {
    redis::from_redis_value(reply.clone()).map_err(|_| errors::unexpected(key, reply))
}

/// The error in a reply, or in one of the replies of a transaction.
fn refusal(reply: &Reply) -> Option<&ServerError> {
    match reply {
        Reply::ServerError(error) => Some(error),
        Reply::Array(replies) => replies.iter().find_map(|reply| match reply {
            Reply::ServerError(error) => Some(error),
            _ => None,
        }),
        _ => None,
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
            let mut command = cmd("HMGET");
            command.arg(&key).arg(PARTS).arg(0);
            let (parts, first): (Option<usize>, Option<Vec<u8>>) = self.one(&key, command).await?;
            let Some((parts, mut bytes)) = parts.zip(first).filter(|(parts, _)| *parts <= PARTS_MAX) else {
                return Ok(None);
            };
            for part in 1..parts {
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
            // One that is kept has no time to live, and gets none.
            let mut renew = cmd("EXPIRE");
            renew.arg(&key).arg(UNNAMED_SECONDS).arg("GT");
            if self.has_whole(&key, renew).await? {
                return Ok(());
            }
            let count = bytes.len().div_ceil(PART_BYTES);
            for (index, part) in bytes.chunks(PART_BYTES).enumerate() {
                let mut write = cmd("HSET");
                write.arg(&key).arg(index).arg(part);
                if index + 1 == count {
                    write.arg(PARTS).arg(count);
                }
                let mut commands = vec![write];
                if index == 0 {
                    let mut expire = cmd("EXPIRE");
                    expire.arg(&key).arg(UNNAMED_SECONDS);
                    commands.push(expire);
                }
                // Nothing is left without a time to live, whenever this ends.
                self.replies(&key, RequestUnit::atomic(self.names.slot_of(&key), commands)).await?;
            }
            Ok(())
        })
    }

    fn discard_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            // Only a key with a time to live (`XX`) expires at once.
            let mut command = cmd("EXPIRE");
            command.arg(&key).arg(0).arg("XX");
            self.one::<u64>(&key, command).await.map(drop)
        })
    }

    fn announce_candidate<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<()>> {
        Box::pin(async move {
            let channel = self.names.plain(CANDIDATES);
            let mut command = cmd("PUBLISH");
            command.arg(&channel).arg(digest);
            self.one::<u64>(&channel, command).await.map(drop)
        })
    }

    fn keep_component<'s>(&'s self, digest: &'s str) -> BoxFuture<'s, ClusterResult<bool>> {
        Box::pin(async move {
            let key = self.component_key(digest);
            let mut keep = cmd("PERSIST");
            keep.arg(&key);
            self.has_whole(&key, keep).await
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
        self.announcements.started().changes.subscribe()
    }

    fn candidates(&self) -> broadcast::Receiver<String> {
        self.announcements.started().candidates.subscribe()
    }
}

/// The announcements of all hosts. The connection for them is opened when somebody first wants them.
pub(super) struct Announcements {
    receiver: Arc<AnnouncementReceiver>,
    task: OnceLock<Supervisor>,
}

impl Announcements {
    pub(super) fn new(factory: Arc<ConnectionFactory>, topology: Arc<Topology>, names: RedisNames) -> Self {
        let received = Received::new(names.plain(CANDIDATES));
        let receiver = AnnouncementReceiver { factory, topology, names, received };
        Self { receiver: Arc::new(receiver), task: OnceLock::new() }
    }

    fn started(&self) -> &Received {
        self.task.get_or_init(|| {
            let mut task = Supervisor::new(TaskHealth::of_process());
            let receiver = self.receiver.clone();
            task.spawn("deployment_announcements", move || receiver.clone().run());
            task
        });
        &self.receiver.received
    }
}

/// Hands on what is announced. Clones share the receivers.
#[derive(Clone)]
struct Received {
    candidates_channel: String,
    changes: watch::Sender<u64>,
    candidates: broadcast::Sender<String>,
}

impl Received {
    fn new(candidates_channel: String) -> Self {
        let (changes, candidates) = (watch::Sender::new(0), broadcast::Sender::new(CANDIDATES_MAX));
        Self { candidates_channel, changes, candidates }
    }

    /// A message: its channel and its text. Everything but a candidate counts as a change.
    fn message(&self, message: &[Reply]) {
        match message {
            [Reply::BulkString(channel), Reply::BulkString(digest)]
                if *channel == self.candidates_channel.as_bytes() =>
            {
                // Without a receiver, nobody prepares it.
                let _ = self.candidates.send(String::from_utf8_lossy(digest).into_owned());
            }
            _ => self.changed(),
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Receives the announcements, over a connection of its own.
struct AnnouncementReceiver {
    factory: Arc<ConnectionFactory>,
    topology: Arc<Topology>,
    names: RedisNames,
    received: Received,
}

impl AnnouncementReceiver {
    /// Receives until the future is dropped. Announcements may be missed while there is no connection, so every new
    /// connection counts as one of a change.
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new();
        loop {
            let closed = CancellationToken::new();
            match self.open(&closed).await {
                Ok(connection) => {
                    backoff = Backoff::new();
                    self.received.changed();
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
        let (received, close) = (self.received.clone(), closed.clone());
        let on_push = move |push: PushInfo| match push.kind {
            PushKind::Message => received.message(&push.data),
            PushKind::Disconnection => close.cancel(),
            _ => {}
        };
        let mut connection = self.factory.connect(&address, on_push).await?;
        for channel in [CHANNEL, CANDIDATES] {
            cmd("SUBSCRIBE").arg(self.names.plain(channel)).exec_async(&mut connection).await?;
        }
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
