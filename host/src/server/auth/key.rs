//! The keys that verify tokens. The kind of a key fixes its algorithm, so that a token cannot choose one.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// The size of an uncompressed point of P-256, the curve of ES256.
const P256_POINT_BYTES: usize = 65;

/// A key, its algorithm, and the id by which tokens name it.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("id", &self.id).finish_non_exhaustive()
    }
}

/// A JWKS document. Its keys are read one by one, because a set may hold kinds of keys that the host does not know.
#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<serde_json::Value>,
}

impl VerifyingKey {
    /// The key of a secret.
    pub(super) fn secret(secret: &str) -> Self {
        Self { algorithm: Algorithm::HS256, id: None, key: DecodingKey::from_secret(secret.as_bytes()) }
    }

    /// Parses a PEM public key.
    pub(super) fn public_key(text: &str) -> Result<Self, String> {
        if text.contains("PRIVATE KEY") {
            return Err("the file holds a private key; name a file with the public key instead".into());
        }
        let pem = text.as_bytes();
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return match key.try_get_as_bytes() {
                Ok(point) if point.len() == P256_POINT_BYTES => Ok(Self { algorithm: Algorithm::ES256, id: None, key }),
                _ => Err("the elliptic-curve key is on another curve; only P-256 (ES256) is supported".into()),
            };
        }
        let (algorithm, key) = DecodingKey::from_ed_pem(pem)
            .map(|key| (Algorithm::EdDSA, key))
            .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (Algorithm::RS256, key)))
            .map_err(|_| "the file is not a PEM public key of RSA, P-256 or Ed25519".to_owned())?;
        Ok(Self { algorithm, id: None, key })
    }

    /// Parses a JWKS document: every signature key of RSA, P-256 and Ed25519.
    pub(super) fn key_set(text: &str) -> Result<Vec<Self>, String> {
        let invalid = |error| format!("this is not a JWKS document: {error}");
        let set: KeySetDocument = serde_json::from_str(text).map_err(invalid)?;
        let mut keys = Vec::new();
        // A key of an unknown kind is left out, as RFC 7517 asks.
        for jwk in set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()) {
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err("the JWKS document holds a symmetric key; configure it as `token_secret`".into());
            }
            if let Some(algorithm) = signature_algorithm(&jwk) {
                let invalid = |error| format!("the JWKS document holds an invalid key: {error}");
                let key = DecodingKey::from_jwk(&jwk).map_err(invalid)?;
                keys.push(Self { algorithm, id: jwk.common.key_id, key });
            }
        }
        if keys.is_empty() {
            return Err("the JWKS document has no signature key for RS256, ES256 or EdDSA".into());
        }
        Ok(keys)
    }
}

/// The algorithm of a published key; `None` for keys that encrypt, and for algorithms that the host does not support.
fn signature_algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|key_use| *key_use == PublicKeyUse::Signature);
    let agrees = jwk.common.key_algorithm.as_ref().is_none_or(|algorithm| *algorithm == name);
    (signs && agrees).then_some(algorithm)
}
