//! A PostgreSQL server for tests, in its own folder, on a free loopback port. It is stopped and removed when the value
//! is dropped, or when the test process ends in any way.
//!
//! The server does not wait for the disk (`fsync` is off): no test stops the operating system, so no data is lost.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use roost::config::{Pooling, PostgresConfig, Secret};
use sqlx::{Connection, Executor, PgConnection, Row};
use tempfile::TempDir;

use crate::eventually::DEADLINE;
use crate::port::free_port;

/// The database account that Roost uses in tests; it owns every database.
pub const USER: &str = "roost";
/// The password of the account. Tests check that it never appears in messages.
pub const PASSWORD: &str = "spelled-out-nowhere";

const SETTINGS: &str = "listen_addresses = '127.0.0.1'
max_connections = 300
shared_buffers = '256MB'
max_wal_size = '4GB'
fsync = off
full_page_writes = off
";

/// Removes all data of a database and leaves its tables. Foreign keys and triggers are off meanwhile.
const EMPTY: &str = "
    SET session_replication_role = replica;
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT quote_ident(tablename) FROM pg_tables
            WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'
        LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
    END $$;";

/// Waits until its input ends, that is, until the test process ends; then stops the server and removes its folder.
const GUARDIAN_SCRIPT: &str = r#"cat > /dev/null; "$0" -D "$1/data" stop -s -m immediate; rm -rf "$1""#;

/// A PostgreSQL server, running unless a test has stopped it.
pub struct PostgresServer {
    programs: PathBuf,
    account: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
    databases: AtomicUsize,
    /// The URLs of databases whose tables may be emptied and used again.
    returned: Mutex<Vec<String>>,
    guardian: Child,
    alive: Option<ChildStdin>,
}

impl PostgresServer {
    /// The server that all tests of this process share. No test may stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server for one test, which may stop and restart it.
    pub fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a folder");
        let account = lesser_account(folder.path());
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).expect("the folder is given away");
        }
        initialise(&programs, account, folder.path());
        let mut guardian = as_account(Command::new("sh"), account);
        guardian.arg("-c").arg(GUARDIAN_SCRIPT).arg(programs.join("pg_ctl")).arg(folder.path()).process_group(0);
        let mut guardian = guardian.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh runs");
        let alive = guardian.stdin.take();
        let (databases, returned) = (AtomicUsize::new(0), Mutex::default());
        let mut server = Self { programs, account, folder, port: 0, databases, returned, guardian, alive };
        // Another process can take a free port before the server does.
        for _ in 0..5 {
            server.port = free_port();
            if server.control(&["start"]).status.success() {
                return server;
            }
        }
        panic!("PostgreSQL does not start:\n{}", server.log());
    }

    /// Creates an empty database and returns its URL.
    pub async fn database(&self) -> String {
        let name = format!("case_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("the server answers");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(create).await.expect("a database");
        connection.close().await.expect("the connection closes");
        self.url(&name)
    }

    /// Lends a database without data. To create one takes the server several times as long as most cases of a
    /// conformance suite, so the tables of an earlier case are emptied and used again.
    pub async fn lend(&'static self) -> LentDatabase {
        let returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(url) = returned else { return LentDatabase { server: self, url: self.database().await } };
        let mut connection = PgConnection::connect(&url).await.expect("the server answers");
        connection.execute(EMPTY).await.expect("emptied tables");
        connection.close().await.expect("the connection closes");
        LentDatabase { server: self, url }
    }

    /// The configuration of an empty database, with timeouts that suit a busy machine.
    pub async fn fresh(&self) -> PostgresConfig {
        Self::config(self.database().await)
    }

    /// The configuration of a database with this URL, with timeouts that suit a busy machine.
    pub fn config(url: String) -> PostgresConfig {
        PostgresConfig {
            url: Secret(url),
            connections_max: 8,
            acquire_timeout: DEADLINE,
            statement_timeout: DEADLINE,
            pooling: Pooling::Session,
        }
    }

    /// The URL of a database of this name.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The server's port on the loopback interface.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server as a crash would: without notice to clients and without further writes.
    pub fn stop_immediately(&self) {
        self.controlled(&["stop", "-m", "immediate"]);
    }

    /// Starts the stopped server again, on the same port and with the same data.
    pub fn start_again(&self) {
        self.controlled(&["start"]);
    }

    /// Restarts the server as an operator does, which ends every connection.
    pub fn restart(&self) {
        self.controlled(&["stop", "-m", "fast"]);
        self.start_again();
    }

    /// Stops the server and starts it as a standby that follows nobody: it is in recovery, answers reads and refuses
    /// changes.
    pub async fn demote(&self) {
        self.controlled(&["stop", "-m", "fast"]);
        let signal = self.folder.path().join("data/standby.signal");
        fs::write(&signal, "").expect("a file for the signal");
        if let Some((user, group)) = self.account {
            chown(&signal, Some(user), Some(group)).expect("the file is given away");
        }
        self.start_again();
        assert!(self.asked("SELECT pg_is_in_recovery()").await, "a standby is in recovery");
    }

    /// Makes a demoted server accept changes again, without a restart.
    pub async fn promote(&self) {
        assert!(self.asked("SELECT pg_promote()").await, "the server is promoted:\n{}", self.log());
    }

    /// What a query answers that has one flag as its answer.
    async fn asked(&self, query: &'static str) -> bool {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("the server answers");
        let answer = sqlx::raw_sql(query).fetch_one(&mut connection).await.expect("an answer").get(0);
        connection.close().await.expect("the connection closes");
        answer
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn controlled(&self, arguments: &[&str]) {
        let done = self.control(arguments);
        assert!(done.status.success(), "pg_ctl {arguments:?}: {}\n{}", output_text(&done), self.log());
    }

    fn control(&self, arguments: &[&str]) -> Output {
        let folder = self.folder.path();
        let mut command = as_account(Command::new(self.programs.join("pg_ctl")), self.account);
        command.args(arguments).arg("-w").arg("-D").arg(folder.join("data")).arg("-l").arg(folder.join("log"));
        command.args(["-o", &format!("-p {}", self.port)]).stdin(Stdio::null());
        command.output().expect("pg_ctl runs")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.alive.take());
        // A failure leaves a temporary folder behind; it must not hide the failure of the test itself.
        let _ = self.guardian.wait();
    }
}

/// A database that is lent to a test which changes no table's definition and writes nothing after it. It goes back when
/// the value is dropped, unless the test failed.
pub struct LentDatabase {
    server: &'static PostgresServer,
    /// How to reach it.
    pub url: String,
}

impl Drop for LentDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let returned = std::mem::take(&mut self.url);
            self.server.returned.lock().unwrap_or_else(PoisonError::into_inner).push(returned);
        }
    }
}

/// The folder of PostgreSQL's programs: the newest Debian package, or what is in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").exists())
        .collect();
    found.sort();
    let in_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    let newest = found.pop().map(|(_, folder)| folder);
    newest.or_else(in_path).expect("no PostgreSQL: `tests/run` installs it (Debian's package `postgresql`)")
}

/// How many sessions of this connection's database wait for a lock.
///
/// # Panics
/// If the server does not answer.
pub async fn waiting_for_locks(observer: &mut PgConnection) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::raw_sql(query).fetch_one(observer).await.expect("the server answers").get(0)
}

/// PostgreSQL refuses to run as root; tests that run as root start it as `nobody`.
pub(crate) fn lesser_account(folder: &Path) -> Option<(u32, u32)> {
    let own = fs::metadata(folder).expect("the folder is there").uid();
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "nobody"]).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("there is a user nobody")
    };
    (own == 0).then(|| (id("-u"), id("-g")))
}

pub(crate) fn as_account(mut command: Command, account: Option<(u32, u32)>) -> Command {
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    // The account may have no access to the current folder.
    command.current_dir("/");
    command
}

fn initialise(programs: &Path, account: Option<(u32, u32)>, folder: &Path) {
    let data = folder.join("data");
    let password = folder.join("password");
    fs::write(&password, PASSWORD).expect("a password file");
    let mut command = as_account(Command::new(programs.join("initdb")), account);
    command.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER]);
    command.arg("--pwfile").arg(&password).arg("-D").arg(&data).stdin(Stdio::null());
    let done = command.output().expect("initdb runs");
    assert!(done.status.success(), "initdb: {}", output_text(&done));
    let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("its settings");
    writeln!(settings, "{SETTINGS}unix_socket_directories = '{}'", folder.display()).expect("its settings");
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
