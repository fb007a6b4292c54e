//! The typed configuration: one TOML file, `ROOST_…` variables, flags. Nothing else reads the environment.
//!
//! Every config_error is reported at once, before anything listens. No zero means "default". This file holds the typed
//! tree that the rest of the host reads; `keys` names every key, `layers` gathers what was said and where,
//! `reader` and `assemble` turn it into the tree.

mod assemble;
mod config_error;
mod keys;
mod layers;
mod reader;
mod redis;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use config_error::{ConfigError, ConfigErrors};
pub use keys::reference;
pub use layers::{Flag, Sources, environment};
pub use redis::{RedisConfig, RedisMode, RedisUrl};

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public listener. `listen`, `ROOST_LISTEN`, `--listen`
    pub listen: SocketAddr,
    /// The admin listener. `admin_listen`
    pub admin_listen: SocketAddr,
    /// Where SQLite and compiled functions live. `data_dir`
    pub data_dir: PathBuf,
    /// Where the live state lives. `store_url`
    pub store: StoreUrl,
    /// Where messages live. `records_url`
    pub records: RecordsUrl,
    /// Built components, `*.wasm`. `functions_dir`
    pub functions_dir: PathBuf,
    /// Who may come in.
    pub auth: AuthConfig,
    /// Socket bounds.
    pub socket: SocketConfig,
    /// HTTP bounds.
    pub http: HttpConfig,
    /// What every function may use, unless named in `functions`. `function_defaults.…`
    pub function_defaults: FunctionConfig,
    /// Single functions, by name: the built-in ones and those the operator names. `function.<name>.…`
    pub functions: BTreeMap<String, FunctionConfig>,
    /// Lines for people or JSON lines. `log_format`
    pub log_format: LogFormat,
    /// What is logged, as in `info,roost=debug`. `log`, `ROOST_LOG`
    pub log: String,
    /// How long a stop may take. `shutdown_timeout_ms`
    pub shutdown_timeout: Duration,
    /// Over how long a stop spreads the closing of sockets. `drain_spread_ms`
    pub drain_spread: Duration,
}

impl Config {
    /// What the function of this name may use.
    pub fn function(&self, name: &str) -> &FunctionConfig {
        self.functions.get(name).unwrap_or(&self.function_defaults)
    }
}

/// Where the live state lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`: in this process.
    Memory {
        /// Its size. `store_memory_bytes_max`
        bytes_max: u64,
    },
    /// `redis://…` and its kin: in Redis, shared by all hosts.
    Redis(RedisConfig),
}

/// Where messages live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordsUrl {
    /// `sqlite:<file>`; a relative file lies in the data directory. `sqlite::memory:` forgets with the process.
    Sqlite(SqliteLocation),
    /// `postgres://…` or `postgresql://…`: a database that hosts may share.
    Postgres(PostgresConfig),
    /// `http://…` or `https://…`: a backend that speaks `docs/records-http.md`.
    Http(BackendConfig),
}

/// A PostgreSQL database and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where it is; may hold a password.
    pub url: Secret,
    /// Connections of this host. `postgres.connections_max`
    pub connections_max: u32,
    /// How long a call waits for a connection, and a connection for the server. `postgres.acquire_timeout_ms`
    pub acquire_timeout: Duration,
    /// A statement's time. `postgres.statement_timeout_ms`
    pub statement_timeout: Duration,
}

/// A records backend and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// What operations stand below: `records_url` with `/v1`. Holds no secret.
    pub url: reqwest::Url,
    /// Sent as a bearer token. `records_key`
    pub key: Option<Secret>,
    /// A call's time, waiting included. `records_timeout_ms`
    pub timeout: Duration,
    /// Calls in flight. `records_calls_max`
    pub calls_max: usize,
    /// Files of authorities, beside the system's, that the backend's certificate may come from. `records_ca`
    pub ca: Vec<PathBuf>,
}

/// Where an SQLite database lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqliteLocation {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Memory,
}

/// Who may come in.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// What verifies users' tokens; at least one.
    pub keys: Vec<TokenKey>,
    /// The token's `aud` must be this, if set. `token_audience`
    pub audience: Option<String>,
    /// Clock difference that is forgiven. `token_leeway_ms`
    pub leeway: Duration,
    /// Keys of backends; empty: no service may come in. `service_key`
    pub service_keys: Vec<Secret>,
    /// The admin listener's bearer token; `None`: only `/healthz`, `/readyz` and `/metrics` answer. `admin_key`
    pub admin_key: Option<Secret>,
    /// Allowed `Origin`s of sockets; empty: any. `allowed_origins`
    pub allowed_origins: Vec<String>,
}

/// What verifies users' tokens.
#[derive(Clone, Debug)]
pub enum TokenKey {
    /// HS256. `token_secret`
    Secret(Secret),
    /// A PEM public key for RS256, ES256 or EdDSA. `token_public_key`
    PublicKey(PathBuf),
    /// A JWKS file. `token_jwks`
    Jwks(PathBuf),
}

/// Text that never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Socket bounds.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// Connections of this host. `socket.connections_max`
    pub connections_max: usize,
    /// Connections of one user on this host. `socket.connections_per_user_max`
    pub connections_per_user_max: usize,
    /// Largest frame from a client. `socket.frame_bytes_max`
    pub frame_bytes_max: usize,
    /// Frames waiting for one client. `socket.outbox_frames_max`
    pub outbox_frames_max: usize,
    /// Bytes waiting for one client. `socket.outbox_bytes_max`
    pub outbox_bytes_max: usize,
    /// Calls of one socket in flight. `socket.calls_max`
    pub calls_max: usize,
    /// The host pings this often. `socket.ping_interval_ms`
    pub ping_interval: Duration,
    /// Silence that closes a socket. `socket.idle_timeout_ms`
    pub idle_timeout: Duration,
    /// Connections beat this often. `socket.beat_interval_ms`
    pub beat_interval: Duration,
}

/// HTTP bounds.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Largest request body. `http.body_bytes_max`
    pub body_bytes_max: usize,
    /// Time for a request's head and body to arrive. `http.read_timeout_ms`
    pub read_timeout: Duration,
    /// Requests in flight; more are answered 503. `http.requests_max`
    pub requests_max: usize,
}

/// What one function may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionConfig {
    /// All memory of one instance. `memory_bytes_max`
    pub memory_bytes_max: usize,
    /// A call's time. `deadline_ms`
    pub deadline: Duration,
    /// Calls in flight. `concurrency_max`
    pub concurrency_max: usize,
    /// Calls waiting. `queue_max`
    pub queue_max: usize,
    /// Largest reply. `reply_bytes_max`
    pub reply_bytes_max: usize,
    /// Instances serve several calls, one after the other, instead of one. `reuse`
    pub reuse: bool,
    /// Calls until a reused instance is dropped. `reuse_calls_max`
    pub reuse_calls_max: u32,
    /// Age at which a reused instance is dropped. `reuse_age_ms`
    pub reuse_age: Duration,
    /// Narrower grants than the manifest asks for; `None`: what it asks for.
    pub grants: Option<GrantsConfig>,
}

/// What an operator allows a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantsConfig {
    /// Key spaces to read, by name.
    pub read: Vec<String>,
    /// Key spaces to write, by name.
    pub write: Vec<String>,
    /// May publish to users.
    pub publish: bool,
    /// Records operations, by name.
    pub records: Vec<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}
