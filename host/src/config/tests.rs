//! The configuration from outside: layers, every key from every layer, contradictions, and all errors at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::golden::{Messages, check};

mod contradictions;
mod fairness_samples;
mod grants;
mod samples;
mod tokens;

use samples::{required_settings, samples};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// An Ed25519 public key that OpenSSL has made.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAzxk/CF/FtKxMX+cWrfdgug0xxKT2BCCfhxLKhk59OKo=\n-----END PUBLIC KEY-----\n";

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

fn errors(sources: Sources) -> Vec<String> {
    sources.load().unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// A sample as TOML writes it: numbers and switches bare, lists as arrays.
fn toml_line(key: &str, value: &str) -> String {
    let allowed = reference::find(key).unwrap().allowed;
    match allowed {
        allowed if allowed.is_bare() => format!("{key} = {value}\n"),
        allowed if allowed.is_list() => format!("{key} = [\"{value}\"]\n"),
        _ => format!("{key} = \"{value}\"\n"),
    }
}

#[test]
fn every_key_can_be_set_in_the_file_the_environment_and_on_the_command_line() {
    let pem = file("pem", "any text");
    let mut tested = BTreeSet::new();
    for (key, value) in samples(&pem) {
        let required = required_settings(key);
        // One of a pair of keys is refused without the other.
        let without = if key.starts_with("admin_tls_") { "" } else { required };
        let plain = format!("{:?}", sources(&format!("plain-{key}"), without).load().unwrap());
        let from_file = sources(key, &format!("{required}{}", toml_line(key, &value)));
        let mut from_environment = sources(&format!("plain-{key}"), required);
        from_environment.environment = vec![variable(&reference::variable(key), &value)];
        let mut from_flag = sources(&format!("plain-{key}"), required);
        from_flag.flags = vec![flag("--set", key, &value)];
        let loaded = [from_file, from_environment, from_flag].map(|from| format!("{:?}", from.load().unwrap()));
        assert_ne!(loaded[0], plain, "{key} has no effect");
        assert!(loaded.iter().all(|config| *config == loaded[0]), "{key} differs between layers");
        tested.insert(key.to_owned());
    }
    let missing: Vec<_> = reference::names("a-b").into_iter().filter(|key| !tested.contains(key)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_later_layer_replaces_an_earlier_one() {
    let mut layers = sources("layers", "listen = \"127.0.0.1:1\"\nlog = \"warn\"\ndata_dir = \"file\"\n");
    layers.defaults = vec![("functions_dir", "from-the-command".to_owned()), ("data_dir", "default".to_owned())];
    layers.environment = vec![variable("ROOST_LISTEN", "127.0.0.1:2"), variable("ROOST_LOG", "error")];
    layers.flags = vec![flag("--listen", "listen", "127.0.0.1:3")];
    let config = layers.load().unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log, "error");
    assert_eq!(config.data_dir, Path::new("file"));
    assert_eq!(config.functions_dir, Path::new("from-the-command"));
}

#[test]
fn defaults_are_valid_and_contain_no_secret() {
    let config = sources("defaults", "").load().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.records, RecordsUrl::Sqlite(SqliteLocation::File(".roost/records.db".into())));
    assert!(config.auth.keys.is_empty() && config.auth.service_keys.is_empty() && config.auth.admin_key.is_none());
}

#[test]
fn every_error_is_reported_at_once_with_its_origin_and_what_is_allowed() {
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
    broken.needs_keys = true;
    let reported = broken.load().unwrap_err().to_string().replace(folder.to_str().unwrap(), "roost.toml");
    assert!(!reported.contains("hunter2"), "a secret is shown:\n{reported}");
    check("config/broken.txt", &format!("{reported}\n"));
}

#[test]
fn a_postgres_url_is_checked_and_never_shown() {
    for url in ["postgres://u:hunter2@db.internal:5433/roost?sslmode=require", "postgresql://db/roost"] {
        let config = sources("postgres", &format!("records_url = \"{url}\"")).load().unwrap();
        assert!(matches!(&config.records, RecordsUrl::Postgres(postgres) if postgres.url.0 == url));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    for (url, problem) in [
        ("postgres://u:hunter2/@db/roost", "is not a URL"),
        ("postgres://u:p@db/roost?sslmode=hunter2", "has a parameter with a wrong value"),
        ("postgres://u:p@db/roost?hunter2=1", "has a parameter that is none of sslmode, "),
        ("postgres://u:p@db/roost?password=hunter2", "has a parameter that is none of sslmode, "),
    ] {
        let reported = errors(sources("postgres", &format!("records_url = \"{url}\""))).remove(0);
        assert!(reported.contains(problem) && !reported.contains("hunter2"), "{reported}");
    }
}

#[test]
fn a_line_that_is_not_toml_is_reported_with_the_other_errors() {
    let mut broken = sources("not-toml", "listen = \"127.0.0.1:1\"\nlog = \n");
    broken.environment = vec![variable("ROOST_LISTEN", "nowhere")];
    let reported = errors(broken);
    assert_eq!(reported.len(), 2, "{reported:?}");
    assert!(reported[0].contains("roost.toml:2: log: has no value; allowed: levels"), "{reported:?}");
    assert!(reported[1].starts_with("ROOST_LISTEN: listen:"), "{reported:?}");
}

#[test]
fn a_named_file_must_exist() {
    let reported = errors(Sources { file: Some("no/such/roost.toml".into()), ..Sources::default() });
    assert!(reported[0].starts_with("no/such/roost.toml: cannot be read"), "{reported:?}");
    let mut named = Sources { environment: vec![variable("ROOST_CONFIG", "no/such.toml")], ..Sources::default() };
    assert!(errors(named.clone())[0].starts_with("no/such.toml: cannot be read"));
    named.file = Some(file("wins", ""));
    assert!(named.load().is_ok());
}

#[test]
fn serving_needs_a_key_that_verifies_tokens() {
    let mut bare = sources("bare", "");
    bare.needs_keys = true;
    assert!(errors(bare)[0].contains("no user could connect"));
    let mut ready = sources("ready", &format!("token_secret = \"{SECRET}\""));
    ready.needs_keys = true;
    assert!(ready.load().is_ok());
}

#[test]
fn serving_on_an_address_that_other_machines_reach_needs_an_admin_key() {
    let exposed = format!("token_secret = \"{SECRET}\"\nadmin_listen = \"0.0.0.0:9090\"\n");
    let mut open = sources("exposed", &exposed);
    open.needs_keys = true;
    let reported = errors(open.clone());
    assert!(reported.len() == 1 && reported[0].contains("admin_key is not set"), "{reported:#?}");
    open.environment = vec![variable("ROOST_ADMIN_KEY", "a-key-of-an-operator")];
    let warnings = open.load().unwrap().warnings();
    assert!(warnings.len() == 2 && warnings[0].contains("without TLS"), "{warnings:#?}");
    assert!(warnings[1].contains("set metrics_key"), "{warnings:#?}");
    let mut local = sources("local", &format!("token_secret = \"{SECRET}\"\nadmin_listen = \"[::1]:9090\"\n"));
    local.needs_keys = true;
    assert_eq!(local.load().unwrap().warnings(), [""; 0]);
}

#[test]
fn a_file_without_a_public_key_cannot_verify_signatures() {
    let text = file("no-key", "any text");
    let reported = errors(sources("signing", &format!("signing_keys = [\"{}\", \"no/such.pub\"]", text.display())));
    assert_eq!(reported.len(), 1, "{reported:#?}");
    assert!(reported[0].contains("is not the file of an Ed25519 public key"), "{reported:#?}");
    assert!(reported[0].contains("\"no/such.pub\" is not readable"), "{reported:#?}");
}

#[test]
fn built_in_functions_are_reused_unless_configured_otherwise() {
    let config = sources("trusted", "").load().unwrap();
    assert!(config.function("typing").reuse && config.function("last-message").reuse);
    assert!(!config.function("weather").reuse);
    let operations = |name: &str| config.function(name).store_operations_max;
    assert_eq!((operations("typing"), operations("weather")), (1 << 40, 10_000));
    let bounded = "[function_defaults]\nstore_operations_max = 7\n[function.unread]\nstore_operations_max = 8\n";
    let config = sources("bounded", bounded).load().unwrap();
    let operations = |name: &str| config.function(name).store_operations_max;
    assert_eq!([operations("typing"), operations("unread"), operations("weather")], [7, 8, 7]);
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
fn a_backend_url_contains_no_secret_and_gets_the_version() {
    let load = |url: &str| sources("backend", &format!("records_url = \"{url}\"\n")).load();
    for (written, expected) in
        [("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"), ("https://a.b/c/", "https://a.b/c/v1")]
    {
        let RecordsUrl::Http(backend) = load(written).unwrap().records else { panic!("{written} is not a backend") };
        assert_eq!(backend.url.as_str(), expected);
    }
    for wrong in ["http://", "https://roost:hunter2@a.b", "http://a.b/?key=hunter2", "http://a.b/#hunter2"] {
        let reported = load(wrong).unwrap_err().to_string();
        assert!(reported.contains("records_url") && !reported.contains("hunter2"), "{reported}");
    }
}

#[test]
fn a_list_of_secrets_allows_rotation() {
    let mut rotating = sources("rotating", "");
    rotating.environment = vec![variable("ROOST_TOKEN_SECRET", &format!("{SECRET},{SECRET}x"))];
    assert_eq!(rotating.load().unwrap().auth.keys.len(), 2);
}

#[test]
fn the_reference_names_every_key_and_its_variable() {
    let text = reference();
    for name in reference::names("<name>") {
        assert!(text.contains(&format!("{name}\n    {}\n", reference::variable(&name))), "{name}");
    }
}

#[test]
fn the_operations_guide_has_the_tables_of_all_keys() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for table in reference::markdown_tables() {
        assert!(guide.contains(&table), "docs/operations.md should contain:\n{table}");
    }
}

#[test]
fn every_flag_has_a_key_and_a_placeholder() {
    let flags: Vec<_> = flags().iter().map(|flag| flag.name).collect();
    let expected =
        ["listen", "admin_listen", "data_dir", "functions_dir", "log", "log_format", "store_url", "records_url"];
    assert_eq!(flags, expected);
}

#[test]
fn a_value_without_quotes_is_reported_with_its_key() {
    let text = "listen = 127.0.0.1:1\nlog = info\ntoken_secret = hunter2\n\n[socket] # limits\ncalls_max = many\n\
                \n[function.typing]\ngrants.read = presence\nname = x\nlog_format = \"json\n";
    let reported = errors(sources("quotes", text));
    let expected = [
        "roost.toml:1: listen: is a text and needs quotes: write it as \"…\"; allowed: an IP address",
        "roost.toml:2: log: is a text and needs quotes",
        "roost.toml:3: token_secret: is a text and needs quotes",
        "roost.toml:6: socket.calls_max: is not valid TOML; allowed: a whole number of calls from 1 to 256",
        "roost.toml:9: function.typing.grants.read: is a text and needs quotes",
        "roost.toml:10: function.typing.name: is a text and needs quotes",
        "roost.toml:11: function.typing.log_format: is not valid TOML: ",
    ];
    assert_eq!(reported.len(), expected.len(), "{reported:#?}");
    for (reported, expected) in reported.iter().zip(expected) {
        assert!(reported.contains(expected) && !reported.contains("hunter2"), "{reported}\n{expected}");
    }
}

#[test]
fn the_samples_of_the_deployment_guide_are_refused() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deploy/roost.env");
    let samples = std::fs::read_to_string(samples).unwrap();
    let assignments: Vec<_> = samples.lines().filter_map(|line| line.split_once('=')).collect();
    let assignments: Vec<_> = assignments.into_iter().filter(|(name, _)| name.starts_with("ROOST_")).collect();
    assert_eq!(assignments.len(), 5);
    for (name, value) in assignments {
        let mut sample = sources("samples", "");
        sample.environment = vec![variable(name, value)];
        let reported = errors(sample);
        assert!(reported[0].starts_with(name) && reported[0].contains("is the published sample"), "{reported:?}");
        assert!(!reported[0].contains(value), "{reported:?}");
    }
}

#[test]
fn the_listing_is_the_effective_configuration_without_secrets() {
    let text = "records_url = \"postgres://roost:hunter2@db/roost\"\nlog = \"warn\"\n[function.a-b]\nqueue_max = 7\n\
                grants.publish = \"members\"\n";
    let mut listed = sources("listing", text);
    let path = listed.file.clone().unwrap();
    listed.environment = vec![variable("ROOST_TOKEN_SECRET", &format!("{SECRET},{SECRET}x"))];
    listed.flags = vec![flag("--listen", "listen", "127.0.0.1:1")];
    let listing = listed.load_with_listing().unwrap().1.to_string();
    assert!(!listing.contains("hunter2") && !listing.contains(SECRET), "a secret is shown:\n{listing}");
    for (assignment, origin) in [
        ("listen = \"127.0.0.1:1\"", "--listen".to_owned()),
        ("admin_listen = \"127.0.0.1:9090\"", "default".to_owned()),
        ("token_secret = [\"***\", \"***\"]", "ROOST_TOKEN_SECRET".to_owned()),
        ("records_url = \"postgres://roost:***@db/roost\"", format!("{}:1", path.display())),
        ("calls_max = 8", "default".to_owned()),
        ("queue_max = 7", format!("{}:4", path.display())),
        ("reuse = true", "default of built-in functions".to_owned()),
    ] {
        let line = listing.lines().find(|line| line.starts_with(assignment)).unwrap_or_else(|| panic!("{listing}"));
        assert!(line.ends_with(&format!(" # {origin}")), "{line}");
    }
    assert!(listing.contains("\n# admin_key is not set\n"), "{listing}");
    let table: toml::Table = listing.parse().unwrap();
    assert_eq!(table["socket"]["calls_max"].as_integer(), Some(8));
    assert_eq!(table["function"]["a-b"]["grants"]["publish"].as_str(), Some("members"));
    assert_eq!(table["function"]["typing"]["reuse"].as_bool(), Some(true));
}

/// Adds what `sources` reports about a file with this text.
fn add_reported(messages: &mut Messages, situation: &str, text: &str) {
    let sources = sources("messages", text);
    let path = sources.file.clone().unwrap();
    let reported = errors(sources).join("\n").replace(path.to_str().unwrap(), "roost.toml");
    messages.add(situation, reported);
}

#[test]
fn every_message_about_the_configuration_is_in_the_golden_file() {
    let mut messages = Messages::new("Messages about the configuration");
    messages.group("The file");
    let missing = Sources { file: Some("no/such/roost.toml".into()), ..Sources::default() };
    messages.add("A file that does not exist", errors(missing).join("\n"));
    add_reported(&mut messages, "A text without quotes", "listen = 127.0.0.1:1");
    add_reported(&mut messages, "A key without a value", "log =");
    add_reported(&mut messages, "A quote that is not closed", "log = \"info");
    add_reported(&mut messages, "A number that is not TOML", "socket.calls_max = many");
    add_reported(&mut messages, "A key twice", "log = \"info\"\nlog = \"warn\"");
    add_reported(&mut messages, "A misspelled key", "lisen = \"127.0.0.1:1\"");
    add_reported(&mut messages, "A key that is like no other", "colour = \"red\"");

    messages.group("Values; broken.txt in the folder config has a whole file of them");
    add_reported(&mut messages, "A short secret", "token_secret = \"short\"");
    add_reported(&mut messages, "A sample of docs/deploy", "admin_key = \"change-this-admin-key\"");
    let sample = "records_url = \"postgres://roost:change-this@db/roost\"";
    add_reported(&mut messages, "A sample password", sample);
    add_reported(&mut messages, "A number out of bounds", "socket.calls_max = 0");
    let plain = "token_jwks_url = \"http://login.example.com/keys\"";
    add_reported(&mut messages, "Keys for tokens over plain HTTP", plain);
    let default_port = "allowed_origins = [\"https://chat.example.com:443\"]";
    add_reported(&mut messages, "An origin with its default port", default_port);
    let pooling = "records_url = \"postgres://db/roost\"\npostgres.pooling = \"pgbouncer\"";
    add_reported(&mut messages, "The name of a pooler", pooling);
    add_reported(&mut messages, "Another rule for adding members", "conversations.add = \"friends\"");
    add_reported(&mut messages, "A log filter by span", "log = \"roost[request]=debug\"");
    add_reported(&mut messages, "A log filter by field", "log = \"info,roost[{user}]=debug\"");
    add_reported(&mut messages, "Other recipients", "function.polls.grants.publish = \"friends\"");

    messages.group("Settings that contradict each other");
    for (settings, _) in contradictions::CONTRADICTIONS {
        add_reported(&mut messages, settings, settings);
    }
    let mut bare = sources("messages", "");
    bare.needs_keys = true;
    messages.add("`roost serve` without a key for tokens", errors(bare).join("\n"));
    let exposed = "admin_listen = \"0.0.0.0:9090\"\ntoken_secret = \"0123456789abcdef0123456789abcdef\"\n";
    let mut open = sources("exposed-messages", exposed);
    open.needs_keys = true;
    let path = open.file.clone().unwrap();
    let reported = errors(open.clone()).join("\n").replace(path.to_str().unwrap(), "roost.toml");
    messages.add("`roost serve` without an admin key on an address that other machines reach", reported);
    add_reported(&mut messages, "A certificate without its private key", "admin_tls_cert = \"Cargo.toml\"");
    add_reported(&mut messages, "A public key for signatures that is none", "signing_keys = \"Cargo.toml\"");

    messages.group("Warnings about a valid configuration");
    open.needs_keys = false;
    messages.add("An admin listener without TLS that other machines reach", open.load().unwrap().warnings().join("\n"));
    let config = sources("messages", "function.polls.queue_max = 7").load().unwrap();
    let deployed = BTreeSet::from(["messaging", "typing"].map(str::to_owned));
    let undeployed = crate::app::warnings_of_undeployed(&config, &deployed).join("\n");
    messages.add("Settings for a function that is not deployed", undeployed);
    messages.check("config");
}
