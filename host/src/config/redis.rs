//! Where Redis is, read from one URL: `redis://`, `rediss://`, `redis+cluster://`, `rediss+cluster://` or
//! `redis+sentinel://`, with a user, a password and a database. Shown without the password.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::Secret;

/// What stands before every key has at most so many bytes.
pub(super) const PREFIX_BYTES_MAX: usize = 64;

/// A store in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where it is. `store_url`
    pub url: RedisUrl,
    /// Stands before every key and channel. `store_prefix`
    pub prefix: String,
    /// PEM certificates that are trusted instead of the system's. `store_ca_file`
    pub ca_file: Option<PathBuf>,
    /// For opening a connection. `store_connect_timeout_ms`
    pub connect_timeout: Duration,
    /// For an answer. `store_response_timeout_ms`
    pub response_timeout: Duration,
    /// Commands in flight; more wait a moment and are refused. `store_commands_max`
    pub commands_max: u32,
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// Each primary leads some slots.
    Cluster,
    /// The nodes are sentinels, which name the primary of this service.
    Sentinel(String),
}

/// Where Redis is and who comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// How the servers belong together.
    pub mode: RedisMode,
    /// Hosts and ports: the server, some nodes of the Cluster, or sentinels.
    pub nodes: Vec<(String, u16)>,
    /// Over TLS.
    pub tls: bool,
    /// The ACL user; `None`: the default one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The number of the database; a Cluster has only 0.
    pub database: i64,
}

impl RedisUrl {
    /// Reads a URL; `None`: its scheme is not one of Redis. The error does not repeat what may be a password.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, mode) = match scheme {
            "redis" => (false, RedisMode::Standalone),
            "rediss" => (true, RedisMode::Standalone),
            "redis+cluster" => (false, RedisMode::Cluster),
            "rediss+cluster" => (true, RedisMode::Cluster),
            "redis+sentinel" => (false, RedisMode::Sentinel(String::new())),
            _ => return None,
        };
        Some(Self::read(tls, mode, rest))
    }

    fn read(tls: bool, mode: RedisMode, rest: &str) -> Result<Self, String> {
        if rest.contains(['?', '#']) {
            return Err("a Redis URL takes no parameters after `?` or `#` (in a password write %3F and %23)".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (mode, database) = read_path(mode, path)?;
        if mode == RedisMode::Standalone && hosts.contains(',') {
            return Err("several nodes need redis+cluster:// or redis+sentinel://".to_owned());
        }
        let mut url = Self { mode, nodes: Vec::new(), tls, username: None, password: None, database };
        for host in hosts.split(',') {
            url.read_node(user, host)?;
        }
        Ok(url)
    }

    /// The crate knows how hosts, ports and what is escaped are spelt.
    fn read_node(&mut self, user: &str, host: &str) -> Result<(), String> {
        let at = if user.is_empty() { "" } else { "@" };
        let single = format!("redis://{user}{at}{host}/");
        let info = single.as_str().into_connection_info().map_err(|_| format!("`{host}` is no host and port"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err("no host".to_owned()) };
        self.nodes.push((host.clone(), *port));
        self.username = info.redis_settings().username().map(str::to_owned);
        self.password = info.redis_settings().password().map(|password| Secret(password.to_owned()));
        Ok(())
    }
}

/// `/<database>`, or `/<service>` and `/<service>/<database>` of sentinels.
fn read_path(mode: RedisMode, path: &str) -> Result<(RedisMode, i64), String> {
    let number = |text: &str| match text {
        "" => Ok(0),
        text => text.parse::<u16>().map(i64::from).map_err(|_| format!("`{text}` is no database's number")),
    };
    match mode {
        RedisMode::Sentinel(_) => {
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            if service.is_empty() {
                return Err("sentinels need the name of a service: redis+sentinel://host:port,…/service".to_owned());
            }
            Ok((RedisMode::Sentinel(service.to_owned()), number(database)?))
        }
        RedisMode::Cluster if number(path)? != 0 => Err("a Redis Cluster has only the database 0".to_owned()),
        mode => Ok((mode, number(path)?)),
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let (kind, service) = match &self.mode {
            RedisMode::Standalone => ("", String::new()),
            RedisMode::Cluster => ("+cluster", String::new()),
            RedisMode::Sentinel(service) => ("+sentinel", format!("/{service}")),
        };
        let nodes: Vec<String> = self.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{scheme}{kind}://{}{service}", nodes.join(","))?;
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

/// Whether a prefix can stand before every key: braces would change where a Cluster keeps it.
pub(super) fn is_prefix(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'_' | b'-');
    text.len() <= PREFIX_BYTES_MAX && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<RedisUrl, String> {
        RedisUrl::parse(text).expect("a scheme of Redis")
    }

    #[test]
    fn a_url_names_servers_user_and_database() {
        let url = of("rediss://roost:p%40ss@store.example.com:6380/3").unwrap();
        assert_eq!((url.mode.clone(), url.tls, url.database), (RedisMode::Standalone, true, 3));
        assert_eq!(url.nodes, [("store.example.com".to_owned(), 6380)]);
        assert_eq!((url.username.as_deref(), url.password.clone()), (Some("roost"), Some(Secret("p@ss".into()))));
        assert_eq!(url.to_string(), "rediss://store.example.com:6380/3", "no password is shown");
        let cluster = of("redis+cluster://a:1,b:2").unwrap();
        assert_eq!((cluster.mode, cluster.nodes.len()), (RedisMode::Cluster, 2));
        let sentinel = of("redis+sentinel://a:1,b/main/2").unwrap();
        assert_eq!((sentinel.mode, sentinel.database), (RedisMode::Sentinel("main".into()), 2));
        assert_eq!(of("redis://127.0.0.1").unwrap().nodes, [("127.0.0.1".to_owned(), 6379)]);
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong_and_not_the_password() {
        for (text, told) in [
            ("redis://:secret@a:1,b:2", "several nodes"),
            ("redis://:secret@a:1/x", "no database"),
            ("redis+cluster://:secret@a:1/1", "only the database 0"),
            ("redis+sentinel://:secret@a:1", "name of a service"),
            ("redis://:secret@a:port", "no host and port"),
            ("redis://:secret@a?db=1", "no parameters"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{text}: {error}");
        }
        assert!(RedisUrl::parse("memory:").is_none() && RedisUrl::parse("postgres://a").is_none());
    }
}
