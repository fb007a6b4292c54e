//! Which server process is at the other end of a connection, since when it serves, and that it is one Roost can use.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use roost_core::time::Timestamp;

use crate::store::redis::scripts::SCRIPTS;
use crate::config::RedisMode;

/// Sharded channels, which a Cluster needs, came with this version.
const MAJOR_MIN: u32 = 7;
/// So much of a process's random name tells it from all others.
const NAME_BYTES: usize = 16;

/// A server process. A connection leads to the same one as long as it lives.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Differs for every process that ever served.
    pub(crate) name: String,
    /// Whoever looked before this moment may have looked at another process's data.
    pub(crate) began: Timestamp,
}

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// It does not answer as it should; later it may.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Too old.
    #[error("this is Redis {0}; {MAJOR_MIN}.0 or newer is needed")]
    Old(String),
    /// The URL says otherwise.
    #[error("this is a Redis Cluster; its URL begins with redis+cluster:// or rediss+cluster://")]
    Cluster,
    /// The URL says otherwise.
    #[error("this is no Redis Cluster; its URL begins with redis:// or rediss://")]
    NoCluster,
    /// A replica refuses writes.
    #[error("this is a replica; name its primary, or the sentinels")]
    Replica,
    /// No answer at all.
    #[error("{0}")]
    Silent(String),
    /// It said something else than it was asked.
    #[error("the answer to {0} is not Redis's")]
    Strange(&'static str),
}

impl Unusable {
    /// Trying again does not help.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Redis(error) => crate::store::redis::errors::is_permanent(error),
            Self::Old(_) | Self::Cluster | Self::NoCluster => true,
            Self::Replica | Self::Silent(_) | Self::Strange(_) => false,
        }
    }
}

impl Server {
    /// Asks who it is, and makes it know the scripts.
    pub(crate) async fn meet(connection: &mut MultiplexedConnection, mode: &RedisMode) -> Result<Self, Unusable> {
        let mut asked = redis::pipe();
        asked.cmd("INFO").arg("server").cmd("INFO").arg("replication").cmd("TIME");
        for script in &*SCRIPTS {
            asked.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
        type Answers = (String, String, (u64, u64), Value, Value);
        let (server, replication, (seconds, microseconds), _, _): Answers = asked.query_async(connection).await?;
        let now = Timestamp(seconds * 1_000 + microseconds / 1_000);
        Self::read(&server, &replication, now, mode)
    }

    fn read(server: &str, replication: &str, now: Timestamp, mode: &RedisMode) -> Result<Self, Unusable> {
        let version = line(server, "redis_version")?;
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < MAJOR_MIN) {
            return Err(Unusable::Old(version.to_owned()));
        }
        match (line(server, "redis_mode")? == "cluster", *mode == RedisMode::Cluster) {
            (true, false) => return Err(Unusable::Cluster),
            (false, true) => return Err(Unusable::NoCluster),
            _ => {}
        }
        if line(replication, "role")? != "master" {
            return Err(Unusable::Replica);
        }
        let name: String = line(server, "run_id")?.chars().take(NAME_BYTES).collect();
        let uptime_s: u64 = line(server, "uptime_in_seconds")?.parse().map_err(|_| Unusable::Strange("INFO"))?;
        // The difference of two whole seconds: it may be one too many.
        let uptime_ms = uptime_s.saturating_sub(1) * 1_000;
        // A promoted replica, or a snapshot's reader, holds what another process wrote: how long it serves is unknown.
        let inherited = line(replication, "master_replid2")?.bytes().any(|byte| byte != b'0');
        Ok(Self { name, began: if inherited { now } else { now.minus(uptime_ms) } })
    }
}

fn line<'i>(info: &'i str, name: &str) -> Result<&'i str, Unusable> {
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map(str::trim).ok_or(Unusable::Strange("INFO"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn read(version: &str, mode: &str, role: &str, wanted: &RedisMode) -> Result<Server, Unusable> {
        let server = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nrun_id:{}\r\nuptime_in_seconds:5\r\n",
            "0123456789abcdef".repeat(2)
        );
        let replication = format!("role:{role}\r\nmaster_replid2:{}\r\n", "0".repeat(40));
        Server::read(&server, &replication, NOW, wanted)
    }

    #[test]
    fn a_server_that_cannot_be_used_says_why() {
        let server = read("7.0.15", "standalone", "master", &RedisMode::Standalone).unwrap();
        assert_eq!((server.name.as_str(), server.began), ("0123456789abcdef", NOW.minus(4_000)));
        assert!(matches!(read("6.2.1", "standalone", "master", &RedisMode::Standalone), Err(Unusable::Old(_))));
        assert!(matches!(read("7.2.0", "cluster", "master", &RedisMode::Standalone), Err(Unusable::Cluster)));
        assert!(matches!(read("7.2.0", "standalone", "master", &RedisMode::Cluster), Err(Unusable::NoCluster)));
        assert!(matches!(read("8.0.0", "standalone", "slave", &RedisMode::Standalone), Err(Unusable::Replica)));
    }
}
