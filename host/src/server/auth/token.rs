//! A JSON Web Token's signature and claims. When the claims hold is judged by the authenticator, with its clock.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use roost_core::ids::UserId;
use serde::Deserialize;

use super::key::VerifyingKey;
use crate::server::problem::{ApiError, Code};

/// More than any sensible token, less than a request's head.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`
    pub user: UserId,
    /// `exp`, since the Unix epoch.
    pub expires: Duration,
    /// `nbf`, since the Unix epoch.
    pub not_before: Option<Duration>,
    /// `aud`: one or several.
    pub audience: Vec<String>,
}

#[derive(Deserialize)]
struct RawClaims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Checks the signature with the one key that fits, and reads the claims.
pub(super) fn verify(token: &str, keys: &[VerifyingKey]) -> Result<Claims, ApiError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused("the token is longer than any the host accepts"));
    }
    let header = decode_header(token).map_err(|_| refused("this is no JSON Web Token"))?;
    if header.crit.is_some() {
        return Err(refused("the token names critical headers, and the host knows none"));
    }
    let mut last = refused("no key verifies this token: its `alg` or `kid` is unknown here");
    let fits = |key: &&VerifyingKey| key.algorithm == header.alg && names(key, header.kid.as_deref());
    for key in keys.iter().filter(fits) {
        match decode::<RawClaims>(token, &key.key, &signature_only(key)) {
            Ok(decoded) => return claims(decoded.claims),
            Err(error) => last = explain(error.kind()),
        }
    }
    Err(last)
}

/// Reads the claims' JSON text.
pub fn parse_claims(text: &str) -> Result<Claims, ApiError> {
    serde_json::from_str(text).map_err(|_| malformed_claims()).and_then(claims)
}

fn claims(raw: RawClaims) -> Result<Claims, ApiError> {
    let sub = raw.sub.ok_or_else(|| refused("the token has no `sub`"))?;
    let expires = raw.exp.ok_or_else(|| refused("the token has no `exp`, and the host takes none without"))?;
    Ok(Claims {
        user: sub.parse().map_err(|_| refused("the token's `sub` is no UUID"))?,
        expires: moment(expires).ok_or_else(malformed_claims)?,
        not_before: raw.nbf.map(|start| moment(start).ok_or_else(malformed_claims)).transpose()?,
        audience: match raw.aud {
            None => Vec::new(),
            Some(Audience::One(name)) => vec![name],
            Some(Audience::Several(names)) => names,
        },
    })
}

/// A `NumericDate`: seconds, perhaps with a fraction.
fn moment(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn names(key: &VerifyingKey, id: Option<&str>) -> bool {
    match (&key.id, id) {
        (Some(own), Some(asked)) => own == asked,
        _ => true,
    }
}

/// Times and audience are judged elsewhere, with a clock that tests can hold.
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
        _ => refused("the token's signature is not valid"),
    }
}

fn malformed_claims() -> ApiError {
    refused("the token's claims are not valid")
}

fn refused(detail: &str) -> ApiError {
    ApiError::new(Code::TokenInvalid, detail)
}
