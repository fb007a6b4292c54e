//! Logs the text of a panic. Without this the host would see only a trap.

use std::panic::PanicHookInfo;

use crate::log::{Level, log};

/// Logs every later panic before it traps. Sets a hook without allocating, so that every call can do it.
pub(crate) fn report_panics() {
    if cfg!(target_family = "wasm") {
        std::panic::set_hook(Box::new(report));
    }
}

fn report(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a panic without a message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    log(Level::Error, text, &[("panicked_at", &location)]);
}
