//! Makes users' tokens: JWTs signed with HS256, as the host verifies them. For development, tests and scripts; a product
//! signs its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roost_core::ids::UserId;
use serde::Serialize;

use crate::config::{AuthConfig, Secret, TokenKey};

/// What a token says.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    sub: UserId,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nothing to sign with: public keys only verify.
    #[error("no token_secret is configured; the owner of the public key signs tokens elsewhere")]
    NoSecret,
    /// The signature failed.
    #[error("the token cannot be signed: {0}")]
    Signature(#[from] jsonwebtoken::errors::Error),
}

/// A token for this user, signed with the first secret that the configuration holds.
pub fn sign(auth: &AuthConfig, user: UserId, life: Duration) -> Result<String, TokenError> {
    let secret = secret(auth).ok_or(TokenError::NoSecret)?;
    // Before 1970 no token is valid anyway.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims { sub: user, iat: now.as_secs(), exp: (now + life).as_secs(), aud: auth.audience.as_deref() };
    let key = EncodingKey::from_secret(secret.0.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// What signs HS256 tokens.
pub fn secret(auth: &AuthConfig) -> Option<&Secret> {
    auth.keys.iter().find_map(|key| match key {
        TokenKey::Secret(secret) => Some(secret),
        TokenKey::PublicKey(_) | TokenKey::Jwks(_) => None,
    })
}
