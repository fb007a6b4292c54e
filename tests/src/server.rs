//! The real binary, serving on free ports with its own data directory. The process is killed when the value is dropped.
//!
//! Started hosts share the cache of compiled functions, as repeated starts on one machine do.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use crate::client::Client;
use crate::eventually::DEADLINE;
use crate::token::{ADMIN_KEY, SECRET, SERVICE_KEY, Token};
use crate::{binary, components};

/// How long a host may take to start: it may have to compile all components on a busy machine.
const START_DEADLINE: Duration = DEADLINE.saturating_mul(6);

/// Most tests send as fast as they can, which no person does. Those about limits set the keys.
const UNLIMITED: [(&str, &str); 11] = [
    ("ROOST_USERS__REQUESTS_PER_SECOND_MAX", "1000000"),
    ("ROOST_USERS__REQUESTS_BURST_MAX", "1000000"),
    ("ROOST_USERS__FRAMES_PER_SECOND_MAX", "1000000"),
    ("ROOST_USERS__FRAMES_BURST_MAX", "1000000"),
    ("ROOST_USERS__SENDS_PER_SECOND_MAX", "1000000"),
    ("ROOST_USERS__SENDS_BURST_MAX", "1000000"),
    ("ROOST_USERS__TYPING_PER_SECOND_MAX", "1000000"),
    ("ROOST_USERS__TYPING_BURST_MAX", "1000000"),
    ("ROOST_USERS__CONNECTS_PER_SECOND_MAX", "1000000"),
    ("ROOST_USERS__CONNECTS_BURST_MAX", "1000000"),
    ("ROOST_CONNECTS__PER_SECOND_MAX", "1000000"),
];

/// A running host.
pub struct Server {
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// The address of the admin listener.
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Server {
    /// Starts a host with the built-in functions and these configuration keys.
    pub async fn start(set: &[(&str, &str)]) -> Self {
        Self::serve(&components(), set).await
    }

    /// Starts a host with the components of a folder and these configuration keys.
    pub async fn serve(components: &Path, set: &[(&str, &str)]) -> Self {
        Self::serve_in(tempfile::tempdir().expect("a folder"), components, set).await
    }

    /// Starts a host in an existing data folder, so that it finds what an earlier host has written there.
    pub async fn serve_in(folder: TempDir, components: &Path, set: &[(&str, &str)]) -> Self {
        Self::run("serve", folder, components, set).await
    }

    /// Starts a host as `roost dev` does: it watches the components' folder. It builds nothing, because the source
    /// folders are empty.
    pub async fn develop(components: &Path, set: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("Cargo.toml"), "").expect("a manifest");
        for part in ["functions", "wit"] {
            fs::create_dir(folder.path().join(part)).expect("a source folder");
        }
        Self::run("dev", folder, components, set).await
    }

    /// Starts `roost dev` on these sources with the environment of the test, in which cargo is found, and these
    /// variables. Only the functions of the sources are built and served.
    pub async fn develop_sources(source: &Path, variables: &[(&str, &Path)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(folder.path());
        command.envs(std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("ROOST_")));
        command.envs(variables.iter().copied());
        command.args(["dev", "--alone", "--log-format", "json", "--source"]).arg(source);
        Self::spawn(command, folder).await
    }

    /// As [`Server::start`], with the limits of users that operators have by default.
    pub async fn start_limited(set: &[(&str, &str)]) -> Self {
        Self::start_limited_in(tempfile::tempdir().expect("a folder"), set).await
    }

    /// As [`Server::start_limited`], in an existing data folder.
    pub async fn start_limited_in(folder: TempDir, set: &[(&str, &str)]) -> Self {
        let mut command = serving("serve", folder.path(), &components(), set);
        for (name, _) in UNLIMITED {
            command.env_remove(name);
        }
        Self::spawn(command, folder).await
    }

    async fn run(name: &str, folder: TempDir, components: &Path, set: &[(&str, &str)]) -> Self {
        let command = serving(name, folder.path(), components, set);
        Self::spawn(command, folder).await
    }

    async fn spawn(mut command: Command, folder: TempDir) -> Self {
        share_compiled(folder.path());
        let mut child = command.kill_on_drop(true).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("its log is piped"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (serving, reply) = oneshot::channel();
        tokio::spawn(read_log(stderr, log.clone(), serving));
        let Ok(Ok((listen, admin))) = timeout(START_DEADLINE, reply).await else {
            panic!("the host does not serve:\n{}", log.lock().unwrap().join("\n"));
        };
        Self { listen, admin, child, log, folder }
    }

    /// A client without credentials.
    pub fn anonymous(&self) -> Client {
        Client::new(self.listen, None)
    }

    /// A client with a token of this user.
    pub fn user(&self, user: Uuid) -> Client {
        self.bearer(&Token::of(user).sign())
    }

    /// A client with this token or key.
    pub fn bearer(&self, token: &str) -> Client {
        Client::new(self.listen, Some(token))
    }

    /// A client with the service key.
    pub fn service(&self) -> Client {
        self.bearer(SERVICE_KEY)
    }

    /// Makes two users each other's contacts.
    pub async fn befriend(&self, one: Uuid, other: Uuid) {
        for (user, contact) in [(one, other), (other, one)] {
            self.user(user).put(&format!("/v1/contacts/{contact}")).await.done();
        }
    }

    /// A client of the admin listener with the admin key.
    pub fn operator(&self) -> Client {
        Client::new(self.admin, Some(ADMIN_KEY))
    }

    /// The whole log of the host.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The folder that the host runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The host's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the host runs")
    }

    /// The resident memory of the process.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Another command of the binary, with the configuration of this host.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(arguments).args(["--set", &format!("admin_listen={}", self.admin)]);
        command
    }

    /// Sends the signal that an operator uses to stop the host.
    pub async fn terminate(&self) {
        let id = self.child.id().expect("the host runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(sent.success(), "no signal was sent");
    }

    /// Waits until the host has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("the host does not end:\n{}", self.log())).expect("it can be waited for")
    }

    /// Kills the host as a crash would; returns its folder, in which another host can start.
    pub async fn kill(mut self) -> TempDir {
        self.child.kill().await.expect("the host runs");
        self.folder
    }

    /// Stops the host gracefully; returns its folder, in which another host can start.
    pub async fn stop(mut self) -> TempDir {
        self.terminate().await;
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log());
        self.folder
    }
}

/// The command of the binary that serves these components with these configuration keys.
fn serving(name: &str, folder: &Path, components: &Path, set: &[(&str, &str)]) -> Command {
    let mut command = command(folder);
    command.args([name, "--log-format", "json", "--functions-dir"]).arg(components);
    for (key, value) in set {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command
}

/// The binary with the secrets of the tests, and no other variable from the environment of the test process.
pub fn command(folder: &Path) -> Command {
    configured(&binary(), folder)
}

/// The same for any program that reads the host's configuration.
pub fn configured(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, value) in [
        ("ROOST_LISTEN", "127.0.0.1:0"),
        ("ROOST_ADMIN_LISTEN", "127.0.0.1:0"),
        ("ROOST_TOKEN_SECRET", SECRET),
        ("ROOST_SERVICE_KEY", SERVICE_KEY),
        ("ROOST_ADMIN_KEY", ADMIN_KEY),
        ("ROOST_DRAIN_SPREAD_MS", "50"),
        ("ROOST_DRAIN_DELAY_MS", "0"),
    ]
    .into_iter()
    .chain(UNLIMITED)
    {
        command.env(name, value);
    }
    command.env("ROOST_DATA_DIR", folder.join("data"));
    command
}

/// Links the shared folder of compiled functions, and the key of its entries, to the places where the host looks for
/// its own.
fn share_compiled(folder: &Path) {
    let shared: PathBuf = components().with_file_name("compiled-for-tests");
    let data = folder.join("data");
    // Hosts use only a folder that no other user can write to.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&shared).expect("a folder for compiled functions");
    fs::create_dir_all(&data).expect("a data folder");
    let key = shared.with_extension("key");
    if !key.exists() {
        let mut file = tempfile::NamedTempFile::new_in(&shared).expect("a file for the key");
        file.write_all(&[Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat()).expect("a key");
        // Another test may have put a key in place meanwhile.
        let _ = file.persist_noclobber(&key);
    }
    for (original, name) in [(shared, "compiled"), (key, "compiled.key")] {
        let link = data.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(original, link).expect("a link");
        }
    }
}

type Addresses = (SocketAddr, SocketAddr);

/// Collects every log line, and sends the addresses once the host has logged them.
async fn read_log(
    stderr: BufReader<tokio::process::ChildStderr>,
    log: Arc<Mutex<Vec<String>>>,
    serving: oneshot::Sender<Addresses>,
) {
    let mut serving = Some(serving);
    let mut lines = stderr.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(addresses) = addresses(&line)
            && let Some(serving) = serving.take()
        {
            let _ = serving.send(addresses);
        }
        log.lock().unwrap().push(line);
    }
}

fn addresses(line: &str) -> Option<Addresses> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line.get(name)?.as_str()?.parse().ok();
    (line.get("message")?.as_str()? == "serving").then_some(())?;
    Some((address("listen")?, address("admin_listen")?))
}
