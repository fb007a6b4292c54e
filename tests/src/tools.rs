//! Programs of other languages that a test runs, and installs from a registry at its first run. A test whose tools
//! cannot be installed says so and is skipped.

use std::io::Write;
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// What is installed is there within a minute where the registry answers.
const INSTALLATION_TIME_MAX: Duration = Duration::from_secs(300);

/// Tells whoever runs the tests what was not tested, and why. The test harness captures `eprintln!`, but not this.
pub fn skip(untested: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {untested}: {reason}");
}

/// What a command answers.
///
/// # Errors
/// If the command cannot be run, or takes longer than this.
pub async fn output(command: &mut Command, time_max: Duration) -> Result<Output, String> {
    let program = format!("{:?}", command.as_std().get_program());
    let finished = timeout(time_max, command.kill_on_drop(true).output()).await;
    finished.map_err(|_| format!("{program} took too long"))?.map_err(|error| format!("{program}: {error}"))
}

/// Runs a command that installs something.
///
/// # Errors
/// As [`output`]; and if the command fails, what it wrote.
pub async fn install(command: &mut Command) -> Result<(), String> {
    let output = output(command, INSTALLATION_TIME_MAX).await?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
