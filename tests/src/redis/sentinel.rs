//! A primary with a replica, and a sentinel that promotes the replica when the primary fails. All three can need a
//! password and TLS.

use std::path::PathBuf;

use super::guardian::Guardian;
use super::options::Options;
use super::standalone::RedisServer;
use crate::eventually::eventually;
use crate::port::free_port;

/// The service name under which the sentinel monitors the pair.
const SERVICE: &str = "roost";

/// What protects the servers and the sentinel.
#[derive(Clone, Debug)]
pub struct Protection {
    /// PEM files that all three use: the certificate, its key, and the authority.
    pub tls: [String; 3],
    /// The user of the servers and the password.
    pub server: (String, String),
    /// The ACL user of the sentinel and the password.
    pub sentinel: (String, String),
}

/// A pair of servers that a sentinel monitors.
pub struct RedisSentinel {
    /// The two servers; the first one starts as the primary.
    pub nodes: [RedisServer; 2],
    port: u16,
    folder: PathBuf,
    guardian: Option<Guardian>,
    protection: Option<Protection>,
}

impl RedisSentinel {
    /// Starts an empty pair with the replica in sync, and a sentinel that knows both.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// As [`RedisSentinel::start`], with passwords and TLS everywhere.
    pub async fn start_protected(protection: Protection) -> Self {
        Self::start_with(Some(protection)).await
    }

    async fn start_with(protection: Option<Protection>) -> Self {
        let protection = protection.as_ref();
        let primary = RedisServer::start_with(server_options(protection)).await;
        let of = primary.port().to_string();
        let options =
            server_options(protection).set("replicaof", &["127.0.0.1", &of]).set("repl-ping-replica-period", &["1"]);
        let replica = RedisServer::start_with(options).await;
        let in_step = "MASTER <-> REPLICA sync: Finished with success";
        eventually("a replica in step", || async { replica.log().contains(in_step) }).await;
        let folder = tempfile::Builder::new().prefix("roost-sentinel-").tempdir().expect("a folder").keep();
        let mut sentinel = Self {
            nodes: [primary, replica],
            port: free_port(),
            folder,
            guardian: None,
            protection: protection.cloned(),
        };
        sentinel.watch();
        eventually("a sentinel that knows the replica", || async { sentinel.log().contains("+slave slave") }).await;
        sentinel
    }

    /// The URL of the pair, `redis+sentinel://…` or `rediss+sentinel://…`, with the user of the servers.
    pub fn url(&self) -> String {
        match &self.protection {
            None => format!("redis+sentinel://127.0.0.1:{}/{SERVICE}", self.port),
            Some(Protection { server: (user, password), .. }) => {
                format!("rediss+sentinel://{user}:{password}@127.0.0.1:{}/{SERVICE}", self.port)
            }
        }
    }

    /// Kills the primary with SIGKILL and waits until the replica leads.
    pub async fn kill_primary(&self) {
        self.nodes[0].kill();
        let leads = "MASTER MODE enabled";
        eventually("a replica that leads", || async { self.nodes[1].log().contains(leads) }).await;
    }

    fn watch(&mut self) {
        let primary = self.nodes[0].port();
        let mut settings = format!(
            "bind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 5000\n",
            self.folder.display()
        );
        match &self.protection {
            None => settings.push_str(&format!("port {}\n", self.port)),
            Some(protection) => settings.push_str(&protected_settings(self.port, protection)),
        }
        let file = self.folder.join("sentinel.conf");
        std::fs::write(&file, settings).expect("the folder can be written to");
        let command = ["redis-server".to_owned(), file.display().to_string(), "--sentinel".to_owned()];
        self.guardian = Some(Guardian::start(&self.folder, &command));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn server_options(protection: Option<&Protection>) -> Options {
    let Some(Protection { tls: [certificate, key, authority], server: (user, password), .. }) = protection else {
        return Options::new();
    };
    let shown = format!(">{password}");
    let rules = [user.as_str(), "on", &shown, "~*", "&*", "+@all"];
    Options::new()
        .tls(certificate, key, authority)
        .set("tls-replication", &["yes"])
        .set("user", &rules)
        .set("user", &["default", "off"])
        .set("masteruser", &[user])
        .set("masterauth", &[password])
}

fn protected_settings(port: u16, protection: &Protection) -> String {
    let Protection { tls: [certificate, key, authority], server: (user, password), sentinel } = protection;
    let (sentinel_user, sentinel_password) = sentinel;
    format!(
        "port 0\ntls-port {port}\ntls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {authority}\n\
         tls-auth-clients no\ntls-replication yes\nsentinel auth-user {SERVICE} {user}\n\
         sentinel auth-pass {SERVICE} {password}\nuser {sentinel_user} on >{sentinel_password} +@all\nuser default off\n"
    )
}
