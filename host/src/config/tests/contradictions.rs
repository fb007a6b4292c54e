//! Settings that contradict each other although each of them is allowed.

use super::{errors, file, sources};

/// Settings that contradict each other, with the error that they cause.
pub(super) const CONTRADICTIONS: &[(&str, &str)] = &[
    ("listen = \"127.0.0.1:9090\"", "listen and admin_listen take the same port"),
    ("listen = \"0.0.0.0:9090\"", "listen and admin_listen take the same port"),
    (
        "socket.idle_timeout_ms = 20000",
        "socket.ping_interval_ms (20000) must be less than socket.idle_timeout_ms (20000)",
    ),
    (
        "socket.ping_interval_ms = 35000",
        "socket.ping_interval_ms (35000) and socket.beat_interval_ms (25000) must be less than 60000 together",
    ),
    ("socket.connections_max = 31", "socket.connections_per_user_max (32) must be at most socket.connections_max (31)"),
    ("drain_spread_ms = 10000", "drain_spread_ms (10000) must be less than shutdown_timeout_ms (10000)"),
    ("shutdown_timeout_ms = 4999", "function_defaults.deadline_ms (5000) must be at most shutdown_timeout_ms (4999)"),
    (
        "function.a-b.deadline_ms = 10001",
        "function.a-b.deadline_ms (10001) must be at most shutdown_timeout_ms (10000)",
    ),
    (
        "function_defaults.memory_bytes_max = 1048576",
        "function_defaults.reply_bytes_max (1048576) must be less than function_defaults.memory_bytes_max (1048576)",
    ),
    (
        "function.a-b = { memory_bytes_max = 1048576, reply_bytes_max = 1024 }\nhttp.body_bytes_max = 1048576",
        "http.body_bytes_max (1048576) must be less than function.a-b.memory_bytes_max (1048576)",
    ),
    (
        "function.a-b = { memory_bytes_max = 1048576, reply_bytes_max = 1024 }\nsocket.frame_bytes_max = 1048576",
        "socket.frame_bytes_max (1048576) must be less than function.a-b.memory_bytes_max (1048576)",
    ),
    (
        "store_url = \"redis://a\"\nstore_response_timeout_ms = 5001",
        "store_response_timeout_ms (5001) must be at most function_defaults.deadline_ms (5000)",
    ),
    (
        "store_url = \"redis://a\"\nstore_sentinel_tls = true",
        "store_sentinel_tls is set, but store_url names no sentinels",
    ),
    (
        "store_url = \"redis+sentinel://a/b\"\nstore_sentinel_username = \"roost\"",
        "store_sentinel_username is set, but store_sentinel_password is not",
    ),
    (
        "records_url = \"postgres://a/b\"\npostgres.acquire_timeout_ms = 5001",
        "postgres.acquire_timeout_ms (5001) must be at most function_defaults.deadline_ms (5000)",
    ),
    (
        "records_url = \"postgres://a/b\"\npostgres.statement_timeout_ms = 5001",
        "postgres.statement_timeout_ms (5001) must be at most function_defaults.deadline_ms (5000)",
    ),
    (
        "records_url = \"https://a/b\"\nrecords_timeout_ms = 6001\nfunction.a-b.deadline_ms = 6000",
        "records_timeout_ms (6001) must be at most function.a-b.deadline_ms (6000)",
    ),
    (
        "function.a-b.grants = { all = true, records = [\"history\"] }",
        "function.a-b.grants.all allows everything already, so function.a-b.grants.records has no effect",
    ),
    ("users.calls_max = 64", "users.calls_max (64) must be less than function_defaults.concurrency_max (64)"),
    ("connects.at_once_max = 64", "connects.at_once_max (64) must be less than function_defaults.concurrency_max (64)"),
];

#[test]
fn settings_that_contradict_each_other_are_errors() {
    for (number, (settings, expected)) in CONTRADICTIONS.iter().enumerate() {
        let reported = errors(sources(&format!("contradiction-{number}"), settings));
        assert_eq!(reported.len(), 1, "{settings}: {reported:#?}");
        assert!(reported[0].contains(expected), "{settings}: {}", reported[0]);
    }
}

#[test]
fn an_authority_needs_a_url_with_tls() {
    let pem = file("authority", "any text");
    for (key, url) in [("store_ca_file", "store_url = \"redis://a\""), ("records_ca", "records_url = \"http://a\"")] {
        let settings = format!("{key} = \"{}\"\n{url}\n", pem.display());
        let reported = errors(sources(&format!("plain-{key}"), &settings));
        assert!(reported.len() == 1 && reported[0].contains("does not use TLS"), "{reported:#?}");
    }
}

#[test]
fn an_authority_is_used_for_sentinels_alone() {
    let settings = format!(
        "store_ca_file = \"{}\"\nstore_url = \"redis+sentinel://a/b\"\nstore_sentinel_tls = true\n",
        file("sentinels-authority", "any text").display()
    );
    assert!(sources("sentinels-tls", &settings).load().is_ok());
}

#[test]
fn a_shorter_deadline_of_one_function_is_no_contradiction() {
    let settings = "records_url = \"postgres://a/b\"\nfunction.typing.deadline_ms = 100\n";
    assert!(sources("short-deadline", settings).load().is_ok());
}
