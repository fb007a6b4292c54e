//! Settings that contradict each other although each of them is allowed: an address that is used twice, a limit that
//! can never be reached, a time that ends before what it waits for. The operations guide lists all of these rules.

use std::net::SocketAddr;
use std::time::Duration;

use roost_core::limits::PRESENCE_TTL_MS;

use super::keys::{Config, FunctionConfig, RedisConfig};
use super::reader::{KeyTable, Reader};
use super::{RecordsUrl, RedisMode, StoreUrl};

const SENTINEL_KEYS: [&str; 3] = ["store_sentinel_username", "store_sentinel_password", "store_sentinel_tls"];
const TOKEN_KEYS: [&str; 4] = ["token_secret", "token_public_key", "token_jwks", "token_jwks_url"];

pub(super) fn run(reader: &mut Reader, config: &Config, needs_keys: bool) {
    if needs_keys && config.auth.keys.is_empty() {
        let problem = "no user could connect: set token_secret, token_public_key, token_jwks or token_jwks_url \
                       (`roost dev` generates a secret)";
        reader.note_conflict(&TOKEN_KEYS, problem.to_owned());
    }
    if overlap(config.listen, config.admin_listen) {
        let problem = "listen and admin_listen take the same port of the same address; choose another port for one";
        reader.note_conflict(&["admin_listen", "listen"], problem.to_owned());
    }
    admin_listener(reader, config, needs_keys);
    connections(reader, config);
    fairness(reader, config);
    stopping(reader, config);
    calls(reader, config);
    store(reader, config);
    records(reader, config);
    grants(reader, config);
}

/// `grants.all` would make the other grants meaningless.
fn grants(reader: &mut Reader, config: &Config) {
    for_each_function(reader, config, |reader, function| {
        let Some(grants) = &function.grants else { return };
        let others = ["grants.read", "grants.write", "grants.publish", "grants.subscribe", "grants.records"]
            .map(|key| reader.full_name(key));
        let set = others.iter().find(|key| reader.is_set(key));
        if let (true, Some(other)) = (grants.all, set) {
            let all = reader.full_name("grants.all");
            let problem = format!("{all} allows everything already, so {other} has no effect: remove one of the two");
            reader.note_conflict(&[&all, other], problem);
        }
    });
}

fn admin_listener(reader: &mut Reader, config: &Config, needs_keys: bool) {
    let files = [("admin_tls_cert", &config.admin_tls_cert), ("admin_tls_key", &config.admin_tls_key)];
    if let [(set, Some(_)), (missing, None)] | [(missing, None), (set, Some(_))] = files {
        let problem = format!("{set} is set, but {missing} is not, and TLS needs both: set {missing}, or remove {set}");
        reader.note_conflict(&[set, missing], problem);
    }
    if needs_keys && is_exposed(config.admin_listen) && config.auth.admin_key.is_none() {
        let problem = format!(
            "other machines can reach admin_listen ({}), but admin_key is not set: set admin_key, or choose an address \
             of this machine alone, such as 127.0.0.1:9090",
            config.admin_listen
        );
        reader.note_conflict(&["admin_listen", "admin_key"], problem);
    }
}

/// What an operator should know about a configuration that is valid: each a sentence with what to do.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let admin = config.admin_listen;
    if is_exposed(admin) && config.admin_tls_cert.is_none() {
        warnings.push(format!(
            "other machines can reach admin_listen ({admin}) without TLS, and whoever reads the traffic learns admin_key: \
             set admin_tls_cert and admin_tls_key, or let only trusted machines reach the address"
        ));
    }
    if is_exposed(admin) && config.auth.metrics_key.is_none() {
        warnings.push(format!(
            "other machines can read /metrics on admin_listen ({admin}) without a key: set metrics_key, or let only \
             trusted machines reach the address"
        ));
    }
    warnings
}

/// Whether machines other than this one may reach the address.
const fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().is_loopback()
}

/// One value of a comparison: its key and its number.
type Amount<'a> = (&'a str, u64);

fn require_less(reader: &mut Reader, small: Amount<'_>, large: Amount<'_>, reason: &str) {
    require(reader, small.1 < large.1, "less than", small, large, reason);
}

fn require_at_most(reader: &mut Reader, small: Amount<'_>, large: Amount<'_>, reason: &str) {
    require(reader, small.1 <= large.1, "at most", small, large, reason);
}

fn require(reader: &mut Reader, holds: bool, relation: &str, small: Amount<'_>, large: Amount<'_>, reason: &str) {
    if !holds {
        let ((small, small_value), (large, large_value)) = (small, large);
        let problem = format!("{small} ({small_value}) must be {relation} {large} ({large_value}): {reason}");
        reader.note_conflict(&[small, large], problem);
    }
}

fn connections(reader: &mut Reader, config: &Config) {
    let socket = &config.socket;
    let (ping_ms, heartbeat_ms) = (ms(socket.ping_interval), ms(socket.beat_interval));
    require_less(
        reader,
        ("socket.ping_interval_ms", ping_ms),
        ("socket.idle_timeout_ms", ms(socket.idle_timeout)),
        "otherwise a silent socket is closed before it is pinged",
    );
    if ping_ms.saturating_add(heartbeat_ms) >= PRESENCE_TTL_MS {
        let problem = format!(
            "socket.ping_interval_ms ({ping_ms}) and socket.beat_interval_ms ({heartbeat_ms}) must be less than \
             {PRESENCE_TTL_MS} together: a heartbeat needs an answered ping, and a device without a heartbeat for \
             {PRESENCE_TTL_MS} ms is shown as offline"
        );
        reader.note_conflict(&["socket.ping_interval_ms", "socket.beat_interval_ms"], problem);
    }
    require_at_most(
        reader,
        ("socket.connections_per_user_max", socket.connections_per_user_max as u64),
        ("socket.connections_max", socket.connections_max as u64),
        "otherwise one user may take every connection and the limit for users is never reached",
    );
}

/// Nobody may take every place of a function. A single function may have fewer places on purpose.
fn fairness(reader: &mut Reader, config: &Config) {
    let places = ("function_defaults.concurrency_max", config.function_defaults.concurrency_max as u64);
    let of_user = ("users.calls_max", config.users.calls_max as u64);
    require_less(reader, of_user, places, "otherwise one user may take every call of a function");
    let connects = ("connects.at_once_max", config.connects.at_once_max as u64);
    require_less(reader, connects, places, "otherwise clients that connect may take every call of a function");
}

fn stopping(reader: &mut Reader, config: &Config) {
    let shutdown = ("shutdown_timeout_ms", ms(config.shutdown_timeout));
    let spread = ("drain_spread_ms", ms(config.drain_spread));
    require_less(reader, spread, shutdown, "otherwise a stop cuts off the last sockets");
    for_each_function(reader, config, |reader, function| {
        let deadline = reader.full_name("deadline_ms");
        let reason = "otherwise a stop cuts off calls that still have time";
        require_at_most(reader, (&deadline, ms(function.deadline)), shutdown, reason);
    });
}

/// What enters and leaves an instance is copied into its memory.
fn calls(reader: &mut Reader, config: &Config) {
    let body = ("http.body_bytes_max", config.http.body_bytes_max as u64);
    let frame = ("socket.frame_bytes_max", config.socket.frame_bytes_max as u64);
    for_each_function(reader, config, |reader, function| {
        let (memory, reply) = (reader.full_name("memory_bytes_max"), reader.full_name("reply_bytes_max"));
        let memory = (memory.as_str(), function.memory_bytes_max as u64);
        let reply = (reply.as_str(), function.reply_bytes_max as u64);
        require_less(reader, reply, memory, "a reply is written in the memory of an instance");
        require_less(reader, body, memory, "a request body is copied into the memory of an instance");
        require_less(reader, frame, memory, "a frame is copied into the memory of an instance");
    });
}

fn store(reader: &mut Reader, config: &Config) {
    let StoreUrl::Redis(redis) = &config.store else { return };
    let response = ("store_response_timeout_ms", ms(redis.response_timeout));
    within_a_call(reader, config, response, "otherwise every call ends before the host gives up on Redis");
    if redis.ca_file.is_some() && !redis.url.tls && redis.sentinel_tls != Some(true) {
        let problem = "store_ca_file is set, but store_url does not use TLS: write `rediss://`, `rediss+cluster://` or \
                       `rediss+sentinel://`, set store_sentinel_tls, or remove store_ca_file";
        reader.note_conflict(&["store_ca_file", "store_url"], problem.to_owned());
    }
    sentinels(reader, redis);
}

fn sentinels(reader: &mut Reader, redis: &RedisConfig) {
    let has_sentinels = matches!(redis.url.mode, RedisMode::Sentinel(_));
    let useless = SENTINEL_KEYS.into_iter().find(|key| !has_sentinels && reader.is_set(key));
    if let Some(key) = useless {
        let problem =
            format!("{key} is set, but store_url names no sentinels: write `redis+sentinel://`, or remove {key}");
        reader.note_conflict(&[key, "store_url"], problem);
    } else if redis.sentinel_username.is_some() && redis.sentinel_password.is_none() {
        let problem = "store_sentinel_username is set, but store_sentinel_password is not: an ACL user of a sentinel has a \
                       password";
        reader.note_conflict(&["store_sentinel_username", "store_sentinel_password"], problem.to_owned());
    }
}

fn records(reader: &mut Reader, config: &Config) {
    match &config.records {
        RecordsUrl::Sqlite(_) => {}
        RecordsUrl::Postgres(postgres) => {
            let acquire = ("postgres.acquire_timeout_ms", ms(postgres.acquire_timeout));
            within_a_call(reader, config, acquire, "otherwise every call ends while it waits for a connection");
            let statement = ("postgres.statement_timeout_ms", ms(postgres.statement_timeout));
            within_a_call(reader, config, statement, "otherwise statements go on for calls that have ended");
        }
        RecordsUrl::Http(backend) => {
            let timeout = ("records_timeout_ms", ms(backend.timeout));
            within_a_call(reader, config, timeout, "otherwise every call ends before the host gives up on the backend");
            if !backend.ca.is_empty() && backend.url.scheme() != "https" {
                let problem =
                    "records_ca is set, but records_url does not use TLS: write `https://`, or remove records_ca";
                reader.note_conflict(&["records_ca", "records_url"], problem.to_owned());
            }
        }
    }
}

/// A time that a call waits must fit into the longest deadline. A function may have a shorter deadline on purpose.
fn within_a_call(reader: &mut Reader, config: &Config, time: Amount<'_>, reason: &str) {
    let mut longest = (String::new(), 0);
    for_each_function(reader, config, |reader, function| {
        let deadline_ms = ms(function.deadline);
        if deadline_ms > longest.1 {
            longest = (reader.full_name("deadline_ms"), deadline_ms);
        }
    });
    require_at_most(reader, time, (&longest.0, longest.1), reason);
}

/// Calls `check` for the defaults and for every function, with names relative to its table.
fn for_each_function(reader: &mut Reader, config: &Config, mut check: impl FnMut(&mut Reader, &FunctionConfig)) {
    reader.within(KeyTable::FunctionDefaults, |reader| check(reader, &config.function_defaults));
    for (name, function) in &config.functions {
        reader.within(KeyTable::Function(name.clone()), |reader| check(reader, function));
    }
}

/// Whether two listeners cannot have both addresses. Port 0 takes a free port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
