//! A guardian process that runs a server and ends with the test: when the test's end of the input pipe closes, for
//! whatever reason, the guardian kills the server and removes its folder. So a server can be kept in a `static`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts the program that follows the folder, prints its process id, and waits for the end of its input.
const SCRIPT: &str = r#"
folder=$1; shift
"$@" >>"$folder/log" 2>&1 </dev/null &
server=$!
echo $server
read -r remove
kill -9 $server 2>/dev/null
wait $server 2>/dev/null
[ "$remove" = keep ] || rm -rf "$folder"
"#;

/// A running server process.
pub(super) struct Guardian {
    child: Child,
    server: u32,
}

impl Guardian {
    pub(super) fn start(folder: &Path, command: &[String]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "guardian"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped"))
            .read_line(&mut line)
            .expect("the guardian prints a process id");
        let server = line.trim().parse().unwrap_or_else(|_| panic!("no process id: {line:?}"));
        Self { child, server }
    }

    /// The server's process id.
    pub(super) const fn server(&self) -> u32 {
        self.server
    }

    /// Sends a signal to the server.
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.server.to_string()]).status();
        assert!(sent.expect("kill runs").success(), "no {name} was sent to {}", self.server);
    }

    /// Kills the server but keeps its folder.
    pub(super) fn kill(mut self) {
        use std::io::Write;
        if let Some(mut input) = self.child.stdin.take() {
            input.write_all(b"keep\n").expect("the guardian listens");
        }
        self.child.wait().expect("the guardian ends");
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
