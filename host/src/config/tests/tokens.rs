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
