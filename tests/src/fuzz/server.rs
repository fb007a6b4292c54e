//! Targets for what clients send to the public listener: frames, tokens, positions and query strings.

use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use roost::config::{AuthConfig, Secret, TokenKey};
use roost::delivery::event::parse_since;
use roost::server::auth::{Authenticator, Credentials, Identity, parse_bearer, parse_claims, parse_subprotocols};
use roost::server::http::query;
use roost::server::websocket::frame::{self, ClientFrame};
use roost_core::ids::{ConnectionId, UserId};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::text;
use crate::token::{SECRET, SERVICE_KEY};

/// A text frame of a client.
pub(super) fn client_frame(input: &[u8]) {
    let text = text(input);
    match ClientFrame::parse(&text) {
        Ok(parsed) => {
            assert!(!parsed.id.is_empty() && !parsed.name.is_empty(), "{text}");
            // A payload is passed on as text, so it may be nested more deeply than a `Value` can be.
            assert!(serde_json::from_str::<IgnoredAny>(&parsed.payload).is_ok(), "{text}");
        }
        Err(invalid) => {
            let answer = frame::error(invalid.id.as_deref(), &invalid.error, "trace");
            assert!(serde_json::from_str::<Value>(&answer).is_ok(), "{answer}");
        }
    }
}

fn authenticator() -> &'static Authenticator {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| {
        Authenticator::new(&AuthConfig {
            keys: vec![TokenKey::Secret(Secret(SECRET.to_owned()))],
            issuer: None,
            audience: None,
            jwks_refresh: Duration::from_secs(300),
            leeway: Duration::from_secs(5),
            service_keys: vec![Secret(SERVICE_KEY.to_owned())],
            admin_key: None,
            metrics_key: None,
            allowed_origins: Vec::new(),
        })
        .expect("the keys are valid")
    })
}

/// An `Authorization` header, then a user header, separated by a line break.
pub(super) fn bearer_token(input: &[u8]) {
    let text = text(input);
    let (header, user) = text.split_once('\n').map_or((text.as_str(), None), |(header, user)| (header, Some(user)));
    let Ok(bearer) = parse_bearer(header) else { return };
    assert!(!bearer.is_empty() && !bearer.contains(' '), "{header}");
    let credentials = Credentials { bearer: Some(bearer), stream_token: None, user_header: user.map(str::to_owned) };
    let identified = authenticator().identify(&credentials, UNIX_EPOCH + Duration::from_secs(1_790_000_000));
    if let Ok(identity) = identified {
        assert!(identity != Identity::Anonymous, "{header}");
    }
}

/// The claims of a token as JSON text, and the same claims in a signed token.
pub(super) fn token_claims(input: &[u8]) {
    let text = text(input);
    let parsed = parse_claims(&text);
    let Ok(claims @ Value::Object(_)) = serde_json::from_str::<Value>(&text) else {
        assert!(parsed.is_err(), "{text}");
        return;
    };
    roost::app::install_crypto();
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("claims encode");
    let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    if let Ok(identity) = authenticator().verify(&token, now) {
        assert!(identity.user().is_some() && identity.expires_at().is_none_or(|until| until > now), "{text}");
    }
}

/// The header `Sec-WebSocket-Protocol`.
pub(super) fn subprotocols(input: &[u8]) {
    let (named, token) = parse_subprotocols(&text(input));
    assert!(named || token.is_none(), "a token counts only beside the name of the protocol");
}

/// A feed position (`since`, `Last-Event-ID`), and the ids that stand in paths and frames.
pub(super) fn feed_position(input: &[u8]) {
    let text = text(input);
    if let Ok(position) = parse_since(&text) {
        let written = position.to_string();
        assert!(parse_since(&written).is_ok_and(|again| again == position), "{text}");
    }
    if let Ok(user) = text.parse::<UserId>() {
        assert!(user.to_string().parse::<UserId>().is_ok_and(|again| again == user), "{text}");
    }
    if let Ok(connection) = text.parse::<ConnectionId>() {
        assert_eq!(connection.as_str(), text);
    }
}

/// The query string of a request.
pub(super) fn query_string(input: &[u8]) {
    let text = text(input);
    if let Ok(pairs) = query::parse(&text) {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let written: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        assert!(query::parse(&written.join("&")).is_ok_and(|again| again == pairs), "{text}");
    }
}
