//! The JavaScript client in Node, driven by a test: every command is a line of JSON, and so is its answer. The driver
//! itself is `tests/client/driver.mjs`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::eventually::{DEADLINE, eventually};
use crate::sources::root;

/// The oldest version of Node that the client supports.
const NODE_VERSION_MIN: u32 = 20;

/// The folder with the programs of the client's tests.
pub fn programs() -> PathBuf {
    root().join("tests/client")
}

/// A command of Node without the environment of the test process.
///
/// # Panics
/// If there is no Node, or only an older one.
pub fn node() -> Command {
    let version = std::process::Command::new("node").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    assert!(
        major.is_some_and(|major| major >= NODE_VERSION_MIN),
        "the tests of the JavaScript client need Node {NODE_VERSION_MIN} or newer, not {version:?}; tests/run tells how to get it"
    );
    let mut command = Command::new("node");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A client with its store in a process of its own. The process is killed when the value is dropped.
pub struct JavascriptClient {
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    asked: u64,
    folder: TempDir,
}

impl JavascriptClient {
    /// Starts a client of the host at this address. It is not connected yet.
    pub fn start(url: &str, token: &str, options: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("token"), token).expect("a file for the token");
        let mut command = node();
        command.arg(programs().join("driver.mjs"));
        command.env("ROOST_URL", url).env("ROOST_TOKEN_FILE", folder.path().join("token"));
        command.env("ROOST_CLIENT_OPTIONS", options.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("Node runs");
        let commands = process.stdin.take().expect("its input is piped");
        let answers = BufReader::new(process.stdout.take().expect("its output is piped")).lines();
        Self { _process: process, commands, answers, asked: 0, folder }
    }

    /// Starts a client and connects it.
    pub async fn connected(url: &str, token: &str, options: &Value) -> Self {
        let mut client = Self::start(url, token, options);
        client.client("connect", json!([])).await;
        client.until("the state is loaded", |state| state["shown"]["ready"] == true).await;
        client
    }

    /// Replaces the token that the client receives when it asks for one.
    pub fn set_token(&self, token: &str) {
        // Replaced at once: the client never reads a part of it.
        let new = self.folder.path().join("new-token");
        fs::write(&new, token).expect("a file for the token");
        fs::rename(new, self.folder.path().join("token")).expect("the token is replaced");
    }

    /// Calls a method of the client that must succeed.
    pub async fn client(&mut self, method: &str, arguments: Value) -> Value {
        let answer = self.call("client", method, arguments).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method of the store that must succeed.
    pub async fn store(&mut self, method: &str, arguments: Value) -> Value {
        let answer = self.call("store", method, arguments).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method of the client that must fail with this code.
    pub async fn refused(&mut self, method: &str, arguments: Value, code: &str) {
        let answer = self.call("client", method, arguments).await;
        assert_eq!(answer.expect_err("it is refused")["code"], code, "{method}");
    }

    /// Calls a method of the client whose outcome is not waited for.
    pub async fn begin(&mut self, method: &str, arguments: Value) {
        let command = json!({ "on": "client", "method": method, "arguments": arguments, "wait": false });
        self.ask(command).await.expect("a command without an outcome cannot fail");
    }

    /// What the client has seen, and what its store shows.
    pub async fn state(&mut self) -> Value {
        self.call("driver", "state", json!([])).await.expect("the state can be read")
    }

    /// Waits until the state has this property, and returns it.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut state = Value::Null;
        eventually(what, async || {
            state = self.state().await;
            holds(&state)
        })
        .await;
        state
    }

    async fn call(&mut self, on: &str, method: &str, arguments: Value) -> Result<Value, Value> {
        self.ask(json!({ "on": on, "method": method, "arguments": arguments })).await
    }

    async fn ask(&mut self, mut command: Value) -> Result<Value, Value> {
        self.asked += 1;
        command["id"] = self.asked.into();
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("Node runs");
        let line = timeout(DEADLINE, self.answers.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("no answer to {command}"));
        let line = line.expect("Node runs").unwrap_or_else(|| panic!("Node ended at {command}"));
        let mut answer: Value = serde_json::from_str(&line).expect("answers are JSON");
        assert_eq!(answer["id"], self.asked, "{command} is answered with {answer}");
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["ok"].take()),
        }
    }
}
