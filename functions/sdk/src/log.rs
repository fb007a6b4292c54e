//! Lines for the operator's log.

use crate::bindings::roost::edge::telemetry;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Went well in the end, or nearly.
    Warn,
    /// Somebody should look.
    Error,
}

/// Writes one line, up to 8 KiB with up to 16 fields. The host adds the function, its revision and the trace id.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Debug => telemetry::Level::Debug,
        Level::Info => telemetry::Level::Info,
        Level::Warn => telemetry::Level::Warn,
        Level::Error => telemetry::Level::Error,
    };
    #[cfg(target_family = "wasm")]
    telemetry::log(level, message, fields);
    // A test has no host; whoever looks at its output is the operator.
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?} {message} {fields:?}");
}
