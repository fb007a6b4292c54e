//! Log lines: where they go and how they look. They go to standard error, so that standard output holds nothing but the
//! answer of a command.

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Begins logging as configured. Only the first call in a process has an effect.
pub fn init(config: &Config) {
    // The filter was checked when the configuration was read.
    let filter = EnvFilter::try_new(&config.log).unwrap_or_default();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It fails if the process has a logger already, which happens in tests.
    let _ = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// A duration as a number for a log line. Numbers of 128 bits, as [`Duration::as_millis`] returns them, become text in JSON.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As [`milliseconds`], for what takes less.
pub(crate) fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
