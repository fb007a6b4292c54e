//! Issues users' tokens: JWTs signed with HS256, for development, tests and scripts. A product issues its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roost_core::ids::UserId;
use serde::Serialize;

use super::crypto;
use crate::config::{AuthConfig, Secret, TokenKey};

/// The claims of an issued token.
#[derive(Debug, Serialize)]
struct IssuedClaims<'a> {
    sub: UserId,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Why a token cannot be issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The configuration has no secret; public keys only verify.
    #[error("no `token_secret` is configured: tokens must come from the owner of the public key")]
    NoSecret,
    /// The token could not be signed.
    #[error("the token could not be signed: {0}")]
    Signature(#[from] jsonwebtoken::errors::Error),
}

/// A token for this user, signed with the first secret of the configuration.
pub(crate) fn sign(auth: &AuthConfig, user: UserId, life: Duration) -> Result<String, TokenError> {
    let secret = secret(auth).ok_or(TokenError::NoSecret)?;
    // With a clock before 1970, no token is valid anyway.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = IssuedClaims {
        sub: user,
        iat: now.as_secs(),
        exp: (now + life).as_secs(),
        iss: auth.issuer.as_deref(),
        aud: auth.audience.as_deref(),
    };
    let key = EncodingKey::from_secret(secret.0.as_bytes());
    Ok(crypto::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// The secret that signs HS256 tokens.
pub(crate) fn secret(auth: &AuthConfig) -> Option<&Secret> {
    auth.keys.iter().find_map(|key| match key {
        TokenKey::Secret(secret) => Some(secret),
        TokenKey::PublicKey(_) | TokenKey::Jwks(_) | TokenKey::JwksUrl(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::server::auth::{Authenticator, Credentials, Identity};
    use crate::server::problem::ErrorCode;

    const USER: UserId = UserId::from_u128(7);
    const LIFE: Duration = Duration::from_secs(60);

    fn auth(secrets: &[&str], audience: Option<&str>) -> AuthConfig {
        let keys = secrets.iter().map(|secret| TokenKey::Secret(Secret((*secret).repeat(8))));
        let auth = Sources::default().load().unwrap().auth;
        AuthConfig { keys: keys.collect(), audience: audience.map(str::to_owned), ..auth }
    }

    fn identify(token: String, by: &AuthConfig, at: SystemTime) -> Result<Identity, crate::server::problem::ApiError> {
        let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
        Authenticator::new(by).unwrap().identify(&credentials, at)
    }

    #[test]
    fn a_token_identifies_its_user_until_it_expires() {
        let auth = auth(&["0123", "4567"], Some("chat"));
        let token = sign(&auth, USER, LIFE).unwrap();
        let identity = identify(token.clone(), &auth, SystemTime::now()).unwrap();
        assert_eq!(identity.user(), Some(USER));
        let later = SystemTime::now() + LIFE + auth.leeway + Duration::from_secs(2);
        assert!(identify(token, &auth, later).is_err_and(|error| error.is(ErrorCode::TokenExpired)));
    }

    #[test]
    fn a_token_with_another_secret_or_audience_is_refused() {
        let ours = auth(&["0123"], Some("chat"));
        let forged = sign(&auth(&["4567"], Some("chat")), USER, LIFE).unwrap();
        assert!(identify(forged, &ours, SystemTime::now()).is_err_and(|error| error.is(ErrorCode::TokenInvalid)));
        let elsewhere = sign(&auth(&["0123"], Some("mail")), USER, LIFE).unwrap();
        assert!(identify(elsewhere, &ours, SystemTime::now()).is_err_and(|error| error.is(ErrorCode::TokenAudience)));
    }

    #[test]
    fn a_token_names_the_configured_issuer() {
        let issued = AuthConfig { issuer: Some("https://login.example".into()), ..auth(&["0123"], None) };
        assert!(identify(sign(&issued, USER, LIFE).unwrap(), &issued, SystemTime::now()).is_ok());
        let without = sign(&auth(&["0123"], None), USER, LIFE).unwrap();
        assert!(identify(without, &issued, SystemTime::now()).is_err_and(|error| error.is(ErrorCode::TokenIssuer)));
    }

    #[test]
    fn public_keys_cannot_sign() {
        let mut auth = auth(&[], None);
        auth.keys.push(TokenKey::PublicKey("key.pem".into()));
        assert!(matches!(sign(&auth, USER, LIFE), Err(TokenError::NoSecret)));
    }
}
