//! Which server leads which slot. Without a Cluster one server leads all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::node::Node;
use super::{Address, ConnectionFactory, UnusableServer};
use crate::config::RedisMode;
use crate::store::redis::names::SLOTS;

/// The topology is looked up this often even if nothing requests it.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);
/// The least time between two look-ups, however often one is requested.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);

/// The slots after the preceding range, up to and including `last`, are led by `node`.
struct SlotRange {
    last: u16,
    /// `None`: no server leads these slots.
    node: Option<Arc<Node>>,
}

/// Which server leads which slot, kept up to date by [`Topology::keep_refreshed`].
pub(crate) struct Topology {
    factory: Arc<ConnectionFactory>,
    ranges: ArcSwap<Vec<SlotRange>>,
    /// Every node that leads slots or was named by a redirection.
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    refresh_requested: Notify,
    changes: watch::Sender<u64>,
}

impl Topology {
    /// Connects to the servers, or returns why that is impossible.
    pub(crate) async fn open(factory: Arc<ConnectionFactory>) -> Result<Arc<Self>, UnusableServer> {
        let topology = Arc::new(Self {
            factory,
            ranges: ArcSwap::default(),
            nodes: Mutex::default(),
            refresh_requested: Notify::new(),
            changes: watch::Sender::new(0),
        });
        let deadline = Instant::now() + topology.factory.config().connect_timeout;
        if topology.factory.config().url.mode == RedisMode::Cluster {
            topology.look_up_first(deadline).await?;
        } else {
            let server = topology.factory.configured_addresses().into_iter().next().ok_or_else(no_server)?;
            let node = Some(topology.node_at(&server));
            topology.ranges.store(Arc::new(vec![SlotRange { last: SLOTS - 1, node }]));
        }
        for node in topology.primaries() {
            node.wait_connected(deadline).await?;
        }
        Ok(topology)
    }

    /// Asks the configured nodes until one knows the leaders.
    async fn look_up_first(&self, deadline: Instant) -> Result<(), UnusableServer> {
        loop {
            let mut failure = no_server();
            for address in self.factory.configured_addresses() {
                match self.ask_any_node(&address).await {
                    Ok(leaders) => {
                        self.replace(leaders);
                        return Ok(());
                    }
                    Err(error) => failure = error,
                }
            }
            if failure.is_permanent() || Instant::now() >= deadline {
                return Err(failure);
            }
            sleep(REFRESH_PAUSE).await;
        }
    }

    /// The node that leads a slot, if there is one.
    pub(crate) fn leader(&self, slot: u16) -> Option<Arc<Node>> {
        let ranges = self.ranges.load();
        ranges.get(ranges.partition_point(|range| range.last < slot)).and_then(|range| range.node.clone())
    }

    /// Every node that leads slots.
    pub(crate) fn primaries(&self) -> Vec<Arc<Node>> {
        let ranges = self.ranges.load();
        let mut nodes: Vec<Arc<Node>> = ranges.iter().filter_map(|range| range.node.clone()).collect();
        nodes.sort_by(|one, other| one.address.cmp(&other.address));
        nodes.dedup_by(|one, other| one.address == other.address);
        nodes
    }

    /// The node at an address, which is connected to if it was not known.
    pub(crate) fn node_at(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Node::start(self.factory.clone(), address.clone());
        nodes.entry(address.clone()).or_insert_with(start).clone()
    }

    /// Requests a look-up, because a server did not answer as the topology says.
    pub(crate) fn request_refresh(&self) {
        self.refresh_requested.notify_one();
    }

    /// Changes whenever other servers lead.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks the leaders up whenever that is requested, and at intervals, until the future is dropped.
    pub(crate) async fn keep_refreshed(self: Arc<Self>) {
        loop {
            let _ = timeout(REFRESH_INTERVAL, self.refresh_requested.notified()).await;
            if !self.refresh().await {
                self.request_refresh();
            }
            sleep(REFRESH_PAUSE).await;
        }
    }

    /// Asks the leaders, beginning with a random one, and then the configured nodes. Returns whether one answered.
    async fn refresh(&self) -> bool {
        let mut leaders = self.primaries();
        if !leaders.is_empty() {
            let first = rand::random_range(0..leaders.len());
            leaders.rotate_left(first);
        }
        for node in leaders {
            if let Some(leaders) = ask_leader(&node).await {
                self.replace(leaders);
                return true;
            }
        }
        for address in self.factory.configured_addresses() {
            if let Ok(leaders) = self.ask_any_node(&address).await {
                self.replace(leaders);
                return true;
            }
        }
        false
    }

    /// Asks a node that may lead no slots, over a connection that is opened for this question.
    async fn ask_any_node(&self, address: &Address) -> Result<SlotLeaders, UnusableServer> {
        let mut connection = self.factory.connect(address, |_| {}).await?;
        let answer: Result<Value, RedisError> = cluster_slots().query_async(&mut connection).await;
        match answer {
            Ok(Value::Array(ranges)) if ranges.is_empty() => Err(UnusableServer::NoSlots),
            Ok(slots) => read_slots(&slots, address).ok_or(UnusableServer::UnexpectedAnswer("CLUSTER SLOTS")),
            Err(error) if error.detail().is_some_and(|text| text.contains("support disabled")) => {
                Err(UnusableServer::NoCluster)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn replace(&self, leaders: SlotLeaders) {
        let mut ranges = Vec::new();
        let mut next = 0;
        for (first, last, address) in leaders {
            if first > next {
                ranges.push(SlotRange { last: first - 1, node: None });
            }
            ranges.push(SlotRange { last, node: Some(self.node_at(&address)) });
            next = last.saturating_add(1);
        }
        let addresses = |ranges: &[SlotRange]| -> Vec<(u16, Option<Address>)> {
            ranges.iter().map(|range| (range.last, range.node.as_ref().map(|node| node.address.clone()))).collect()
        };
        if addresses(&self.ranges.load()) == addresses(&ranges) {
            return;
        }
        self.ranges.store(Arc::new(ranges));
        self.drop_other_nodes();
        tracing::info!(primaries = self.primaries().len(), "the leaders of the Redis Cluster's slots have changed");
        self.changes.send_modify(|change| *change += 1);
    }

    /// Closes the connections to nodes that lead no slots.
    fn drop_other_nodes(&self) {
        let leaders = self.primaries();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, _| leaders.iter().any(|leader| leader.address == *address));
    }
}

fn no_server() -> UnusableServer {
    UnusableServer::NotConnected("the URL names no server".to_owned())
}

/// The first slot, the last slot and the leader of each range, in this order.
type SlotLeaders = Vec<(u16, u16, Address)>;

fn cluster_slots() -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

async fn ask_leader(node: &Node) -> Option<SlotLeaders> {
    let connection = node.connection().await.ok()?;
    let replies = connection.send(redis::pipe().add_command(cluster_slots())).await.ok()?;
    read_slots(replies.first()?, &connection.address)
}

/// Reads the reply to `CLUSTER SLOTS`; `None` if this node knows no leader.
pub(in crate::store::redis) fn read_slots(reply: &Value, asked: &Address) -> Option<SlotLeaders> {
    let Value::Array(ranges) = reply else { return None };
    let mut leaders: SlotLeaders = ranges.iter().filter_map(|range| read_range(range, asked)).collect();
    leaders.sort_unstable();
    (!leaders.is_empty()).then_some(leaders)
}

/// Reads `[first, last, [host, port, …], replicas…]`. A leader without a host is at the host that was asked.
fn read_range(range: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(leader), ..] = parts.as_slice() else { return None };
    let [host, Value::Int(port), ..] = leader.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) if !host.is_empty() && host != b"?" => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => asked.host.clone(),
    };
    let address = Address { host, port: u16::try_from(*port).ok()? };
    Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, address))
}
