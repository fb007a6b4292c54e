//! The typed configuration: one TOML file, `ROOST_…` variables, flags. Nothing else reads the environment.
//!
//! `keys` declares every key once. `layers` and `toml_file` gather the settings, `reader` and `value` convert them,
//! `checks` finds settings that contradict each other, and `assemble` builds the typed configuration. Every error is
//! reported at once, before anything listens. `listing` shows the effective configuration. No zero means "default".

mod assemble;
mod built_in;
mod checks;
mod config_error;
mod key;
mod keys;
mod layers;
mod listing;
mod reader;
mod redis;
mod reference;
mod signing_keys;
#[cfg(test)]
mod tests;
mod toml_file;
mod value;

use std::path::PathBuf;

pub(crate) use built_in::BUILT_IN;
pub use built_in::default_grants;
pub use config_error::{ConfigError, ConfigErrors};
pub use keys::{
    AuthConfig, BackendConfig, Config, ConnectsConfig, ConversationsConfig, DeploymentsConfig, FunctionConfig,
    GrantsConfig, HttpConfig, PostgresConfig, RedisConfig, SocketConfig, UsersConfig,
};
pub use layers::{Flag, Sources, environment};
pub use listing::Listing;
pub use redis::{RedisMode, RedisUrl};
pub use reference::reference;
pub(crate) use reference::{FlagKey, flags};
pub use signing_keys::SigningKeys;

impl Config {
    /// The limits of the function with this name.
    pub fn function(&self, name: &str) -> &FunctionConfig {
        self.functions.get(name).unwrap_or(&self.function_defaults)
    }

    /// What an operator should know about this configuration although it is valid: each a sentence with what to do.
    pub(crate) fn warnings(&self) -> Vec<String> {
        checks::warnings(self)
    }
}

/// Where the live state is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `memory:`: in this process.
    Memory {
        /// The most memory of the store. `store_memory_bytes_max`
        bytes_max: u64,
    },
    /// `redis://…` and its variants: in Redis, shared by all hosts.
    Redis(Box<RedisConfig>),
}

/// Where messages are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordsUrl {
    /// `sqlite:<file>`, or `sqlite::memory:`, which ends with the process.
    Sqlite(SqliteLocation),
    /// `postgres://…` or `postgresql://…`: a database that hosts may share.
    Postgres(PostgresConfig),
    /// `http://…` or `https://…`: a backend that implements `docs/records-http.md`.
    Http(BackendConfig),
}

/// Where an SQLite database is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqliteLocation {
    /// In a file; its path is relative to the current directory, not to the data directory.
    File(PathBuf),
    /// The state is kept in the memory of this process.
    Memory,
}

/// A key that verifies users' tokens.
#[derive(Clone, Debug)]
pub enum TokenKey {
    /// A secret for HS256. `token_secret`
    Secret(Secret),
    /// A PEM file with a public key for RS256, ES256 or EdDSA. `token_public_key`
    PublicKey(PathBuf),
    /// A JWKS file. `token_jwks`
    Jwks(PathBuf),
    /// A JWKS document behind a URL. `token_jwks_url`
    JwksUrl(String),
}

/// Text that is never shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a pooler between this host and PostgreSQL keeps for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// To be found out at the start.
    Auto,
    /// The session: there is no pooler, or one with `pool_mode = session`.
    Session,
    /// The transaction: statements of one connection may reach different sessions of the server.
    Transaction,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people to read.
    Text,
    /// For programs: one JSON object a line.
    Json,
}
