//! The fuzz targets: one function for each parser of bytes from outside. A target must not panic for any input; where a
//! parser accepts an input, the target also checks that the result is consistent.
//!
//! `tests/fuzz/run` runs the targets with libFuzzer, and the test `fuzz_corpus` replays the inputs in
//! `tests/fuzz/corpus`, so that both always run the same functions.

mod component;
mod config;
mod records;
mod server;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the target and of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Runs one input.
    ///
    /// # Panics
    /// If the parser breaks one of its guarantees for this input.
    pub run: fn(&[u8]),
}

/// Every fuzz target.
pub const TARGETS: [Target; 15] = [
    Target { name: "bearer_token", run: server::bearer_token },
    Target { name: "client_frame", run: server::client_frame },
    Target { name: "component", run: component::component },
    Target { name: "config_environment", run: config::config_environment },
    Target { name: "config_file", run: config::config_file },
    Target { name: "config_url", run: config::config_url },
    Target { name: "feed_position", run: server::feed_position },
    Target { name: "function_body", run: component::function_body },
    Target { name: "page_cursor", run: records::page_cursor },
    Target { name: "query_string", run: server::query_string },
    Target { name: "records_answer", run: records::records_answer },
    Target { name: "redis_reply", run: redis_reply },
    Target { name: "structured_key", run: records::structured_key },
    Target { name: "subprotocols", run: server::subprotocols },
    Target { name: "token_claims", run: server::token_claims },
];

/// A reply of Redis, as bytes of its protocol.
fn redis_reply(input: &[u8]) {
    roost::store::redis::fuzzing::interpret_reply(input);
}

/// The target with this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// The input as text, with invalid UTF-8 replaced: the parsers of text receive valid UTF-8 only.
fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// A runtime for the targets that call asynchronous code.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}
