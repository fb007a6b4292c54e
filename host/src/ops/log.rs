//! Where log lines go and how they look. Lines go to standard error, so that a command's own answer stays alone on
//! standard output.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Begins logging as configured. Only the first call of a process counts.
pub fn init(config: &Config) {
    // The configuration was validated: the filter is one.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_default();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that a logger is there already, which a test in the same process has set.
    let _ = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
