//! PgBouncer in front of a PostgreSQL server, from Debian's package, on a free loopback port and with its defaults
//! apart from the pool mode and the sizes. It is stopped when the value is dropped, or when the test process ends in
//! any way.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use roost::config::{Pooling, PostgresConfig, Secret};
use tempfile::TempDir;

use crate::eventually::DEADLINE;
use crate::guardian::GuardedServer;
use crate::port::free_port;
use crate::postgres::{PASSWORD, PostgresServer, USER, lesser_account};

/// Server connections for each database. A host in session mode needs one for each of its own.
const POOL_SIZE: u32 = 6;

/// What the pooler keeps for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// The session, until the client disconnects.
    Session,
    /// The transaction only.
    Transaction,
}

/// A running pooler.
pub struct PgBouncer {
    port: u16,
    /// It stands before the folder, which is removed after it has ended.
    _server: GuardedServer,
    folder: TempDir,
}

impl PgBouncer {
    /// The pooler of this mode that all tests of this process share, in front of the shared server.
    pub fn shared(mode: PoolMode) -> &'static Self {
        static SESSION: OnceLock<PgBouncer> = OnceLock::new();
        static TRANSACTION: OnceLock<PgBouncer> = OnceLock::new();
        let shared = match mode {
            PoolMode::Session => &SESSION,
            PoolMode::Transaction => &TRANSACTION,
        };
        shared.get_or_init(|| Self::start(mode, PostgresServer::shared()))
    }

    /// A pooler in front of this server.
    pub fn start(mode: PoolMode, server: &PostgresServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Another process can take a free port before the pooler does.
        for _ in 0..5 {
            let port = free_port();
            let mut pooler = run(&folder, &settings(mode, server.port(), port));
            if answers(port, &mut pooler) {
                return Self { port, _server: pooler, folder };
            }
        }
        panic!("PgBouncer does not start:\n{}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// The configuration of a new database of the shared server, reached through the pooler.
    pub async fn fresh(&self) -> PostgresConfig {
        self.config(PostgresServer::shared().database().await)
    }

    /// The configuration of a database with this URL of the server, reached through the pooler.
    pub fn config(&self, url: String) -> PostgresConfig {
        let (_, database) = url.rsplit_once('/').expect("a database");
        PostgresConfig {
            url: Secret(format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)),
            connections_max: POOL_SIZE - 2,
            acquire_timeout: DEADLINE,
            statement_timeout: DEADLINE,
            pooling: Pooling::Auto,
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Nothing is ignored that a client asks for, so that a start-up parameter which PgBouncer does not know is refused.
fn settings(mode: PoolMode, server: u16, port: u16) -> String {
    let mode = match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
    };
    format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = users.txt\npool_mode = {mode}\n\
         default_pool_size = {POOL_SIZE}\nmax_client_conn = 1000\nserver_idle_timeout = 2\n"
    )
}

fn run(folder: &TempDir, settings: &str) -> GuardedServer {
    let account = lesser_account(folder.path());
    let file = |name: &str| folder.path().join(name);
    fs::write(file("pgbouncer.ini"), settings.replace("users.txt", &file("users.txt").display().to_string()))
        .expect("its settings");
    fs::write(file("users.txt"), format!("\"{USER}\" \"{PASSWORD}\"\n")).expect("its users");
    if let Some((user, group)) = account {
        for path in [folder.path().to_owned(), file("pgbouncer.ini"), file("users.txt")] {
            chown(path, Some(user), Some(group)).expect("the folder is given away");
        }
    }
    GuardedServer::start(Command::new(program()).arg(file("pgbouncer.ini")), account, &file("log"))
}

/// Waits until the pooler accepts connections; `false` if it has ended.
fn answers(port: u16, pooler: &mut GuardedServer) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if pooler.has_ended() {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    false
}

fn program() -> PathBuf {
    let found = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("no PgBouncer: `tests/run` installs it (Debian's package `pgbouncer`)")
}
