//! Prints the answers of commands on standard output; logs and progress go to standard error.

use std::io::Write;

/// Prints a line. A reader that has closed its end of a pipe is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
