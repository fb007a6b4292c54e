//! One `redis-server` process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, ProtocolVersion};

use super::guardian::Guardian;
use super::options::{Data, Options, VALKEY};
use crate::eventually::{DEADLINE, eventually};
use crate::port::free_port;

/// A server for one test, without persistence unless the test takes a snapshot.
pub struct RedisServer {
    port: u16,
    folder: PathBuf,
    options: Options,
    guardian: Mutex<Option<Guardian>>,
}

impl RedisServer {
    /// Starts an empty server and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(Options::new()).await
    }

    /// Starts an empty server with these settings.
    pub async fn start_with(options: Options) -> Self {
        let program = options.program_name();
        assert!(is_installed(program), "{program} is not installed; `tests/run` names the missing package");
        for _ in 0..20 {
            let folder = tempfile::Builder::new().prefix("roost-redis-").tempdir().expect("a folder").keep();
            let server = Self { port: free_port(), folder, options: options.clone(), guardian: Mutex::new(None) };
            server.launch();
            if server.is_up().await {
                return server;
            }
        }
        panic!("{program} does not start");
    }

    /// Starts an empty Valkey; `None` if it is not installed, which is said once on stderr.
    pub async fn start_valkey() -> Option<Self> {
        static ABSENCE: std::sync::Once = std::sync::Once::new();
        if !is_installed(VALKEY) {
            ABSENCE.call_once(|| {
                let line = format!("skipped: {VALKEY} is not installed, so nothing is tested against Valkey");
                writeln!(std::io::stderr(), "{line}").expect("stderr is open");
            });
            return None;
        }
        Some(Self::start_with(Options::new().program(VALKEY)).await)
    }

    /// The port that the server listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server's data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's URL, `redis://…` or `rediss://…`, with the default user's password if there is one.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let password = self.options.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{password}127.0.0.1:{}", self.port)
    }

    /// A plain Redis client, without any code of Roost. It does not work for servers that accept TLS only.
    pub async fn client(&self) -> MultiplexedConnection {
        self.connect().await.unwrap_or_else(|error| panic!("no connection to {}: {error}", self.port))
    }

    /// Sends a command, given as words, and returns the answer.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The answer to a command, or the error of a server that may close connections at any moment.
    pub async fn try_ask<T: FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut words = command.split_whitespace();
        let mut asked = redis::cmd(words.next().expect("a command"));
        words.for_each(|word| {
            asked.arg(word);
        });
        asked.query_async(&mut self.connect().await?).await
    }

    /// The value of one line of `INFO`.
    pub async fn info(&self, name: &str) -> String {
        self.try_info(name).await.unwrap_or_else(|error| panic!("INFO on {}: {error}", self.port))
    }

    /// One line of `INFO`, or the error of a server that may close connections at any moment.
    pub async fn try_info(&self, name: &str) -> redis::RedisResult<String> {
        let info: String = self.try_ask("INFO everything").await?;
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.unwrap_or_else(|| panic!("INFO has no {name}")).to_owned())
    }

    /// Pauses the process as if its machine hung: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Resumes a paused process.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&self) {
        let guardian = self.guardian.lock().unwrap().take().expect("the server runs");
        guardian.kill();
    }

    /// Restarts the server on the same port; a running one is killed first.
    pub async fn restart(&self, data: Data) {
        if let Some(guardian) = self.guardian.lock().unwrap().take() {
            guardian.kill();
        }
        if data == Data::Empty {
            let _ = std::fs::remove_file(self.folder.join("dump.rdb"));
        }
        self.launch();
        assert!(self.is_up().await, "the server does not come back:\n{}", self.log());
    }

    /// Takes a snapshot for [`Data::Snapshot`].
    pub async fn save(&self) {
        self.ask::<()>("SAVE").await;
    }

    /// Removes all data from all databases.
    pub async fn flush(&self) {
        self.ask::<()>("FLUSHALL").await;
    }

    /// Closes the connection of every subscriber.
    pub async fn kill_subscribers(&self) -> u64 {
        self.ask("CLIENT KILL TYPE pubsub").await
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(super) async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("{}/?protocol=resp3", self.url()))?;
        debug_assert_eq!(client.get_connection_info().redis_settings().protocol(), ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn signal(&self, name: &str) {
        self.guardian.lock().unwrap().as_ref().expect("the server runs").signal(name);
    }

    fn launch(&self) {
        let port = self.port.to_string();
        let folder = self.folder.display().to_string();
        let mut command = vec![self.options.program_name().to_owned()];
        let mut set = |name: &str, value: &str| command.extend([format!("--{name}"), value.to_owned()]);
        set("bind", "127.0.0.1");
        set(if self.options.tls { "tls-port" } else { "port" }, &port);
        if self.options.tls {
            set("port", "0");
        }
        set("dir", &folder);
        set("save", "");
        set("appendonly", "no");
        command.extend(self.options.arguments.iter().cloned());
        *self.guardian.lock().unwrap() = Some(Guardian::start(&self.folder, &command));
    }

    /// Whether this server answers in time, and not another one that took its port first.
    async fn is_up(&self) -> bool {
        if self.options.tls {
            eventually("a TLS listener", || async { self.log().contains("Ready to accept connections") }).await;
            return true;
        }
        let start = Instant::now();
        while start.elapsed() < DEADLINE && self.is_alive() {
            if let Ok(mut connection) = self.connect().await {
                let info: Result<String, _> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
                let loading = info.as_ref().is_err_and(|error| error.code() == Some("LOADING"));
                if !loading {
                    let id = self.guardian.lock().unwrap().as_ref().map(Guardian::server).unwrap_or_default();
                    return info.is_ok_and(|info| info.contains(&format!("process_id:{id}\r\n")));
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    fn is_alive(&self) -> bool {
        let id = self.guardian.lock().unwrap().as_ref().map(Guardian::server).unwrap_or_default();
        Command::new("kill").args(["-0", &id.to_string()]).stderr(Stdio::null()).status().unwrap().success()
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.guardian.lock().unwrap().take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
