//! Which server leads which slot. Without a Cluster one server leads them all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Address, Dial};
use crate::store::redis::errors;
use crate::store::redis::names::SLOTS;
use super::node::Node;
use super::server::Unusable;
use crate::config::RedisMode;

/// A topology that nobody doubts is looked up again after this.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);
/// Doubts within this lead to one look-up.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);

/// Slots up to and with `last` are led by `node`, from where the range before ended.
struct Range {
    last: u16,
    node: Option<Arc<Node>>,
}

/// Who leads what, kept up to date by [`Topology::keep`].
pub(crate) struct Topology {
    dial: Arc<Dial>,
    ranges: ArcSwap<Vec<Range>>,
    /// Every node that leads slots or was named by a redirection.
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    doubted: Notify,
    changes: watch::Sender<u64>,
}

impl Topology {
    /// Connects to the servers, or says why that is impossible.
    pub(crate) async fn open(dial: Arc<Dial>) -> Result<Arc<Self>, Unusable> {
        let topology = Arc::new(Self {
            dial,
            ranges: ArcSwap::default(),
            nodes: Mutex::default(),
            doubted: Notify::new(),
            changes: watch::Sender::new(0),
        });
        let deadline = Instant::now() + topology.dial.config().connect_timeout;
        if topology.dial.config().url.mode == RedisMode::Cluster {
            topology.look_up_first(deadline).await?;
        } else {
            let server = topology.dial.seeds().into_iter().next().ok_or(Unusable::Strange("the URL"))?;
            let node = Some(topology.node_at(&server));
            topology.ranges.store(Arc::new(vec![Range { last: SLOTS - 1, node }]));
        }
        for node in topology.primaries() {
            node.first_session(deadline).await.map_err(|why| silent(&node, why))?;
        }
        Ok(topology)
    }

    /// Asks the configured nodes until one knows who leads.
    async fn look_up_first(&self, deadline: Instant) -> Result<(), Unusable> {
        loop {
            let mut fault = Unusable::Strange("the URL");
            for seed in self.dial.seeds() {
                match self.ask_stranger(&seed).await {
                    Ok(leaders) => {
                        self.replace(leaders);
                        return Ok(());
                    }
                    Err(error) => fault = error,
                }
            }
            if fault.is_permanent() || Instant::now() >= deadline {
                return Err(fault);
            }
            sleep(REFRESH_PAUSE).await;
        }
    }

    /// The node that leads a slot; `None`: nobody does.
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

    /// The node at an address, known or not.
    pub(crate) fn node_at(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Node::start(self.dial.clone(), address.clone());
        nodes.entry(address.clone()).or_insert_with(start).clone()
    }

    /// Something did not answer as this says.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Changes whenever other servers lead.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks up who leads, whenever it is doubted and now and then, until it is dropped.
    pub(crate) async fn keep(self: Arc<Self>) {
        if self.dial.config().url.mode != RedisMode::Cluster {
            return;
        }
        loop {
            let _ = timeout(REFRESH_INTERVAL, self.doubted.notified()).await;
            if !self.look_up().await {
                self.doubt();
            }
            sleep(REFRESH_PAUSE).await;
        }
    }

    /// Asks the leaders, beginning with another one each time, and then the configured nodes.
    async fn look_up(&self) -> bool {
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
        for seed in self.dial.seeds() {
            if let Ok(leaders) = self.ask_stranger(&seed).await {
                self.replace(leaders);
                return true;
            }
        }
        false
    }

    /// Asks a node that may lead nothing, over a connection of its own.
    async fn ask_stranger(&self, address: &Address) -> Result<Leaders, Unusable> {
        let mut connection = self.dial.connect(address, |_| {}).await?;
        let answer: Result<Value, RedisError> = slots().query_async(&mut connection).await;
        match answer {
            Ok(slots) => read_slots(&slots, address).ok_or(Unusable::Strange("CLUSTER SLOTS")),
            Err(error) if error.detail().is_some_and(|text| text.contains("support disabled")) => {
                Err(Unusable::NoCluster)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn replace(&self, leaders: Leaders) {
        let mut ranges = Vec::new();
        let mut next = 0;
        for (first, last, address) in leaders {
            if first > next {
                ranges.push(Range { last: first - 1, node: None });
            }
            ranges.push(Range { last, node: Some(self.node_at(&address)) });
            next = last.saturating_add(1);
        }
        let spell = |ranges: &[Range]| -> Vec<(u16, Option<Address>)> {
            ranges.iter().map(|range| (range.last, range.node.as_ref().map(|node| node.address.clone()))).collect()
        };
        if spell(&self.ranges.load()) == spell(&ranges) {
            return;
        }
        self.ranges.store(Arc::new(ranges));
        self.forget_followers();
        tracing::info!(primaries = self.primaries().len(), "the Redis Cluster's leaders are known anew");
        self.changes.send_modify(|change| *change += 1);
    }

    /// Only leaders are worth a connection.
    fn forget_followers(&self) {
        let leaders = self.primaries();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, _| leaders.iter().any(|leader| leader.address == *address));
    }
}

fn silent(node: &Node, why: Option<Arc<Unusable>>) -> Unusable {
    match why.and_then(Arc::into_inner) {
        Some(why) => why,
        None => Unusable::Silent(node.fault().unwrap_or_else(|| errors::unavailable().to_string())),
    }
}

/// First slot, last slot, who leads them; in this order.
type Leaders = Vec<(u16, u16, Address)>;

fn slots() -> Cmd {
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

async fn ask_leader(node: &Node) -> Option<Leaders> {
    let session = node.session().await.ok()?;
    let answers = session.exchange(redis::pipe().add_command(slots())).await.ok()?;
    read_slots(answers.first()?, &session.address)
}

/// `None`: nobody leads anything, as far as this node knows.
fn read_slots(answer: &Value, asked: &Address) -> Option<Leaders> {
    let Value::Array(entries) = answer else { return None };
    let mut leaders: Leaders = entries.iter().filter_map(|entry| read_range(entry, asked)).collect();
    leaders.sort_unstable();
    (!leaders.is_empty()).then_some(leaders)
}

/// Reads `[first, last, [host, port, …], replicas…]`. A node that does not know its host has the one it was asked at.
fn read_range(entry: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let Value::Array(parts) = entry else { return None };
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
