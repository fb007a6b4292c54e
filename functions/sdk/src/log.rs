//! Writes lines to the operator's log.

use crate::bindings::roost::edge::telemetry;

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Details for finding the cause of a fault.
    Debug,
    /// Events of normal operation.
    Info,
    /// Something went wrong and was handled.
    Warn,
    /// Something went wrong that an operator should look at.
    Error,
}

/// Writes one line of up to 8 KiB with up to 16 fields. The host adds the function, its revision and the trace id.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Debug => telemetry::Level::Debug,
        Level::Info => telemetry::Level::Info,
        Level::Warn => telemetry::Level::Warn,
        Level::Error => telemetry::Level::Error,
    };
    #[cfg(target_family = "wasm")]
    telemetry::log(level, message, fields);
    // A native test has no host: its lines go to the test's output.
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?} {message} {fields:?}");
}
