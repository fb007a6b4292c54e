//! The keys that verify tokens. The kind of a key fixes its algorithm, so that a token cannot choose one.

use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::TokenKey;

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

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}; name a readable key file")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The file does not contain a usable key.
    #[error("{path}: {reason}")]
    Unusable {
        /// The path of the file.
        path: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl VerifyingKey {
    /// Loads the keys of one configured source.
    pub(super) fn load(source: &TokenKey) -> Result<Vec<Self>, KeyFileError> {
        match source {
            TokenKey::Secret(secret) => Ok(vec![Self::secret(&secret.0)]),
            TokenKey::PublicKey(path) => read(path, |text| Self::public_key(text).map(|key| vec![key])),
            TokenKey::Jwks(path) => read(path, Self::key_set),
        }
    }

    fn secret(secret: &str) -> Self {
        Self { algorithm: Algorithm::HS256, id: None, key: DecodingKey::from_secret(secret.as_bytes()) }
    }

    /// Parses a PEM public key.
    fn public_key(text: &str) -> Result<Self, String> {
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
        let invalid = |error| format!("the file is not a JWKS document: {error}");
        let set: JwkSet = serde_json::from_str(text).map_err(invalid)?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
                return Err("the JWKS file holds a symmetric key; configure it as `token_secret`".into());
            }
            if let Some(algorithm) = signature_algorithm(jwk) {
                let invalid = |error| format!("the JWKS file holds an invalid key: {error}");
                let key = DecodingKey::from_jwk(jwk).map_err(invalid)?;
                keys.push(Self { algorithm, id: jwk.common.key_id.clone(), key });
            }
        }
        if keys.is_empty() {
            return Err("the JWKS file has no signature key for RS256, ES256 or EdDSA".into());
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

fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, KeyFileError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Unreadable { path: name(), source })?;
    parse(&text).map_err(|reason| KeyFileError::Unusable { path: name(), reason })
}
