//! The URL of Redis: `redis://`, `redis+cluster://` or `redis+sentinel://`, or with TLS `rediss://` and so on, with a
//! user, a password and a database of the servers. It is displayed without the user and the password.

use std::fmt;

use redis::{ConnectionAddr, IntoConnectionInfo};

use super::Secret;

/// The longest text before every key.
pub(super) const PREFIX_BYTES_MAX: usize = 64;

/// The kind of deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// One server, without sentinels.
    Standalone,
    /// A Redis Cluster, whose primaries hold some slots each.
    Cluster,
    /// The nodes are sentinels, which know the primary of this service.
    Sentinel(String),
}

/// The location of Redis, and the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// The kind of deployment.
    pub mode: RedisMode,
    /// Hosts and ports: the server, some nodes of the Cluster, or the sentinels.
    pub nodes: Vec<(String, u16)>,
    /// Whether connections use TLS.
    pub tls: bool,
    /// The ACL user; `None`: the default user.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The number of the database; a Cluster has only 0.
    pub database: i64,
}

impl RedisUrl {
    /// Parses a URL; `None`: the scheme is not one of Redis. The error does not repeat what may be a password.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, mode) = match scheme {
            "redis" => (false, RedisMode::Standalone),
            "rediss" => (true, RedisMode::Standalone),
            "redis+cluster" => (false, RedisMode::Cluster),
            "rediss+cluster" => (true, RedisMode::Cluster),
            "redis+sentinel" => (false, RedisMode::Sentinel(String::new())),
            "rediss+sentinel" => (true, RedisMode::Sentinel(String::new())),
            _ => return None,
        };
        Some(Self::read(tls, mode, rest))
    }

    fn read(tls: bool, mode: RedisMode, rest: &str) -> Result<Self, String> {
        if rest.contains(['?', '#']) {
            return Err("takes no parameters after `?` or `#`; in a password write %3F and %23".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (mode, database) = read_path(mode, path)?;
        if mode == RedisMode::Standalone && hosts.contains(',') {
            return Err("names several nodes: write redis+cluster:// or redis+sentinel://".to_owned());
        }
        let mut url = Self { mode, nodes: Vec::new(), tls, username: None, password: None, database };
        for host in hosts.split(',') {
            url.read_node(user, host)?;
        }
        Ok(url)
    }

    /// Leaves the parsing of hosts, ports and escaped characters to the crate `redis`.
    fn read_node(&mut self, user: &str, host: &str) -> Result<(), String> {
        let at = if user.is_empty() { "" } else { "@" };
        let single = format!("redis://{user}{at}{host}/");
        let info = single.as_str().into_connection_info().map_err(|_| format!("`{host}` is not a host and port"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err("has no host".to_owned()) };
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
        text => text.parse::<u16>().map(i64::from).map_err(|_| format!("`{text}` is not the number of a database")),
    };
    match mode {
        RedisMode::Sentinel(_) => {
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            if service.is_empty() {
                return Err("names no service: write redis+sentinel://host:port,…/service".to_owned());
            }
            Ok((RedisMode::Sentinel(service.to_owned()), number(database)?))
        }
        RedisMode::Cluster if number(path)? != 0 => {
            Err("names a database, but a Redis Cluster has only the database 0".to_owned())
        }
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

/// Whether the text may be put before every key. Braces would change the slot of a key in a Cluster.
pub(super) fn is_prefix(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'_' | b'-');
    text.len() <= PREFIX_BYTES_MAX && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<RedisUrl, String> {
        RedisUrl::parse(text).expect("a scheme of Redis")
    }

    #[test]
    fn a_url_names_servers_user_and_database() {
        let url = parsed("rediss://roost:p%40ss@store.example.com:6380/3").unwrap();
        assert_eq!((url.mode.clone(), url.tls, url.database), (RedisMode::Standalone, true, 3));
        assert_eq!(url.nodes, [("store.example.com".to_owned(), 6380)]);
        assert_eq!((url.username.as_deref(), url.password.clone()), (Some("roost"), Some(Secret("p@ss".into()))));
        assert_eq!(url.to_string(), "rediss://store.example.com:6380/3", "no password is shown");
        let cluster = parsed("redis+cluster://a:1,b:2").unwrap();
        assert_eq!((cluster.mode, cluster.nodes.len()), (RedisMode::Cluster, 2));
        let sentinel = parsed("redis+sentinel://a:1,b/main/2").unwrap();
        assert_eq!((sentinel.mode, sentinel.database), (RedisMode::Sentinel("main".into()), 2));
        let protected = parsed("rediss+sentinel://roost:p%40ss@a:1,b:2/main").unwrap();
        assert!(protected.tls && protected.mode == RedisMode::Sentinel("main".into()), "{protected}");
        assert_eq!(protected.to_string(), "rediss+sentinel://a:1,b:2/main", "no password is shown");
        assert_eq!(parsed("redis://127.0.0.1").unwrap().nodes, [("127.0.0.1".to_owned(), 6379)]);
    }

    #[test]
    fn a_wrong_url_is_reported_without_the_password() {
        for (text, expected) in [
            ("redis://:secret@a:1,b:2", "several nodes"),
            ("redis://:secret@a:1/x", "not the number"),
            ("redis+cluster://:secret@a:1/1", "only the database 0"),
            ("redis+sentinel://:secret@a:1", "names no service"),
            ("redis://:secret@a:port", "not a host and port"),
            ("redis://:secret@a?db=1", "takes no parameters"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
        assert!(RedisUrl::parse("memory:").is_none() && RedisUrl::parse("postgres://a").is_none());
    }
}
