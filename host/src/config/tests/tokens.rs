//! The keys about tokens: a value of each that differs from its default, and the URL of a key set.

use super::*;

/// Keys with their values.
pub(super) const SAMPLES: [(&str, &str); 8] = [
    ("token_secret", SECRET),
    ("token_jwks_url", "https://login.example.com/keys?tenant=chat"),
    ("token_jwks_refresh_ms", "60000"),
    ("token_issuer", "https://login.example.com"),
    ("token_audience", "chat"),
    ("token_leeway_ms", "1"),
    ("socket.token_timeout_ms", "700"),
    ("socket.unauthenticated_max", "7"),
];

fn load(url: &str) -> Result<Config, ConfigErrors> {
    let mut from = sources("key-set-url", &format!("token_jwks_url = \"{url}\"\n"));
    from.needs_keys = true;
    from.load()
}

#[test]
fn a_key_set_is_read_over_https_or_from_this_machine() {
    let allowed =
        ["https://login.example.com/keys", "http://127.0.0.1:8000/keys", "http://[::1]/keys", "http://localhost/"];
    for url in allowed {
        let keys = load(url).unwrap().auth.keys;
        assert!(matches!(keys.as_slice(), [TokenKey::JwksUrl(read)] if read == url), "{url}: {keys:?}");
    }
    for (url, problem) in [
        ("http://login.example.com/keys", "plain HTTP to another machine"),
        ("https://roost:hunter2@login.example.com/keys", "a user name, a password"),
        ("https://login.example.com/keys#hunter2", "a fragment"),
        ("file:///keys.json", "`file:` is not supported"),
        ("login.example.com", "is not a URL"),
    ] {
        let reported = load(url).unwrap_err().to_string();
        assert!(reported.contains("token_jwks_url") && reported.contains(problem), "{url}: {reported}");
        assert!(!reported.contains("hunter2"), "{reported}");
    }
}

#[test]
fn an_origin_is_listed_as_browsers_send_it() {
    let load = |origin: &str| sources("origins", &format!("allowed_origins = [\"{origin}\"]\n")).load();
    for origin in ["https://chat.example.com", "http://localhost:3000", "https://localhost:80", "app://localhost"] {
        assert_eq!(load(origin).unwrap().auth.allowed_origins, [origin]);
    }
    assert_eq!(load("https://Chat.example").unwrap().auth.allowed_origins, ["https://chat.example"]);
    for (origin, problem) in [
        ("https://chat.example.com:443", "they leave out the default port"),
        ("http://chat.example.com:80", "they leave out the default port"),
        ("https://chat.example.com/", "not an origin"),
        ("null", "not an origin"),
        ("*", "not an origin"),
    ] {
        let reported = load(origin).unwrap_err().to_string();
        assert!(reported.contains("allowed_origins") && reported.contains(problem), "{origin}: {reported}");
    }
}
