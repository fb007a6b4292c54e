//! Verifies the signature of a JSON Web Token and parses its claims. The authenticator checks the claims, with its
//! clock.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode_header};
use roost_core::ids::UserId;
use serde::Deserialize;

use super::crypto::decode;
use super::key::VerifyingKey;
use crate::server::problem::{ApiError, ErrorCode};

/// More than any reasonable token needs, and less than the head of a request may have.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The detail for a bearer token that has not even the form of a token: most often a mistyped service key.
const NEITHER_TOKEN_NOR_KEY: &str = "this is neither a JSON Web Token nor a service key of this host; check the key \
                                     (the header `Authorization` takes it), or sign in again for a token";

/// The claims of a token. Public for the parser tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user.
    pub user: UserId,
    /// `exp`: when the token expires, since the Unix epoch.
    pub expires: Duration,
    /// `nbf`: when the token becomes valid, since the Unix epoch.
    pub not_before: Option<Duration>,
    /// `iss`: who issued the token.
    pub issuer: Option<String>,
    /// `aud`: the services that the token is meant for.
    pub audience: Vec<String>,
}

#[derive(Deserialize)]
struct RawClaims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<AudienceClaim>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AudienceClaim {
    One(String),
    Several(Vec<String>),
}

/// Verifies the signature with the keys that fit the token's header, and parses the claims.
pub(super) fn verify(token: &str, keys: &[VerifyingKey]) -> Result<Claims, ApiError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused(&format!("the token has more than {TOKEN_BYTES_MAX} bytes, the most that is allowed")));
    }
    let header = decode_header(token).map_err(|_| refused(NEITHER_TOKEN_NOR_KEY))?;
    if header.crit.is_some() {
        return Err(refused("the token has the header `crit`, which is not supported; issue it without"));
    }
    let no_key = "no configured key fits the `alg` and `kid` of this token; use a token of the configured issuer";
    let mut last = refused(no_key);
    let fits = |key: &&VerifyingKey| key.algorithm == header.alg && names(key, header.kid.as_deref());
    for key in keys.iter().filter(fits) {
        match decode::<RawClaims>(token, &key.key, &signature_only(key)) {
            Ok(decoded) => return claims(decoded.claims),
            Err(error) => last = explain(error.kind()),
        }
    }
    Err(last)
}

/// Whether the token names a public key, by its algorithm and its `kid`, that none of these keys is. A key without an
/// id is the key of no `kid`, although it may verify the token.
pub(super) fn lacks_key(token: &str, keys: &[VerifyingKey]) -> bool {
    if token.len() > TOKEN_BYTES_MAX {
        return false;
    }
    let Ok(header) = decode_header(token) else { return false };
    let is_public = matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA);
    let is_named = |key: &VerifyingKey| header.kid.is_none() || key.id == header.kid;
    is_public && !keys.iter().any(|key| key.algorithm == header.alg && is_named(key))
}

/// Parses the JSON text of claims. Public for the parser tests.
pub fn parse_claims(text: &str) -> Result<Claims, ApiError> {
    serde_json::from_str(text).map_err(|_| malformed_claims()).and_then(claims)
}

fn claims(raw: RawClaims) -> Result<Claims, ApiError> {
    let sub = raw.sub.ok_or_else(|| refused("the token has no `sub`; issue it with the user's UUID there"))?;
    let expires = raw.exp.ok_or_else(|| refused("the token has no `exp`; issue it with an expiry time"))?;
    Ok(Claims {
        user: sub
            .parse()
            .map_err(|_| refused("the token's `sub` is not a UUID; issue it with the user's UUID there"))?,
        expires: numeric_date(expires).ok_or_else(malformed_claims)?,
        not_before: raw.nbf.map(|start| numeric_date(start).ok_or_else(malformed_claims)).transpose()?,
        issuer: raw.iss,
        audience: match raw.aud {
            None => Vec::new(),
            Some(AudienceClaim::One(name)) => vec![name],
            Some(AudienceClaim::Several(names)) => names,
        },
    })
}

/// A `NumericDate`: seconds, perhaps with a fraction.
fn numeric_date(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn names(key: &VerifyingKey, id: Option<&str>) -> bool {
    match (&key.id, id) {
        (Some(known), Some(expected)) => known == expected,
        _ => true,
    }
}

/// Only the signature is verified here. The authenticator checks times and audience, with a clock that tests control.
fn signature_only(key: &VerifyingKey) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn explain(kind: &ErrorKind) -> ApiError {
    match kind {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => malformed_claims(),
        _ => refused("the token's signature is not valid; sign in again for a new token"),
    }
}

fn malformed_claims() -> ApiError {
    refused(
        "the token's claims are not valid: `sub` must be a UUID, `exp` and `nbf` seconds, `iss` a name, `aud` one or more \
         names",
    )
}

fn refused(detail: &str) -> ApiError {
    ApiError::new(ErrorCode::TokenInvalid, detail)
}
