//! The configuration from outside: layers, every key from every layer, and all mistakes at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A value of each key that differs from its default.
fn samples(pem: &Path) -> Vec<(&'static str, String)> {
    let own = [
        ("listen", "127.0.0.1:1"),
        ("admin_listen", "[::1]:2"),
        ("data_dir", "elsewhere"),
        ("store_url", "redis://127.0.0.1:7"),
        ("store_prefix", "chat:"),
        ("store_connect_timeout_ms", "300"),
        ("store_response_timeout_ms", "200"),
        ("store_commands_max", "500"),
        ("records_url", "sqlite:other.db"),
        ("functions_dir", "wasm"),
        ("log", "warn,roost=debug"),
        ("log_format", "json"),
        ("shutdown_timeout_ms", "20000"),
        ("drain_spread_ms", "1000"),
        ("token_secret", SECRET),
        ("token_audience", "chat"),
        ("token_leeway_ms", "1"),
        ("service_key", "a-key-of-a-backend"),
        ("admin_key", "a-key-of-an-operator"),
        ("allowed_origins", "https://chat.example.com"),
    ];
    let sockets = [
        ("socket.connections_max", "1"),
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
        ("postgres.connections_max", "9"),
        ("postgres.acquire_timeout_ms", "100"),
        ("postgres.statement_timeout_ms", "200"),
    ];
    let functions = [
        ("function_defaults.memory_bytes_max", "2000000"),
        ("function_defaults.deadline_ms", "900"),
        ("function_defaults.concurrency_max", "9"),
        ("function_defaults.queue_max", "10"),
        ("function_defaults.reply_bytes_max", "11000"),
        ("function_defaults.reuse", "true"),
        ("function_defaults.reuse_calls_max", "12"),
        ("function_defaults.reuse_age_ms", "13"),
        ("function.a-b.memory_bytes_max", "3000000"),
        ("function.a-b.deadline_ms", "901"),
        ("function.a-b.concurrency_max", "14"),
        ("function.a-b.queue_max", "15"),
        ("function.a-b.reply_bytes_max", "16000"),
        ("function.a-b.reuse", "true"),
        ("function.a-b.reuse_calls_max", "17"),
        ("function.a-b.reuse_age_ms", "18"),
        ("function.a-b.grants.read", "presence"),
        ("function.a-b.grants.write", "app"),
        ("function.a-b.grants.publish", "true"),
        ("function.a-b.grants.records", "membership"),
    ];
    let all = own.into_iter().chain(sockets).chain(functions);
    let mut samples: Vec<_> = all.map(|(key, value)| (key, value.to_owned())).collect();
    let pem = pem.to_str().unwrap();
    samples.extend([
        ("token_public_key", pem.to_owned()),
        ("token_jwks", pem.to_owned()),
        ("store_ca_file", pem.to_owned()),
    ]);
    samples
}

/// A file in a folder of its own, so that no `roost.toml` of the current directory is read.
fn file(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("roost-config-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("roost.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn sources(name: &str, text: &str) -> Sources {
    Sources { file: Some(file(name, text)), ..Sources::default() }
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn flag(flag: &str, key: &str, value: &str) -> Flag {
    Flag { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

fn mistakes(sources: Sources) -> Vec<String> {
    sources.load().unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// As TOML spells a sample: numbers and switches bare, lists as arrays.
fn toml_line(key: &str, value: &str) -> String {
    let allowed = keys::find(key).unwrap().allowed;
    match allowed {
        keys::Allowed::Whole { .. } | keys::Allowed::Switch => format!("{key} = {value}\n"),
        allowed if allowed.is_list() => format!("{key} = [\"{value}\"]\n"),
        _ => format!("{key} = \"{value}\"\n"),
    }
}

#[test]
fn every_key_can_be_said_in_the_file_the_environment_and_on_the_command_line() {
    let pem = file("pem", "any text");
    let mut said = BTreeSet::new();
    for (key, value) in samples(&pem) {
        // How PostgreSQL and Redis are used matters only where they are.
        let base = match key {
            _ if key.starts_with("postgres.") => "records_url = \"postgres://db/roost\"\n",
            "store_url" => "",
            _ if key.starts_with("store_") => "store_url = \"redis://a\"\n",
            _ => "",
        };
        let plain = format!("{:?}", sources("plain", base).load().unwrap());
        let from_file = sources(key, &format!("{base}{}", toml_line(key, &value)));
        let mut from_environment = sources("plain", base);
        from_environment.environment = vec![variable(&keys::variable(key), &value)];
        let mut from_flag = sources("plain", base);
        from_flag.flags = vec![flag("--set", key, &value)];
        let loaded = [from_file, from_environment, from_flag].map(|from| format!("{:?}", from.load().unwrap()));
        assert_ne!(loaded[0], plain, "{key} has no effect");
        assert!(loaded.iter().all(|config| *config == loaded[0]), "{key} differs between layers");
        said.insert(key.to_owned());
    }
    let missing: Vec<_> = keys::names("a-b").into_iter().filter(|key| !said.contains(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_later_layer_replaces_an_earlier_one() {
    let mut layers = sources("layers", "listen = \"127.0.0.1:1\"\nlog = \"warn\"\ndata_dir = \"file\"\n");
    layers.defaults = vec![("functions_dir", "of-the-command".to_owned()), ("data_dir", "default".to_owned())];
    layers.environment = vec![variable("ROOST_LISTEN", "127.0.0.1:2"), variable("ROOST_LOG", "error")];
    layers.flags = vec![flag("--listen", "listen", "127.0.0.1:3")];
    let config = layers.load().unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log, "error");
    assert_eq!(config.data_dir, Path::new("file"));
    assert_eq!(config.functions_dir, Path::new("of-the-command"));
}

#[test]
fn defaults_are_valid_and_hold_no_secret() {
    let config = sources("defaults", "").load().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.records, RecordsUrl::Sqlite(SqliteLocation::File(".roost/records.db".into())));
    assert!(config.auth.keys.is_empty() && config.auth.service_keys.is_empty() && config.auth.admin_key.is_none());
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_what_is_allowed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/config");
    let mut broken = sources("broken", &std::fs::read_to_string(golden.join("broken.toml")).unwrap());
    let folder = broken.file.clone().unwrap();
    broken.environment = vec![
        variable("ROOST_LOGG", "info"),
        variable("ROOST_FUNCTION__LAST_MESSAGE__REUZE", "true"),
        variable("ROOST_SOCKET__CALLS_MAX", "0"),
        variable("ROOST_SERVICE_KEYS_FROM_THE_VAULT", "hunter2"),
        variable("HOME", "/nowhere"),
    ];
    broken.flags = vec![flag("--set", "http.requests", "5"), flag("--set", "http.requests_max", "none")];
    broken.needs_token_key = true;
    let told = broken.load().unwrap_err().to_string().replace(folder.to_str().unwrap(), "roost.toml");
    assert!(!told.contains("hunter2"), "a secret was shown:\n{told}");
    let expected = std::fs::read_to_string(golden.join("broken.txt")).unwrap_or_default();
    assert_eq!(told, expected.trim_end(), "tests/golden/config/broken.txt should hold:\n{told}");
}

#[test]
fn a_postgres_url_is_checked_and_shown_nowhere() {
    for url in ["postgres://u:hunter2@db.internal:5433/roost?sslmode=require", "postgresql://db/roost"] {
        let config = sources("postgres", &format!("records_url = \"{url}\"")).load().unwrap();
        assert!(matches!(&config.records, RecordsUrl::Postgres(postgres) if postgres.url.0 == url));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    for (url, problem) in [
        ("postgres://u:hunter2/@db/roost", "is no URL"),
        ("postgres://u:p@db/roost?sslmode=hunter2", "has a parameter of a wrong value"),
        ("postgres://u:p@db/roost?hunter2=1", "has a parameter that is none of sslmode, "),
        ("postgres://u:p@db/roost?password=hunter2", "has a parameter that is none of sslmode, "),
    ] {
        let told = mistakes(sources("postgres", &format!("records_url = \"{url}\""))).remove(0);
        assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_beside_the_other_mistakes() {
    let mut torn = sources("torn", "listen = \"127.0.0.1:1\"\nlog = \n");
    torn.environment = vec![variable("ROOST_LISTEN", "nowhere")];
    let told = mistakes(torn);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("roost.toml:2: is no TOML"), "{told:?}");
    assert!(told[1].starts_with("ROOST_LISTEN: listen:"), "{told:?}");
}

#[test]
fn a_named_file_must_exist() {
    let told = mistakes(Sources { file: Some("no/such/roost.toml".into()), ..Sources::default() });
    assert!(told[0].starts_with("no/such/roost.toml: cannot be read"), "{told:?}");
    let mut named = Sources { environment: vec![variable("ROOST_CONFIG", "no/such.toml")], ..Sources::default() };
    assert!(mistakes(named.clone())[0].starts_with("no/such.toml: cannot be read"));
    named.file = Some(file("wins", ""));
    assert!(named.load().is_ok());
}

#[test]
fn serving_needs_something_that_verifies_tokens() {
    let mut bare = sources("bare", "");
    bare.needs_token_key = true;
    assert!(mistakes(bare)[0].contains("no user could come in"));
    let mut ready = sources("ready", &format!("token_secret = \"{SECRET}\""));
    ready.needs_token_key = true;
    assert!(ready.load().is_ok());
}

#[test]
fn built_in_functions_are_reused_unless_somebody_says_otherwise() {
    let config = sources("trusted", "").load().unwrap();
    assert!(config.function("typing").reuse && config.function("last-message").reuse);
    assert!(!config.function("weather").reuse);
    let config = sources("distrusted", "[function_defaults]\nreuse = false\ndeadline_ms = 70\n").load().unwrap();
    assert!(!config.function("typing").reuse);
    assert_eq!(config.function("typing").deadline, Duration::from_millis(70));
    let one = "[function_defaults]\ndeadline_ms = 70\n[function.typing]\nreuse = false\ndeadline_ms = 80\n";
    let config = sources("one", one).load().unwrap();
    assert!(!config.function("typing").reuse && config.function("unread").reuse);
    assert_eq!(config.function("typing").deadline, Duration::from_millis(80));
    assert_eq!(config.function("unread").deadline, Duration::from_millis(70));
}

#[test]
fn a_grant_that_is_named_narrows_all_of_them() {
    let config = sources("grants", "[function.typing.grants]\npublish = true\n").load().unwrap();
    let grants = config.function("typing").grants.clone().unwrap();
    assert_eq!(grants, GrantsConfig { publish: true, ..GrantsConfig::default() });
    assert_eq!(config.function("unread").grants, None);
}

#[test]
fn lists_rotate_secrets() {
    let mut rotating = sources("rotating", "");
    let both = format!("{SECRET},{SECRET}x");
    rotating.environment = vec![variable("ROOST_TOKEN_SECRET", &both)];
    assert_eq!(rotating.load().unwrap().auth.keys.len(), 2);
}

#[test]
fn the_reference_names_every_key_and_its_variable() {
    let text = reference();
    for name in keys::names("<name>") {
        assert!(text.contains(&format!("{name}\n    {}\n", keys::variable(&name))), "{name}");
    }
}
