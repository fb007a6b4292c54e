//! The real binary, serving on free ports from a folder of its own. Killed when dropped.
//!
//! Compiled functions are shared between the started hosts, as a second start on one machine would share them.

use std::fs;
use std::net::SocketAddr;
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
use crate::token::{ADMIN_KEY, SECRET, SERVICE_KEY, Token};
use crate::{binary, components};

/// How long anything may take before a test fails; on a busy machine compiling six functions is the longest.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A host that serves.
pub struct Server {
    /// The public listener.
    pub listen: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Server {
    /// Serves the built-in functions, with these keys of the configuration set.
    pub async fn start(set: &[(&str, &str)]) -> Self {
        Self::serve(&components(), set).await
    }

    /// Serves the components of a folder.
    pub async fn serve(components: &Path, set: &[(&str, &str)]) -> Self {
        Self::serve_in(tempfile::tempdir().expect("a folder"), components, set).await
    }

    /// Serves from a folder that exists: what an earlier host wrote there is found again.
    pub async fn serve_in(folder: TempDir, components: &Path, set: &[(&str, &str)]) -> Self {
        Self::run("serve", folder, components, set).await
    }

    /// Serves as `roost dev` does, which follows what is saved in the components' folder. Nothing is built: the
    /// sources are an empty folder.
    pub async fn develop(components: &Path, set: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("Cargo.toml"), "").expect("a manifest");
        for part in ["functions", "wit"] {
            fs::create_dir(folder.path().join(part)).expect("a source folder");
        }
        Self::run("dev", folder, components, set).await
    }

    async fn run(name: &str, folder: TempDir, components: &Path, set: &[(&str, &str)]) -> Self {
        let mut command = command(folder.path());
        command.args([name, "--log-format", "json", "--functions-dir"]).arg(components);
        for (key, value) in set {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        share_compiled(folder.path());
        let mut child = command.kill_on_drop(true).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("its log is piped"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (serving, told) = oneshot::channel();
        tokio::spawn(read_log(stderr, log.clone(), serving));
        let Ok(Ok((listen, admin))) = timeout(DEADLINE, told).await else {
            panic!("the host does not serve:\n{}", log.lock().unwrap().join("\n"));
        };
        Self { listen, admin, child, log, folder }
    }

    /// A client without credentials.
    pub fn anonymous(&self) -> Client {
        Client::new(self.listen, None)
    }

    /// A client of this user.
    pub fn user(&self, user: Uuid) -> Client {
        self.bearer(&Token::of(user).sign())
    }

    /// A client that shows this token or key.
    pub fn bearer(&self, token: &str) -> Client {
        Client::new(self.listen, Some(token))
    }

    /// A backend.
    pub fn service(&self) -> Client {
        self.bearer(SERVICE_KEY)
    }

    /// A client of the admin listener that shows its key.
    pub fn operator(&self) -> Client {
        Client::new(self.admin, Some(ADMIN_KEY))
    }

    /// Everything that the host has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The host's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the host runs")
    }

    /// Another command of the binary, configured as this host is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(arguments).args(["--set", &format!("admin_listen={}", self.admin)]);
        command
    }

    /// Asks the host to stop, as an operator does.
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

    /// Ends the host as a crash does; answers its folder, in which another may start.
    pub async fn kill(mut self) -> TempDir {
        self.child.kill().await.expect("the host runs");
        self.folder
    }

    /// Stops the host gracefully; answers its folder, in which another may start.
    pub async fn stop(mut self) -> TempDir {
        self.terminate().await;
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log());
        self.folder
    }
}

/// The binary with the secrets of the tests and nothing else from this process's environment.
pub fn command(folder: &Path) -> Command {
    configured(&binary(), folder)
}

/// Any program that reads the host's configuration, likewise.
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
    ] {
        command.env(name, value);
    }
    command.env("ROOST_DATA_DIR", folder.join("data"));
    command
}

/// Puts a link to the common folder of compiled functions where the host will look for its own.
fn share_compiled(folder: &Path) {
    let shared: PathBuf = components().with_file_name("compiled-for-tests");
    let data = folder.join("data");
    fs::create_dir_all(&shared).expect("a folder for compiled functions");
    fs::create_dir_all(&data).expect("a data folder");
    let link = data.join("compiled");
    if !link.exists() {
        std::os::unix::fs::symlink(shared, link).expect("a link");
    }
}

type Addresses = (SocketAddr, SocketAddr);

/// Keeps every line, and tells the addresses once they are known.
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
