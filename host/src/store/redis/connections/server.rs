//! The server process at the other end of a connection: its identity, since when it serves, and whether Roost can use
//! it.

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use roost_core::time::Timestamp;

use crate::config::RedisMode;
use crate::store::redis::errors;
use crate::store::redis::scripts::SCRIPTS;

/// Sharded channels, which a Cluster needs, came with this version.
const MAJOR_VERSION_MIN: u32 = 7;
/// The characters of a process's random `run_id` that are used as its id.
const PROCESS_ID_CHARS: usize = 16;

/// A server process. A connection leads to the same process as long as the connection lives.
#[derive(Clone, Debug)]
pub(crate) struct ServerProcess {
    /// Differs for every process that ever served.
    pub(crate) id: String,
    /// A position that was taken before this time may be another process's, whose data were different.
    pub(crate) serving_since: Timestamp,
}

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableServer {
    #[error(transparent)]
    Redis(RedisError),
    #[error("the server refuses the user or the password ({0}); the URL names them as redis://user:password@host:port")]
    AccessDenied(String),
    #[error(
        "the sentinels refuse the user or the password ({0}); set store_sentinel_username and store_sentinel_password, which are \
         not those of the URL"
    )]
    SentinelAccessDenied(String),
    #[error("this is Redis {0}; Redis {MAJOR_VERSION_MIN}.0 or newer is needed")]
    TooOld(String),
    #[error("this is a Redis Cluster; its URL begins with redis+cluster:// or rediss+cluster://")]
    IsCluster,
    #[error("this is not a Redis Cluster; the URL of a single server begins with redis:// or rediss://")]
    NoCluster,
    #[error("this is a replica, which refuses writes; name its primary, or the sentinels, in the URL")]
    Replica,
    #[error("the sentinels do not know the service {0:?}; the URL must end with the name of a service they monitor")]
    UnknownService(String),
    #[error("this Redis Cluster has no slots yet; create it first, for example with redis-cli --cluster create")]
    NoSlots,
    #[error("{0}")]
    NotConnected(String),
    #[error("the answer to {0} is not the answer of a Redis server")]
    UnexpectedAnswer(&'static str),
}

impl UnusableServer {
    /// Why a sentinel could not be asked.
    pub(crate) fn of_sentinel(error: RedisError) -> Self {
        match error.code() {
            Some(code @ ("NOAUTH" | "WRONGPASS" | "NOPERM")) => Self::SentinelAccessDenied(code.to_owned()),
            _ => Self::Redis(error),
        }
    }

    /// Whether the configuration or the server must be changed first, so that trying again does not help.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Redis(error) => errors::is_permanent(error),
            Self::AccessDenied(_)
            | Self::SentinelAccessDenied(_)
            | Self::TooOld(_)
            | Self::IsCluster
            | Self::NoCluster => true,
            Self::Replica | Self::UnknownService(_) | Self::NoSlots | Self::NotConnected(_) => false,
            Self::UnexpectedAnswer(_) => false,
        }
    }
}

impl From<RedisError> for UnusableServer {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code @ ("NOAUTH" | "WRONGPASS")) => Self::AccessDenied(code.to_owned()),
            _ => Self::Redis(error),
        }
    }
}

impl ServerProcess {
    /// Asks the server which process it is, and loads the scripts.
    pub(crate) async fn identify(
        connection: &mut MultiplexedConnection,
        mode: &RedisMode,
    ) -> Result<Self, UnusableServer> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication").cmd("TIME");
        for script in &*SCRIPTS {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text).ignore();
        }
        type Answers = (String, String, (u64, u64));
        let (server, replication, (seconds, microseconds)): Answers = pipeline.query_async(connection).await?;
        let now = Timestamp(seconds * 1_000 + microseconds / 1_000);
        Self::from_info(&server, &replication, now, mode)
    }

    fn from_info(server: &str, replication: &str, now: Timestamp, mode: &RedisMode) -> Result<Self, UnusableServer> {
        let version = info_value(server, "redis_version")?;
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < MAJOR_VERSION_MIN) {
            return Err(UnusableServer::TooOld(version.to_owned()));
        }
        // Valkey has named this line `server_mode` since version 8.
        let server_mode = info_value(server, "redis_mode").or_else(|_| info_value(server, "server_mode"))?;
        match (server_mode == "cluster", *mode == RedisMode::Cluster) {
            (true, false) => return Err(UnusableServer::IsCluster),
            (false, true) => return Err(UnusableServer::NoCluster),
            _ => {}
        }
        if info_value(replication, "role")? != "master" {
            return Err(UnusableServer::Replica);
        }
        let id = info_value(server, "run_id")?.chars().take(PROCESS_ID_CHARS).collect();
        let uptime_s: u64 =
            info_value(server, "uptime_in_seconds")?.parse().map_err(|_| UnusableServer::UnexpectedAnswer("INFO"))?;
        // The uptime is a difference of two whole seconds, so it may be one second too long.
        let uptime_ms = uptime_s.saturating_sub(1) * 1_000;
        // A promoted replica, or a server that read a snapshot, holds data that another process wrote: how long the
        // present process has been the one that serves them is unknown.
        let is_inherited = info_value(replication, "master_replid2")?.bytes().any(|byte| byte != b'0');
        Ok(Self { id, serving_since: if is_inherited { now } else { now.minus(uptime_ms) } })
    }
}

fn info_value<'i>(info: &'i str, name: &str) -> Result<&'i str, UnusableServer> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::trim).ok_or(UnusableServer::UnexpectedAnswer("INFO"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn identify(version: &str, mode: &str, role: &str, expected: &RedisMode) -> Result<ServerProcess, UnusableServer> {
        let server = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nrun_id:{}\r\nuptime_in_seconds:5\r\n",
            "0123456789abcdef".repeat(2)
        );
        let replication = format!("role:{role}\r\nmaster_replid2:{}\r\n", "0".repeat(40));
        ServerProcess::from_info(&server, &replication, NOW, expected)
    }

    #[test]
    fn valkey_is_a_redis_of_its_compatible_version() {
        let run_id = "0123456789abcdef".repeat(2);
        let server = format!(
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nserver_mode:standalone\r\nrun_id:{run_id}\r\n\
             uptime_in_seconds:5\r\n"
        );
        let replication = format!("role:master\r\nmaster_replid2:{}\r\n", "0".repeat(40));
        assert!(ServerProcess::from_info(&server, &replication, NOW, &RedisMode::Standalone).is_ok());
        let refused = ServerProcess::from_info(&server, &replication, NOW, &RedisMode::Cluster).unwrap_err();
        assert!(matches!(refused, UnusableServer::NoCluster));
    }

    #[test]
    fn a_server_that_cannot_be_used_reports_why() {
        let (standalone, cluster) = (RedisMode::Standalone, RedisMode::Cluster);
        let process = identify("7.0.15", "standalone", "master", &standalone).unwrap();
        assert_eq!((process.id.as_str(), process.serving_since), ("0123456789abcdef", NOW.minus(4_000)));
        let refused = |version, mode, role, expected| identify(version, mode, role, expected).unwrap_err();
        assert!(matches!(refused("6.2.1", "standalone", "master", &standalone), UnusableServer::TooOld(_)));
        assert!(matches!(refused("7.2.0", "cluster", "master", &standalone), UnusableServer::IsCluster));
        assert!(matches!(refused("7.2.0", "standalone", "master", &cluster), UnusableServer::NoCluster));
        assert!(matches!(refused("8.0.0", "standalone", "slave", &standalone), UnusableServer::Replica));
    }
}
