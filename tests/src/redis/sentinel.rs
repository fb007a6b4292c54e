//! A primary with a replica, and a sentinel that promotes the replica when the primary fails.

use std::path::PathBuf;

use super::guardian::Guardian;
use super::options::Options;
use super::standalone::RedisServer;
use crate::eventually::eventually;
use crate::port::free_port;

/// The service name under which the sentinel monitors the pair.
const SERVICE: &str = "roost";

/// A pair of servers that a sentinel monitors.
pub struct RedisSentinel {
    /// The two servers; the first one starts as the primary.
    pub nodes: [RedisServer; 2],
    port: u16,
    folder: PathBuf,
    guardian: Option<Guardian>,
}

impl RedisSentinel {
    /// Starts an empty pair with the replica in sync, and a sentinel that knows both.
    pub async fn start() -> Self {
        let primary = RedisServer::start().await;
        let of = primary.port().to_string();
        let options = Options::new().set("replicaof", &["127.0.0.1", &of]).set("repl-ping-replica-period", &["1"]);
        let replica = RedisServer::start_with(options).await;
        eventually("a replica in step", || async { replica.info("master_link_status").await == "up" }).await;
        let folder = tempfile::Builder::new().prefix("roost-sentinel-").tempdir().expect("a folder").keep();
        let mut sentinel = Self { nodes: [primary, replica], port: free_port(), folder, guardian: None };
        sentinel.watch();
        eventually("a sentinel that knows the replica", || async {
            sentinel.ask("SENTINEL replicas roost").await.is_some_and(|reply| reply.contains("slave"))
        })
        .await;
        sentinel
    }

    /// The URL of the pair, `redis+sentinel://…`.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{SERVICE}", self.port)
    }

    /// Kills the primary with SIGKILL and waits until the replica leads.
    pub async fn kill_primary(&self) {
        let [primary, replica] = &self.nodes;
        primary.kill();
        // In the transaction that promotes a server, the sentinel also closes the connections of all its clients
        // (`CLIENT KILL TYPE normal`), so that they notice. A question that is under way then fails with "broken pipe".
        let leads = async || replica.try_info("role").await.is_ok_and(|role| role == "master");
        eventually("a replica that leads", leads).await;
    }

    fn watch(&mut self) {
        let primary = self.nodes[0].port();
        let settings = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 5000\n",
            self.port,
            self.folder.display()
        );
        let file = self.folder.join("sentinel.conf");
        std::fs::write(&file, settings).expect("the folder can be written to");
        let command = ["redis-server".to_owned(), file.display().to_string(), "--sentinel".to_owned()];
        self.guardian = Some(Guardian::start(&self.folder, &command));
    }

    /// The answer of the sentinel as text, or `None` if it does not answer yet.
    async fn ask(&self, command: &str) -> Option<String> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next()?);
        words.for_each(|word| {
            asked.arg(word);
        });
        let answer: redis::Value = asked.query_async(&mut connection).await.ok()?;
        Some(format!("{answer:?}"))
    }
}
