//! A Redis Cluster of three primaries with one replica each.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisFuture, RedisResult, ServerErrorKind, Value};

use super::options::Options;
use super::standalone::RedisServer;
use crate::eventually::eventually;
use crate::port::free_port;

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// Six servers of one Cluster. Failovers change which server leads which slots.
pub struct RedisCluster {
    /// At start the first three are primaries of a third of the slots each, and the others are their replicas in order.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts an empty Cluster and waits until every replica is in sync. A server that does not answer for a second is
    /// failed over.
    pub async fn start() -> Self {
        Self::start_with_node_timeout(Duration::from_secs(1)).await
    }

    /// As [`RedisCluster::start`], for tests without faults: also on an overloaded machine no server is failed over.
    pub async fn start_without_failovers() -> Self {
        Self::start_with_node_timeout(Duration::from_secs(120)).await
    }

    async fn start_with_node_timeout(timeout: Duration) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(RedisServer::start_with(node_options(timeout)).await);
        }
        let cluster = Self { nodes };
        cluster.introduce().await;
        cluster.share_slots().await;
        cluster.wait_until_healthy().await;
        cluster
    }

    /// The URL of the Cluster, `redis+cluster://…`, with all nodes.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// A plain client of all running nodes, without any code of Roost.
    pub async fn client(&self) -> ClusterClient {
        let mut connections = HashMap::new();
        for node in &self.nodes {
            if let Ok(connection) = node.connect().await {
                connections.insert(node.port(), connection);
            }
        }
        ClusterClient { connections }
    }

    /// The index of the node that leads the slot of this key.
    pub async fn primary_of(&self, key: &str) -> usize {
        for (index, node) in self.nodes.iter().enumerate() {
            let Ok(mut connection) = node.connect().await else { continue };
            let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut connection).await.unwrap();
            let mine: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut connection).await.unwrap();
            let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await.unwrap();
            if nodes.lines().any(|line| line.starts_with(&mine) && leads(line, slot)) {
                return index;
            }
        }
        panic!("no node leads the slot of {key}");
    }

    /// The index of a replica of this node.
    pub async fn replica_of(&self, primary: usize) -> usize {
        let port = self.nodes[primary].port().to_string();
        for (index, node) in self.nodes.iter().enumerate() {
            if index != primary
                && node.connect().await.is_ok()
                && node.info("role").await == "slave"
                && node.info("master_port").await == port
            {
                return index;
            }
        }
        panic!("node {primary} has no replica");
    }

    /// Fails a primary over to its replica without data loss; returns the index of the new primary.
    pub async fn failover(&self, primary: usize) -> usize {
        let replica = self.replica_of(primary).await;
        self.nodes[replica].ask::<()>("CLUSTER FAILOVER").await;
        self.promoted(replica).await;
        replica
    }

    /// Kills a primary with SIGKILL; returns the index of the replica that took over.
    pub async fn kill_primary(&self, primary: usize) -> usize {
        let replica = self.replica_of(primary).await;
        self.nodes[primary].kill();
        self.promoted(replica).await;
        replica
    }

    /// Begins to move a slot between two nodes and moves its existing keys: from now on one node leads the slot, and
    /// the other holds the keys.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (source, target): (String, String) = (from.ask("CLUSTER MYID").await, to.ask("CLUSTER MYID").await);
        to.ask::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}")).await;
        from.ask::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}")).await;
        let keys: Vec<String> = from.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1000")).await;
        for key in keys {
            from.ask::<()>(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port())).await;
        }
    }

    /// Finishes the migration that [`RedisCluster::begin_move`] has begun.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) {
        let target: String = self.nodes[to].ask("CLUSTER MYID").await;
        for node in [&self.nodes[to], &self.nodes[from]] {
            node.ask::<()>(&format!("CLUSTER SETSLOT {slot} NODE {target}")).await;
        }
        self.wait_until_healthy().await;
    }

    /// The slot of a key.
    pub async fn slot_of(&self, key: &str) -> u16 {
        self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await
    }

    /// Waits until every running node reports a healthy Cluster and every replica is in sync with a running primary.
    pub async fn wait_until_healthy(&self) {
        for node in &self.nodes {
            eventually("a Cluster in order", || async {
                let Ok(_alive) = node.connect().await else { return true };
                let state: String = node.ask("CLUSTER INFO").await;
                let linked = node.info("role").await == "master" || node.info("master_link_status").await == "up";
                state.contains("cluster_state:ok") && linked
            })
            .await;
        }
    }

    async fn promoted(&self, replica: usize) {
        let node = &self.nodes[replica];
        eventually("a replica that leads", || async { node.info("role").await == "master" }).await;
        eventually("a Cluster in order", || async {
            node.ask::<String>("CLUSTER INFO").await.contains("cluster_state:ok")
        })
        .await;
    }

    /// Introduces all nodes to each other.
    async fn introduce(&self) {
        let Some((first, others)) = self.nodes.split_first() else { return };
        for (number, node) in self.nodes.iter().enumerate() {
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await;
        }
        for node in others {
            first.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {}", node.port(), bus_port(node).await)).await;
        }
        for node in &self.nodes {
            eventually("a node that knows all others", || async {
                let known: String = node.ask("CLUSTER NODES").await;
                known.lines().count() == self.nodes.len() && !known.contains("handshake")
            })
            .await;
        }
    }

    async fn share_slots(&self) {
        for (number, primary) in self.nodes.iter().take(PRIMARIES).enumerate() {
            let (from, to) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES - 1);
            primary.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await;
            let id: String = primary.ask("CLUSTER MYID").await;
            self.nodes[PRIMARIES + number].ask::<()>(&format!("CLUSTER REPLICATE {id}")).await;
        }
    }
}

/// A plain client that asks any node and follows redirections. It shares no code with the host.
pub struct ClusterClient {
    /// The connections, by the port of their server.
    connections: HashMap<u16, MultiplexedConnection>,
}

impl ClusterClient {
    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let connection = self.connections.values_mut().next().expect("a node is up");
        let reply = connection.req_packed_command(command).await.and_then(Value::extract_error);
        let port = match &reply {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                let (address, _) = error.redirect_node().expect("an address");
                address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).expect("a port")
            }
            _ => return reply,
        };
        self.connections.get_mut(&port).expect("the leader is up").req_packed_command(command).await
    }
}

impl ConnectionLike for ClusterClient {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.ask(command))
    }

    fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _: usize, _: usize) -> RedisFuture<'a, Vec<Value>> {
        panic!("this client sends single commands only")
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn node_options(timeout: Duration) -> Options {
    Options::new()
        .set("cluster-enabled", &["yes"])
        .set("cluster-port", &[&free_port().to_string()])
        .set("cluster-node-timeout", &[&timeout.as_millis().to_string()])
        .set("cluster-replica-validity-factor", &["0"])
        .set("cluster-allow-replica-migration", &["no"])
        .set("repl-diskless-sync-delay", &["0"])
        .set("repl-ping-replica-period", &["1"])
}

async fn bus_port(node: &RedisServer) -> u16 {
    let (_, port): (String, u16) = node.ask::<Vec<(String, u16)>>("CONFIG GET cluster-port").await.remove(0);
    port
}

/// Whether a line of `CLUSTER NODES` describes a primary that leads this slot.
fn leads(line: &str, slot: u16) -> bool {
    let ranges = line.split(' ').skip(8).filter(|range| !range.starts_with('['));
    let mut bounds = ranges.map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse::<u16>().unwrap()..=to.parse::<u16>().unwrap()
    });
    line.contains("master") && bounds.any(|range| range.contains(&slot))
}
