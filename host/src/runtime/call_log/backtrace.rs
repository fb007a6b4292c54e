//! The trace of a trap as function names: those of the component's name section, demangled, the innermost first.

use wasmtime::{FrameInfo, WasmBacktrace};

use super::cut;

/// The most frames of a trace.
const FRAMES_MAX: usize = 32;
/// The longest name of a frame, in bytes.
const FRAME_BYTES_MAX: usize = 200;

/// The frames of the guest in which an error arose; none if it did not arise in a guest.
pub(in super::super) fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    frames.iter().take(FRAMES_MAX).map(name).collect()
}

/// The name of a frame; a component without names has numbers.
fn name(frame: &FrameInfo) -> String {
    let mut name = match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    cut(&mut name, FRAME_BYTES_MAX);
    name
}
