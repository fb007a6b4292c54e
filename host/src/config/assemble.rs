//! Builds the typed tree from the settings, checks what must fit together, and reports every config_error at once.

use std::collections::{BTreeMap, BTreeSet};

use roost_core::limits::PAYLOAD_BYTES_MAX;

use super::keys::{BUILT_IN, FUNCTION_KEYS, GRANT_KEYS};
use super::layers::Settings;
use super::reader::Reader;
use super::{AuthConfig, Config, ConfigErrors, FunctionConfig, GrantsConfig, HttpConfig, SocketConfig, TokenKey};

const TOKEN_KEYS: [&str; 3] = ["token_secret", "token_public_key", "token_jwks"];
const NO_TOKEN_KEY: &str =
    "no user could come in: set token_secret, token_public_key or token_jwks (`roost dev` makes up a secret)";

impl Settings {
    pub(super) fn assemble(self, needs_token_key: bool) -> Result<Config, ConfigErrors> {
        let mut reader = Reader::new(self);
        let data_dir = reader.path("data_dir");
        let config = Config {
            listen: reader.address("listen"),
            admin_listen: reader.address("admin_listen"),
            store: reader.store(),
            records: reader.records(&data_dir),
            data_dir,
            functions_dir: reader.path("functions_dir"),
            auth: auth(&mut reader),
            socket: socket(&mut reader),
            http: http(&mut reader),
            function_defaults: function(&mut reader, "function_defaults", None),
            functions: functions(&mut reader),
            log_format: reader.log_format(),
            log: reader.log_filter(),
            shutdown_timeout: reader.duration("shutdown_timeout_ms"),
            drain_spread: reader.duration("drain_spread_ms"),
        };
        fit_together(&mut reader, &config, needs_token_key);
        let mut mistakes = reader.settings.mistakes;
        // The file from its first line to its last, then everything else as it came.
        mistakes.sort_by_key(|config_error| (config_error.line.is_none(), config_error.line));
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigErrors(mistakes)) }
    }
}

fn fit_together(reader: &mut Reader, config: &Config, needs_token_key: bool) {
    let socket = &config.socket;
    reader.require(
        config.listen != config.admin_listen || config.listen.port() == 0,
        &["admin_listen", "listen"],
        "listen and admin_listen are the same address",
    );
    reader.require(
        socket.ping_interval < socket.idle_timeout,
        &["socket.ping_interval_ms", "socket.idle_timeout_ms"],
        "must be below socket.idle_timeout_ms, or a silent socket is closed before it is pinged",
    );
    reader.require(
        socket.outbox_bytes_max > PAYLOAD_BYTES_MAX,
        &["socket.outbox_bytes_max"],
        "must hold the largest event",
    );
    reader.require(
        config.drain_spread < config.shutdown_timeout,
        &["drain_spread_ms", "shutdown_timeout_ms"],
        "must be below shutdown_timeout_ms, or a stop cuts off the last sockets",
    );
    let has_token_key = !config.auth.keys.is_empty();
    reader.require(has_token_key || !needs_token_key, &TOKEN_KEYS, NO_TOKEN_KEY);
}

fn auth(reader: &mut Reader) -> AuthConfig {
    let secrets = reader.secrets("token_secret").into_iter().map(TokenKey::Secret);
    let mut keys: Vec<TokenKey> = secrets.collect();
    keys.extend(reader.files("token_public_key").into_iter().map(TokenKey::PublicKey));
    keys.extend(reader.files("token_jwks").into_iter().map(TokenKey::Jwks));
    AuthConfig {
        keys,
        audience: reader.text("token_audience"),
        leeway: reader.duration("token_leeway_ms"),
        service_keys: reader.secrets("service_key"),
        admin_key: reader.secret("admin_key"),
        allowed_origins: reader.origins("allowed_origins"),
    }
}

fn socket(reader: &mut Reader) -> SocketConfig {
    SocketConfig {
        connections_max: reader.size("socket.connections_max"),
        connections_per_user_max: reader.size("socket.connections_per_user_max"),
        frame_bytes_max: reader.size("socket.frame_bytes_max"),
        outbox_frames_max: reader.size("socket.outbox_frames_max"),
        outbox_bytes_max: reader.size("socket.outbox_bytes_max"),
        calls_max: reader.size("socket.calls_max"),
        ping_interval: reader.duration("socket.ping_interval_ms"),
        idle_timeout: reader.duration("socket.idle_timeout_ms"),
        beat_interval: reader.duration("socket.beat_interval_ms"),
    }
}

fn http(reader: &mut Reader) -> HttpConfig {
    HttpConfig {
        body_bytes_max: reader.size("http.body_bytes_max"),
        read_timeout: reader.duration("http.read_timeout_ms"),
        requests_max: reader.size("http.requests_max"),
    }
}

/// The built-in functions and every function that the operator names.
fn functions(reader: &mut Reader) -> BTreeMap<String, FunctionConfig> {
    let named = reader.settings.values.keys().filter_map(|key| key.strip_prefix("function.")?.split('.').next());
    let names: BTreeSet<String> = named.chain(BUILT_IN).map(str::to_owned).collect();
    let read = |name: String| {
        let config = function(reader, &format!("function.{name}"), Some(&name));
        (name, config)
    };
    names.into_iter().map(read).collect()
}

/// Reads the keys under `table`; what a single function does not say is as in `function_defaults`.
fn function(reader: &mut Reader, table: &str, single: Option<&str>) -> FunctionConfig {
    let at = |reader: &Reader, leaf: &str| {
        let own = format!("{table}.{leaf}");
        if reader.is_said(&own) || single.is_none() { own } else { format!("function_defaults.{leaf}") }
    };
    let keys: BTreeMap<&str, String> = FUNCTION_KEYS.iter().map(|key| (key.name, at(reader, key.name))).collect();
    let key = |leaf: &str| keys.get(leaf).map_or("", String::as_str);
    let trusted = single.is_some_and(|name| BUILT_IN.contains(&name)) && !reader.is_said(key("reuse"));
    FunctionConfig {
        memory_bytes_max: reader.size(key("memory_bytes_max")),
        deadline: reader.duration(key("deadline_ms")),
        concurrency_max: reader.size(key("concurrency_max")),
        queue_max: reader.size(key("queue_max")),
        reply_bytes_max: reader.size(key("reply_bytes_max")),
        reuse: reader.switch(key("reuse")) || trusted,
        reuse_calls_max: u32::try_from(reader.whole(key("reuse_calls_max"))).unwrap_or(u32::MAX),
        reuse_age: reader.duration(key("reuse_age_ms")),
        grants: single.and_then(|_| grants(reader, table)),
    }
}

fn grants(reader: &mut Reader, table: &str) -> Option<GrantsConfig> {
    let said = GRANT_KEYS.iter().any(|key| reader.is_said(&format!("{table}.{}", key.name)));
    said.then(|| GrantsConfig {
        read: reader.spaces(&format!("{table}.grants.read")),
        write: reader.spaces(&format!("{table}.grants.write")),
        publish: reader.switch(&format!("{table}.grants.publish")),
        records: reader.operations(&format!("{table}.grants.records")),
    })
}
