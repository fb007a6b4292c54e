//! A server that ends with the test process, in whatever way that ends: a shell runs it, and stops it when the shell's
//! input is closed. The shell ends when the server ends.
//!
//! `redis/guardian.rs` and `postgres.rs` have guardians of their own, which also remove the folder of a server that is
//! kept in a `static`, and which go on while a test has stopped the server.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::postgres::as_account;

const SCRIPT: &str = r#"exec 3<&0; "$@" 3<&- & server=$!
{ cat <&3 > /dev/null; kill -TERM $server 2> /dev/null; } & wait $server"#;

/// A running server. It is stopped when the value is dropped.
pub(crate) struct GuardedServer {
    shell: Child,
    input: Option<ChildStdin>,
}

impl GuardedServer {
    /// Runs the program of this command with its arguments, as this account. The log receives what it writes to
    /// standard error.
    pub(crate) fn start(server: &Command, account: Option<(u32, u32)>, log: &Path) -> Self {
        let log = File::create(log).expect("a log");
        let mut shell = as_account(Command::new("sh"), account);
        shell.args(["-c", SCRIPT, "guardian"]).arg(server.get_program()).args(server.get_args());
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut shell = shell.spawn().expect("sh runs");
        let input = shell.stdin.take();
        Self { shell, input }
    }

    /// Whether the server has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.shell.try_wait().is_ok_and(|ended| ended.is_some())
    }
}

impl Drop for GuardedServer {
    fn drop(&mut self) {
        drop(self.input.take());
        // A failure must not hide the failure of the test itself.
        let _ = self.shell.wait();
    }
}
