//! A panic's text on its way to the operator: without this the host would see only a trap.

use std::panic::PanicHookInfo;

use crate::log::{Level, log};

/// From here on a panic is logged before it traps. Allocates nothing, so that every call may ask for it.
pub(crate) fn report_panics() {
    if cfg!(target_family = "wasm") {
        std::panic::set_hook(Box::new(report));
    }
}

fn report(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("a panic without a text");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    log(Level::Error, text, &[("panicked_at", &place)]);
}
