//! A value of each key, and the settings that it needs beside it.

use std::path::Path;

use super::{PUBLIC_KEY, file};

/// A value of each key that differs from its default.
pub(super) fn samples(pem: &Path) -> Vec<(&'static str, String)> {
    let own = [
        ("listen", "127.0.0.1:1"),
        ("admin_listen", "[::1]:2"),
        ("data_dir", "elsewhere"),
        ("store_url", "redis://127.0.0.1:7"),
        ("store_prefix", "chat:"),
        ("store_connect_timeout_ms", "300"),
        ("store_response_timeout_ms", "200"),
        ("store_commands_max", "500"),
        ("store_memory_bytes_max", "17000000"),
        ("store_idle_days", "90"),
        ("store_sentinel_username", "watcher"),
        ("store_sentinel_password", "a-key-of-the-sentinels"),
        ("store_sentinel_tls", "true"),
        ("records_url", "sqlite:other.db"),
        ("records_key", "a-key-for-the-records"),
        ("records_timeout_ms", "14"),
        ("records_calls_max", "15"),
        ("functions_dir", "wasm"),
        ("log", "warn,roost=debug"),
        ("log_format", "json"),
        ("otlp_endpoint", "http://127.0.0.1:4318"),
        ("shutdown_timeout_ms", "20000"),
        ("drain_spread_ms", "1000"),
        ("service_key", "a-key-of-a-backend"),
        ("admin_key", "a-key-of-an-operator"),
        ("metrics_key", "a-key-of-a-collector"),
        ("allowed_origins", "https://chat.example.com"),
    ];
    let sockets = [
        ("socket.connections_max", "500"),
        ("socket.connections_per_user_max", "2"),
        ("socket.frame_bytes_max", "2048"),
        ("socket.outbox_frames_max", "3"),
        ("socket.outbox_bytes_max", "300000"),
        ("socket.calls_max", "4"),
        ("socket.ping_interval_ms", "5000"),
        ("socket.idle_timeout_ms", "50000"),
        ("socket.beat_interval_ms", "6000"),
        ("http.body_bytes_max", "4096"),
        ("http.read_timeout_ms", "7000"),
        ("http.requests_max", "8"),
        ("deployments.host_name", "left"),
        ("deployments.bytes_max", "2000000"),
        ("conversations.add", "contacts"),
        ("deployments.canary_calls_min", "7"),
        ("deployments.canary_margin_percent", "9"),
        ("postgres.connections_max", "9"),
        ("postgres.acquire_timeout_ms", "100"),
        ("postgres.statement_timeout_ms", "200"),
        ("postgres.pooling", "transaction"),
    ];
    let functions = [
        ("function_defaults.memory_bytes_max", "2000000"),
        ("function_defaults.deadline_ms", "900"),
        ("function_defaults.concurrency_max", "90"),
        ("function_defaults.queue_max", "10"),
        ("function_defaults.reply_bytes_max", "11000"),
        ("function_defaults.calls_per_second_max", "31"),
        ("function_defaults.store_operations_max", "32"),
        ("function_defaults.store_read_bytes_max", "3300"),
        ("function_defaults.store_written_bytes_max", "3400"),
        ("function_defaults.records_operations_max", "35"),
        ("function_defaults.publications_max", "36"),
        ("function_defaults.log_bytes_max", "3700"),
        ("function_defaults.recorded_calls_per_second_max", "37"),
        ("function_defaults.app_bytes_max", "380000"),
        ("function_defaults.documents_bytes_max", "390000"),
        ("function_defaults.reuse", "true"),
        ("function_defaults.reuse_calls_max", "12"),
        ("function_defaults.reuse_age_ms", "13"),
        ("function.a-b.memory_bytes_max", "3000000"),
        ("function.a-b.deadline_ms", "901"),
        ("function.a-b.concurrency_max", "14"),
        ("function.a-b.queue_max", "15"),
        ("function.a-b.reply_bytes_max", "16000"),
        ("function.a-b.calls_per_second_max", "41"),
        ("function.a-b.store_operations_max", "42"),
        ("function.a-b.store_read_bytes_max", "4300"),
        ("function.a-b.store_written_bytes_max", "4400"),
        ("function.a-b.records_operations_max", "45"),
        ("function.a-b.publications_max", "46"),
        ("function.a-b.log_bytes_max", "4700"),
        ("function.a-b.recorded_calls_per_second_max", "47"),
        ("function.a-b.app_bytes_max", "480000"),
        ("function.a-b.documents_bytes_max", "490000"),
        ("function.a-b.reuse", "true"),
        ("function.a-b.reuse_calls_max", "17"),
        ("function.a-b.reuse_age_ms", "18"),
        ("function.a-b.grants.all", "true"),
        ("function.a-b.grants.read", "presence"),
        ("function.a-b.grants.write", "app"),
        ("function.a-b.grants.publish", "members"),
        ("function.a-b.grants.subscribe", "true"),
        ("function.a-b.grants.records", "membership"),
    ];
    let all = own
        .into_iter()
        .chain(sockets)
        .chain(super::fairness_samples::SAMPLES)
        .chain(super::tokens::SAMPLES)
        .chain(functions);
    let mut samples: Vec<_> = all.map(|(key, value)| (key, value.to_owned())).collect();
    let pem = pem.to_str().unwrap();
    let files = ["token_public_key", "token_jwks", "store_ca_file", "records_ca", "admin_tls_cert", "admin_tls_key"];
    samples.extend(files.map(|key| (key, pem.to_owned())));
    samples.push(("signing_keys", file("signing-key", PUBLIC_KEY).to_str().unwrap().to_owned()));
    samples
}

/// The settings without which a key has no effect or is refused: those of Redis, PostgreSQL, a backend and TLS need
/// one.
pub(super) fn required_settings(key: &str) -> &'static str {
    match key.split_once(['_', '.']) {
        // Any file that can be read.
        Some(("admin", "tls_cert")) => "admin_tls_key = \"Cargo.toml\"\n",
        Some(("admin", "tls_key")) => "admin_tls_cert = \"Cargo.toml\"\n",
        Some(("store", "url" | "memory_bytes_max" | "idle_days")) => "",
        Some(("store", "sentinel_username")) => {
            "store_url = \"redis+sentinel://a/b\"\nstore_sentinel_password = \"secret\"\n"
        }
        Some(("store", key)) if key.starts_with("sentinel_") => "store_url = \"redis+sentinel://a/b\"\n",
        Some(("store", "ca_file")) => "store_url = \"rediss://a\"\n",
        Some(("store", _)) => "store_url = \"redis://a\"\n",
        Some(("postgres", _)) => "records_url = \"postgres://db/roost\"\n",
        Some(("records", "key" | "timeout_ms" | "calls_max" | "ca")) => "records_url = \"https://127.0.0.1:1\"\n",
        _ => "",
    }
}
