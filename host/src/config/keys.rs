//! Every key of the configuration in one table: its name, its default, what is allowed and what it means.
//!
//! The file spells a key with dots, the environment as `ROOST_` and capitals with `__` for a dot (and `_` for the
//! `-` of a function's name): `socket.idle_timeout_ms` is `ROOST_SOCKET__IDLE_TIMEOUT_MS`.

use std::fmt;

use super::redis::PREFIX_BYTES_MAX;

/// As HS256 demands.
pub(super) const SECRET_BYTES_MIN: usize = 32;
/// What nobody guesses.
pub(super) const KEY_BYTES_MIN: usize = 16;

/// One key.
pub(super) struct Key {
    /// As the file spells it; a function's keys without their `function.<name>.`.
    pub(super) name: &'static str,
    /// What is used when nobody says anything; empty: nothing is set.
    pub(super) default: &'static str,
    pub(super) allowed: Allowed,
    pub(super) help: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy)]
pub(super) enum Allowed {
    Address,
    Path,
    Text,
    Switch,
    Store,
    Prefix,
    File,
    Records,
    LogFormat,
    LogFilter,
    Whole {
        unit: &'static str,
        minimum: u64,
        maximum: u64,
    },
    /// Sign tokens; never sent.
    Secrets,
    /// Sent as bearer tokens.
    BearerKey,
    BearerKeys,
    Files,
    Origins,
    Spaces,
    Operations,
}

impl Allowed {
    /// Several values: an array in the file, separated by commas elsewhere.
    pub(super) const fn is_list(self) -> bool {
        matches!(self, Self::Secrets | Self::BearerKeys | Self::Files | Self::Origins | Self::Spaces | Self::Operations)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an IP address and a port, such as 127.0.0.1:8080 or [::1]:0"),
            Self::Path => f.write_str("a path"),
            Self::Text => f.write_str("a text"),
            Self::Switch => f.write_str("`true` or `false`"),
            Self::Store => f.write_str(
                "`memory:`, `redis://…`, `rediss://…`, `redis+cluster://…`, `rediss+cluster://…` or `redis+sentinel://…`",
            ),
            Self::Prefix => write!(f, "up to {PREFIX_BYTES_MAX} letters, digits, ':', '.', '_' and '-'"),
            Self::File => f.write_str("the path of a file that exists"),
            Self::Records => f.write_str(
                "`sqlite:<file>`, `sqlite::memory:` or `postgres://<user>:<password>@<host>:<port>/<database>`",
            ),
            Self::LogFormat => f.write_str("`text` or `json`"),
            Self::LogFilter => f.write_str("levels and targets, such as `info` or `warn,roost=debug`"),
            Self::Whole { unit, minimum, maximum } => write!(f, "a whole number of {unit} from {minimum} to {maximum}"),
            Self::Secrets => write!(f, "texts of at least {SECRET_BYTES_MIN} bytes each, without commas"),
            Self::BearerKey => write!(f, "at least {KEY_BYTES_MIN} letters, digits and signs of ASCII"),
            Self::BearerKeys => {
                write!(f, "at least {KEY_BYTES_MIN} letters, digits and signs of ASCII each, no commas")
            }
            Self::Files => f.write_str("paths of files that exist"),
            Self::Origins => f.write_str("origins such as https://chat.example.com"),
            Self::Spaces => f.write_str("key spaces"),
            Self::Operations => f.write_str("records operations"),
        }
    }
}

const fn key(name: &'static str, default: &'static str, allowed: Allowed, help: &'static str) -> Key {
    Key { name, default, allowed, help }
}

const fn milliseconds(minimum: u64, maximum: u64) -> Allowed {
    Allowed::Whole { unit: "milliseconds", minimum, maximum }
}

const fn bytes(minimum: u64, maximum: u64) -> Allowed {
    Allowed::Whole { unit: "bytes", minimum, maximum }
}

const fn count(unit: &'static str, maximum: u64) -> Allowed {
    Allowed::Whole { unit, minimum: 1, maximum }
}

/// Keys that stand on their own or in a table of a fixed name.
pub(super) const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:8080", Allowed::Address, "the public listener; port 0 takes a free one"),
    key("admin_listen", "127.0.0.1:9090", Allowed::Address, "the admin listener: health, metrics, functions"),
    key("data_dir", ".roost", Allowed::Path, "where SQLite and compiled functions live"),
    key("store_url", "memory:", Allowed::Store, "where the live state lives"),
    key("store_prefix", "", Allowed::Prefix, "stands before every key and channel in Redis"),
    key("store_ca_file", "", Allowed::File, "PEM certificates that rediss:// trusts instead of the system's"),
    key("store_connect_timeout_ms", "2000", milliseconds(50, 60_000), "for opening a connection to Redis"),
    key("store_response_timeout_ms", "1000", milliseconds(10, 60_000), "for an answer of Redis"),
    key(
        "store_commands_max",
        "16384",
        Allowed::Whole { unit: "commands", minimum: 64, maximum: 1_000_000 },
        "commands to Redis in flight; more wait a moment and are answered 503",
    ),
    key("records_url", "sqlite:records.db", Allowed::Records, "where messages live; a relative file lies in data_dir"),
    key("functions_dir", "functions.d", Allowed::Path, "components to serve, *.wasm (`roost dev`: target/functions)"),
    key("log", "info", Allowed::LogFilter, "what is logged"),
    key("log_format", "text", Allowed::LogFormat, "log lines for people or for machines"),
    key("shutdown_timeout_ms", "10000", milliseconds(100, 600_000), "how long a stop may take"),
    key("drain_spread_ms", "2000", milliseconds(1, 600_000), "over how long a stop spreads the closing of sockets"),
    key("token_secret", "", Allowed::Secrets, "verifies users' HS256 tokens; several for rotation"),
    key("token_public_key", "", Allowed::Files, "PEM public keys for users' RS256, ES256 or EdDSA tokens"),
    key("token_jwks", "", Allowed::Files, "JWKS files for users' tokens"),
    key("token_audience", "", Allowed::Text, "what a token's `aud` must hold; unset: anything"),
    key("token_leeway_ms", "5000", milliseconds(1, 300_000), "clock difference forgiven in `exp` and `nbf`"),
    key("service_key", "", Allowed::BearerKeys, "keys of backends; unset: no service may come in"),
    key(
        "admin_key",
        "",
        Allowed::BearerKey,
        "bearer token of the admin listener's `/functions`; unset: that answers nobody",
    ),
    key("allowed_origins", "", Allowed::Origins, "`Origin`s whose pages may open sockets; unset: any"),
    key("socket.connections_max", "10000", count("connections", 1_000_000), "connections of this host"),
    key("socket.connections_per_user_max", "32", count("connections", 10_000), "connections of one user on this host"),
    key("socket.frame_bytes_max", "65536", bytes(1_024, 1_048_576), "largest frame from a client"),
    key("socket.outbox_frames_max", "256", count("frames", 65_536), "frames waiting for one client"),
    key("socket.outbox_bytes_max", "1048576", bytes(262_144, 67_108_864), "bytes waiting for one client"),
    key("socket.calls_max", "8", count("calls", 256), "calls of one socket in flight"),
    key("socket.ping_interval_ms", "20000", milliseconds(100, 300_000), "the host pings this often"),
    key("socket.idle_timeout_ms", "60000", milliseconds(200, 900_000), "silence that closes a socket"),
    key(
        "socket.beat_interval_ms",
        "25000",
        milliseconds(100, 30_000),
        "connections beat this often; a device without a beat is gone after 60 s",
    ),
    key("http.body_bytes_max", "65536", bytes(1_024, 1_048_576), "largest request body"),
    key("http.read_timeout_ms", "10000", milliseconds(100, 300_000), "time for a request's head and body to arrive"),
    key("http.requests_max", "1024", count("requests", 100_000), "requests in flight; more are answered 503"),
    key("postgres.connections_max", "16", count("connections", 1_000), "connections of this host to PostgreSQL"),
    key("postgres.acquire_timeout_ms", "2000", milliseconds(10, 60_000), "a call waits this long for a connection"),
    key("postgres.statement_timeout_ms", "5000", milliseconds(10, 600_000), "PostgreSQL ends a statement after this"),
];

/// Keys of `function_defaults` and of each `function.<name>`.
pub(super) const FUNCTION_KEYS: &[Key] = &[
    key("memory_bytes_max", "16777216", bytes(1_048_576, 67_108_864), "all memory of one instance"),
    key("deadline_ms", "5000", milliseconds(10, 60_000), "a call's time"),
    key("concurrency_max", "64", count("calls", 1_024), "calls in flight"),
    key("queue_max", "256", count("calls", 65_536), "calls waiting; more are answered 503"),
    key("reply_bytes_max", "1048576", bytes(1_024, 16_777_216), "largest reply"),
    key(
        "reuse",
        "false",
        Allowed::Switch,
        "an instance serves several calls, one after the other (built-in functions: true)",
    ),
    key("reuse_calls_max", "1000", count("calls", 1_000_000), "calls until a reused instance is dropped"),
    key("reuse_age_ms", "60000", milliseconds(10, 3_600_000), "age at which a reused instance is dropped"),
];

/// Keys of each `function.<name>` alone. Any of them narrows all four: what is not named is not granted.
pub(super) const GRANT_KEYS: &[Key] = &[
    key("grants.read", "", Allowed::Spaces, "key spaces it may read"),
    key("grants.write", "", Allowed::Spaces, "key spaces it may write"),
    key("grants.publish", "", Allowed::Switch, "it may publish to users"),
    key("grants.records", "", Allowed::Operations, "records operations it may use"),
];

/// The functions that come with Roost; they are trusted to be reused.
pub(super) const BUILT_IN: [&str; 6] = ["contacts", "last-message", "messaging", "presence", "typing", "unread"];

/// The key of this full name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    let mut keys: Box<dyn Iterator<Item = &'static Key>> = Box::new(KEYS.iter());
    let mut leaf = name;
    if let Some(rest) = name.strip_prefix("function_defaults.") {
        (keys, leaf) = (Box::new(FUNCTION_KEYS.iter()), rest);
    } else if let Some((function, rest)) = name.strip_prefix("function.").and_then(|rest| rest.split_once('.')) {
        if !is_function_name(function) {
            return None;
        }
        (keys, leaf) = (Box::new(FUNCTION_KEYS.iter().chain(GRANT_KEYS)), rest);
    }
    keys.into_iter().find(|key| key.name == leaf)
}

/// As manifests name functions.
pub(super) fn is_function_name(name: &str) -> bool {
    let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (1..=64).contains(&name.len()) && clean
}

/// Every full name; a function's keys under `function.<name>`.
pub(super) fn names(function: &str) -> Vec<String> {
    let fixed = KEYS.iter().map(|key| key.name.to_owned());
    let defaults = FUNCTION_KEYS.iter().map(|key| format!("function_defaults.{}", key.name));
    let single = FUNCTION_KEYS.iter().chain(GRANT_KEYS).map(|key| format!("function.{function}.{}", key.name));
    fixed.chain(defaults).chain(single).collect()
}

/// How the environment spells a key.
pub(super) fn variable(name: &str) -> String {
    format!("ROOST_{}", name.replace('.', "__").replace('-', "_").to_ascii_uppercase())
}

/// The key that a variable spells. Only a function's name may hold a `-`.
pub(super) fn from_variable(variable: &str) -> Option<String> {
    let spelt = variable.strip_prefix("ROOST_")?;
    if spelt.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let mut parts: Vec<String> = spelt.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    if let [first, function, ..] = parts.as_mut_slice()
        && first == "function"
    {
        *function = function.replace('_', "-");
    }
    Some(parts.join("."))
}

/// Every key with its variable, default, bounds and meaning, for people.
pub fn reference() -> String {
    let mut text = String::new();
    for name in names("<name>") {
        let leaf = name.strip_prefix("function.<name>.").map(|leaf| format!("function.x.{leaf}"));
        let Some(key) = find(leaf.as_deref().unwrap_or(&name)) else { continue };
        let default = if key.default.is_empty() { "unset".to_owned() } else { key.default.to_owned() };
        let default =
            if leaf.is_some() && !key.default.is_empty() { "as function_defaults".to_owned() } else { default };
        text.push_str(&format!(
            "{name}\n    {}\n    {}; default: {default}\n    allowed: {}\n",
            variable(&name),
            key.help,
            key.allowed
        ));
    }
    text
}
