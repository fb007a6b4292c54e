//! Every kind of credentials, and every refusal with its code.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::crypto::encode;
use super::*;
use crate::config::{AuthConfig, Secret, TokenKey};

const NOW: u64 = 1_790_000_000;
const USER: &str = "7b8ff2f6-7c7e-4a53-9a6b-3d1a6f0c0001";
const OTHER: &str = "7b8ff2f6-7c7e-4a53-9a6b-3d1a6f0c0002";
const SECRET: &str = "a secret that is long enough for HS256";
const SERVICE_KEY: &str = "service-key-1";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/auth/testdata").join(name)
}

fn config(keys: Vec<TokenKey>) -> AuthConfig {
    AuthConfig {
        keys,
        issuer: None,
        audience: None,
        jwks_refresh: Duration::from_secs(300),
        leeway: Duration::from_secs(5),
        service_keys: vec![Secret("other-key".into()), Secret(SERVICE_KEY.into())],
        admin_key: None,
        metrics_key: None,
        allowed_origins: Vec::new(),
    }
}

fn secret() -> AuthConfig {
    config(vec![TokenKey::Secret(Secret(SECRET.into()))])
}

fn authenticator(config: &AuthConfig) -> Authenticator {
    Authenticator::new(config).unwrap()
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({ "sub": USER, "exp": NOW + 60 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn token(changes: Value) -> String {
    encode(&Header::default(), &claims(changes), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn signed(algorithm: Algorithm, kid: Option<&str>) -> String {
    let pem = |name: &str| std::fs::read(file(name)).unwrap();
    let key = match algorithm {
        Algorithm::RS256 | Algorithm::RS512 => EncodingKey::from_rsa_pem(&pem("rsa.pem")).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem("p256.pem")).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem("ed25519.pem")).unwrap(),
        other => panic!("no key for {other:?}"),
    };
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims(json!({})), &key).unwrap()
}

fn identity(config: &AuthConfig, token: &str) -> Result<Identity, ApiError> {
    authenticator(config).verify(token, now())
}

#[track_caller]
fn accepted(config: &AuthConfig, token: &str) {
    assert_eq!(identity(config, token).unwrap().user(), Some(USER.parse().unwrap()));
}

#[track_caller]
fn refused(config: &AuthConfig, token: &str, code: ErrorCode) -> ApiError {
    let error = identity(config, token).unwrap_err();
    assert!(error.is(code), "{error:?}");
    error
}

#[test]
fn a_valid_token_names_its_user_and_its_end() {
    let expires_at = now() + Duration::from_secs(65);
    let expected = Identity::User { user: USER.parse().unwrap(), expires_at };
    assert_eq!(identity(&secret(), &token(json!({}))).unwrap(), expected);
}

#[test]
fn times_are_checked_with_the_leeway() {
    accepted(&secret(), &token(json!({ "exp": NOW - 4 })));
    refused(&secret(), &token(json!({ "exp": NOW - 5 })), ErrorCode::TokenExpired);
    accepted(&secret(), &token(json!({ "nbf": NOW + 5 })));
    refused(&secret(), &token(json!({ "nbf": NOW + 6 })), ErrorCode::TokenNotYetValid);
    accepted(&secret(), &token(json!({ "exp": NOW as f64 + 0.5 })));
    accepted(&secret(), &token(json!({ "exp": 1e18 })));
}

#[test]
fn an_expiry_beyond_the_clock_is_far_in_the_future() {
    let late = UNIX_EPOCH + Duration::from_secs(9_000_000_000);
    let identity = authenticator(&secret()).verify(&token(json!({ "exp": 1e19 })), late).unwrap();
    assert!(identity.expires_at().unwrap() > late + Duration::from_secs(3_600));
}

#[test]
fn missing_and_malformed_claims_are_refused_by_name() {
    for (changes, expected) in [
        (json!({ "exp": null }), "no `exp`"),
        (json!({ "sub": null }), "no `sub`"),
        (json!({ "sub": "anna" }), "`sub` is not a UUID"),
        (json!({ "sub": 7 }), "claims are not valid"),
        (json!({ "exp": "soon" }), "claims are not valid"),
        (json!({ "exp": -1 }), "claims are not valid"),
        (json!({ "nbf": -1 }), "claims are not valid"),
        (json!({ "aud": 7 }), "claims are not valid"),
    ] {
        let error = refused(&secret(), &token(changes.clone()), ErrorCode::TokenInvalid);
        assert!(error.detail.contains(expected), "{changes}: {}", error.detail);
    }
}

#[test]
fn the_token_must_name_the_configured_audience() {
    let config = AuthConfig { audience: Some("chat".into()), ..secret() };
    accepted(&config, &token(json!({ "aud": "chat" })));
    accepted(&config, &token(json!({ "aud": ["shop", "chat"] })));
    refused(&config, &token(json!({ "aud": "shop" })), ErrorCode::TokenAudience);
    refused(&config, &token(json!({})), ErrorCode::TokenAudience);
    accepted(&secret(), &token(json!({ "aud": "anything" })));
}

#[test]
fn the_issuer_is_checked_where_one_is_configured() {
    let config = AuthConfig { issuer: Some("https://login.example".into()), ..secret() };
    accepted(&config, &token(json!({ "iss": "https://login.example" })));
    let error = refused(&config, &token(json!({ "iss": "https://login.example/" })), ErrorCode::TokenIssuer);
    assert!(error.detail.contains("https://login.example"), "{}", error.detail);
    refused(&config, &token(json!({})), ErrorCode::TokenIssuer);
    accepted(&secret(), &token(json!({ "iss": "anybody" })));
    refused(&secret(), &token(json!({ "iss": 7 })), ErrorCode::TokenInvalid);
}

#[test]
fn credentials_are_never_shown() {
    let credentials = Credentials::of_headers(&headers(&[("authorization", "Bearer hunter2")])).unwrap();
    let query = [("token".to_owned(), "hunter2".to_owned())];
    let of_stream = Credentials::of_stream(&headers(&[]), &query).unwrap();
    for shown in [credentials, of_stream, Credentials::of_frame("hunter2".to_owned())] {
        assert!(shown.token().is_some() && !format!("{shown:?}").contains("hunter2"), "{shown:?}");
    }
}

#[test]
fn text_that_is_not_a_valid_token_is_refused() {
    let good = token(json!({}));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
    let flipped = format!("{rest}.{}", signature.chars().rev().collect::<String>());
    for bad in ["", "a", "a.b", "a.b.c", "....", unsigned, &flipped, rest, &"x".repeat(9_000)] {
        refused(&secret(), bad, ErrorCode::TokenInvalid);
    }
    let other = encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(b"other")).unwrap();
    let error = refused(&secret(), &other, ErrorCode::TokenInvalid);
    assert_eq!(error.detail, "the token's signature is not valid; sign in again for a new token");
}

#[test]
fn tokens_with_critical_headers_are_refused() {
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert!(refused(&secret(), &token, ErrorCode::TokenInvalid).detail.contains("`crit`"));
}

#[test]
fn each_kind_of_public_key_verifies_only_its_algorithm() {
    for (name, algorithm) in
        [("rsa.pub.pem", Algorithm::RS256), ("p256.pub.pem", Algorithm::ES256), ("ed25519.pub.pem", Algorithm::EdDSA)]
    {
        let config = config(vec![TokenKey::PublicKey(file(name))]);
        accepted(&config, &signed(algorithm, None));
        accepted(&config, &signed(algorithm, Some("any")));
        for other in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            if other != algorithm {
                refused(&config, &signed(other, None), ErrorCode::TokenInvalid);
            }
        }
    }
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let public = std::fs::read(file("rsa.pub.pem")).unwrap();
    let forged = encode(&Header::default(), &claims(json!({})), &EncodingKey::from_secret(&public)).unwrap();
    refused(&config(vec![TokenKey::PublicKey(file("rsa.pub.pem"))]), &forged, ErrorCode::TokenInvalid);
    refused(&config(vec![TokenKey::Jwks(file("jwks.json"))]), &forged, ErrorCode::TokenInvalid);
    // A key verifies no other algorithm of its family either.
    let config = config(vec![TokenKey::PublicKey(file("rsa.pub.pem"))]);
    refused(&config, &signed(Algorithm::RS512, None), ErrorCode::TokenInvalid);
}

#[test]
fn a_key_set_is_searched_by_key_id() {
    let config = config(vec![TokenKey::Jwks(file("jwks.json"))]);
    for (algorithm, kid) in [(Algorithm::RS256, "rsa-1"), (Algorithm::ES256, "ec-1"), (Algorithm::EdDSA, "ed-1")] {
        accepted(&config, &signed(algorithm, Some(kid)));
        accepted(&config, &signed(algorithm, None));
        let error = refused(&config, &signed(algorithm, Some("unknown")), ErrorCode::TokenInvalid);
        assert!(error.detail.contains("`kid`"), "{}", error.detail);
    }
    // A key for encryption verifies nothing.
    refused(&config, &signed(Algorithm::RS256, Some("enc-1")), ErrorCode::TokenInvalid);
}

#[test]
fn a_set_with_a_key_that_cannot_be_used_verifies_with_the_others() {
    let mut set: Value = serde_json::from_slice(&std::fs::read(file("jwks.json")).unwrap()).unwrap();
    let short = json!({ "kty": "RSA", "kid": "short", "n": format!("{}w", "r".repeat(170)), "e": "AQAB" });
    set["keys"].as_array_mut().unwrap().insert(0, short);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set.to_string()).unwrap();
    let config = config(vec![TokenKey::Jwks(path)]);
    accepted(&config, &signed(Algorithm::RS256, Some("rsa-1")));
    refused(&config, &signed(Algorithm::RS256, Some("short")), ErrorCode::TokenInvalid);
}

#[test]
fn several_sources_of_keys_can_be_configured() {
    let mut config = config(vec![TokenKey::Jwks(file("jwks.json"))]);
    config.keys.push(TokenKey::Secret(Secret(SECRET.into())));
    accepted(&config, &token(json!({})));
    accepted(&config, &signed(Algorithm::ES256, Some("ec-1")));
}

#[test]
fn errors_of_unusable_keys_give_the_reason() {
    let check = |source, expected: &str| {
        let error = Authenticator::new(&config(vec![source])).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(TokenKey::PublicKey(file("missing.pem")), "cannot be read");
    check(TokenKey::PublicKey(file("rsa.pem")), "private key");
    check(TokenKey::PublicKey(file("p384.pub.pem")), "P-256");
    check(TokenKey::PublicKey(file("rsa1024.pub.pem")), "2,048 to 8,192 bits, and this one about 1024");
    check(TokenKey::PublicKey(file("jwks.json")), "not a PEM public key");
    check(TokenKey::Jwks(file("rsa.pub.pem")), "not a JWKS document");
}

#[test]
fn an_rsa_key_may_be_published_with_leading_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let text = std::fs::read_to_string(file("jwks.json")).unwrap();
    // Three zero bytes are four characters of Base64, so that the others stay as they are.
    std::fs::write(&path, text.replace("rMVcz", "AAAArMVcz").replace("\"AQAB\"", "\"AAAAAQAB\"")).unwrap();
    accepted(&config(vec![TokenKey::Jwks(path)]), &signed(Algorithm::RS256, Some("rsa-1")));
}

#[test]
fn a_pem_file_of_an_rsa_key_may_have_either_form() {
    for name in ["rsa.pub.pem", "rsa.pkcs1.pub.pem"] {
        accepted(&config(vec![TokenKey::PublicKey(file(name))]), &signed(Algorithm::RS256, None));
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn identify(pairs: &[(&'static str, &str)]) -> Result<Identity, ApiError> {
    authenticator(&secret()).identify(&Credentials::of_headers(&headers(pairs))?, now())
}

fn code_of(result: Result<impl std::fmt::Debug, ApiError>) -> String {
    result.unwrap_err().code.into_owned()
}

#[test]
fn a_service_key_acts_for_itself_or_for_the_user_it_names() {
    let key = format!("Bearer {SERVICE_KEY}");
    let alone = identify(&[("authorization", &key)]).unwrap();
    assert_eq!(alone, Identity::Service { acting_for: None });
    let named = identify(&[("authorization", &key), ("roost-user", OTHER)]).unwrap();
    assert_eq!(named.user(), Some(OTHER.parse().unwrap()));
    let bad = identify(&[("authorization", &key), ("roost-user", "anna")]);
    assert_eq!(code_of(bad), "user_header_invalid");
}

#[test]
fn only_a_service_may_name_a_user() {
    let bearer = format!("bearer {}", token(json!({})));
    assert!(identify(&[("authorization", &bearer)]).is_ok());
    assert_eq!(code_of(identify(&[("authorization", &bearer), ("roost-user", OTHER)])), "user_header_refused");
    assert_eq!(code_of(identify(&[("roost-user", OTHER)])), "unauthenticated");
    assert_eq!(identify(&[]).unwrap(), Identity::Anonymous);
}

#[test]
fn an_authorization_header_of_another_form_is_refused() {
    for bad in ["Basic YTpi", "Bearer", "Bearer ", "Bearer a b", "token"] {
        assert_eq!(code_of(identify(&[("authorization", bad)])), "token_invalid", "{bad}");
    }
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(code_of(identify(&twice)), "token_invalid");
    assert_eq!(code_of(identify(&[("authorization", "Bearer service-key-2")])), "token_invalid");
}

#[test]
fn a_stream_accepts_a_token_but_no_service_key_in_query_or_subprotocol() {
    let check = |pairs: &[(&'static str, &str)], query: &[(String, String)]| {
        let credentials = Credentials::of_stream(&headers(pairs), query)?;
        authenticator(&secret()).identify(&credentials, now())
    };
    let token = token(json!({}));
    let query = [("token".to_owned(), token.clone())];
    assert!(check(&[], &query).unwrap().user().is_some());
    let offered = format!("roost.v1, {token}");
    assert!(check(&[("sec-websocket-protocol", &offered)], &[]).unwrap().user().is_some());
    let lines = [("sec-websocket-protocol", "roost.v1"), ("sec-websocket-protocol", token.as_str())];
    assert!(check(&lines, &[]).unwrap().user().is_some());
    let key = [("token".to_owned(), SERVICE_KEY.to_owned())];
    assert_eq!(code_of(check(&[], &key)), "token_invalid");
}

#[test]
fn subprotocols_are_the_protocol_and_an_optional_token() {
    for (offered, expected) in [
        ("roost.v1", (true, None)),
        ("roost.v1, abc", (true, Some("abc"))),
        ("chat,roost.v1 ,abc,def", (true, Some("abc"))),
        ("chat", (false, None)),
        ("", (false, None)),
    ] {
        let (named, token) = parse_subprotocols(offered);
        assert_eq!((named, token.as_deref()), expected, "{offered}");
    }
}

#[test]
fn origins_are_checked_only_if_some_are_configured() {
    let any = authenticator(&secret());
    assert!(any.origin_allowed(Some("https://evil.example")) && any.origin_allowed(None));
    let config = AuthConfig { allowed_origins: vec!["https://Chat.example".into()], ..secret() };
    let some = authenticator(&config);
    assert!(some.origin_allowed(Some("https://chat.example")) && some.origin_allowed(None));
    for other in ["https://evil.example", "http://chat.example", "https://chat.example.evil", "null", ""] {
        assert!(!some.origin_allowed(Some(other)), "{other}");
    }
}

#[test]
fn every_access_admits_the_right_callers() {
    let user = Identity::User { user: USER.parse().unwrap(), expires_at: now() };
    let service = Identity::Service { acting_for: None };
    let named = Identity::Service { acting_for: Some(OTHER.parse().unwrap()) };
    let authorized = |identity: Identity, access| match identity.authorize(access) {
        Ok(Caller::User(id) | Caller::ServiceFor(id)) => format!("user {}", id.to_string().chars().last().unwrap()),
        Ok(caller) => format!("{caller:?}"),
        Err(error) => error.code.into_owned(),
    };
    let table = [
        (Access::User, ["user 1", "user_required", "user 2", "unauthenticated"]),
        (Access::ServiceOrUser, ["user 1", "Service", "user 2", "unauthenticated"]),
        (Access::Service, ["service_only", "Service", "user 2", "unauthenticated"]),
        (Access::Public, ["user 1", "Service", "user 2", "Anonymous"]),
    ];
    for (access, expected) in table {
        let found = [user, service, named, Identity::Anonymous].map(|identity| authorized(identity, access));
        assert_eq!(found, expected, "{access:?}");
    }
}

#[test]
fn malformed_text_of_claims_is_an_error() {
    assert!(parse_claims(&format!(r#"{{"sub":"{USER}","exp":1}}"#)).is_ok());
    for bad in ["", "[]", "{}", r#"{"exp":1e400}"#, r#"{"sub":"x","exp":NaN}"#] {
        assert!(parse_claims(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_cached_token_is_refused_when_it_has_expired() {
    let (config, token) = (secret(), token(json!({})));
    let authenticator = authenticator(&config);
    assert!(authenticator.verify(&token, now()).is_ok());
    let later = now() + Duration::from_secs(3_600);
    assert!(authenticator.verify(&token, later).unwrap_err().is(ErrorCode::TokenExpired));
}
