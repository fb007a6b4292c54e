//! A JWKS document: the keys in it that verify tokens. A key that the host cannot use is left out, as RFC 7517 asks in
//! section 5, because an issuer may publish keys for others beside it. The log names each of them with the reason.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::key::{P256_POINT_BYTES, VerifyingKey, rsa_key};
use crate::http_answer::excerpt;

/// The size of a public key of Ed25519, the curve of EdDSA.
const ED25519_KEY_BYTES: usize = 32;
/// The log and errors name at most so many keys that are left out.
const NAMED_MAX: usize = 10;

/// The keys are read one by one, because a set may hold kinds of keys that the host does not know.
#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<Value>,
}

/// The keys of a JWKS document.
#[derive(Debug)]
pub(super) struct KeySet {
    /// The keys that verify tokens.
    pub(super) keys: Vec<VerifyingKey>,
    /// The `kid` of each key that cannot be used, with the reason.
    pub(super) left_out: Vec<String>,
}

impl KeySet {
    /// Parses a document: every signature key of RSA, P-256 and Ed25519.
    ///
    /// # Errors
    /// If the text is not a JWKS document, or none of its keys can be used.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = |error| format!("this is not a JWKS document: {error}");
        let document: KeySetDocument = serde_json::from_str(text).map_err(invalid)?;
        let mut set = Self { keys: Vec::new(), left_out: Vec::new() };
        for published in &document.keys {
            match usable(published) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.left_out.push(format!("{}: {reason}", name(published))),
            }
        }
        if set.keys.is_empty() {
            let none = "the JWKS document has no signature key for RS256, ES256 or EdDSA";
            return Err(if set.left_out.is_empty() { none.to_owned() } else { format!("{none}; {}", set.unusable()) });
        }
        Ok(set)
    }

    /// Tells the operator which keys of a document are left out. To be called once for each document that is read.
    pub(super) fn warn(&self, document: &str) {
        if !self.left_out.is_empty() {
            let keys = self.unusable();
            tracing::warn!(document, keys, "keys of a JWKS document cannot be used; tokens that they sign are refused");
        }
    }

    /// The keys that are left out, as one text.
    fn unusable(&self) -> String {
        let named: Vec<&str> = self.left_out.iter().take(NAMED_MAX).map(String::as_str).collect();
        match self.left_out.len().saturating_sub(NAMED_MAX) {
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        }
    }
}

/// What the log calls a key.
fn name(published: &Value) -> String {
    match published.get("kid").and_then(Value::as_str) {
        Some(id) => format!("the key {:?}", excerpt(id)),
        None => "a key without `kid`".to_owned(),
    }
}

/// A key of the document, or why the host does not verify with it.
fn usable(published: &Value) -> Result<VerifyingKey, String> {
    let jwk = Jwk::deserialize(published).map_err(|error| excerpt(&error.to_string()))?;
    let algorithm = signature_algorithm(&jwk, published)?;
    let key = published_key(&jwk, algorithm)?;
    Ok(VerifyingKey { algorithm, id: jwk.common.key_id, key })
}

fn signature_algorithm(jwk: &Jwk, published: &Value) -> Result<Algorithm, String> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => return Err("it is symmetric; configure it as `token_secret`".to_owned()),
        _ => return Err(unsupported_kind(published)),
    };
    if jwk.common.public_key_use.as_ref().is_some_and(|key_use| *key_use != PublicKeyUse::Signature) {
        return Err("its `use` is not `sig`".to_owned());
    }
    if jwk.common.key_algorithm.as_ref().is_some_and(|algorithm| *algorithm != name) {
        return Err(format!("its `alg` is not {name}"));
    }
    Ok(algorithm)
}

/// Why a key is of no kind that the host knows.
fn unsupported_kind(published: &Value) -> String {
    match published.get("kty").and_then(Value::as_str) {
        Some("EC" | "OKP") => "its curve is neither P-256 nor Ed25519, or it lacks a part".to_owned(),
        Some("RSA" | "oct") => "it lacks a part".to_owned(),
        Some(kind) => format!("its kind {:?} is not supported", excerpt(kind)),
        None => "it has no `kty`".to_owned(),
    }
}

fn published_key(jwk: &Jwk, algorithm: Algorithm) -> Result<DecodingKey, String> {
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    if let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() {
        return rsa_key(n, e);
    }
    let expected = if algorithm == Algorithm::ES256 { P256_POINT_BYTES } else { ED25519_KEY_BYTES };
    match key.try_get_as_bytes().map_or(0, <[u8]>::len) {
        bytes if bytes == expected => Ok(key),
        bytes => Err(format!("it has {bytes} bytes instead of {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY_SET: &str = include_str!("testdata/jwks.json");

    /// A number of so many bytes, in Base64. The last character has only zero bits beyond the last byte.
    fn number(bytes: usize) -> String {
        format!("{}w", "r".repeat((bytes * 8 - 1) / 6))
    }

    /// Keys that cannot be used, with the reasons.
    fn unusable() -> Vec<(Value, &'static str)> {
        let p256 = |x: &str| json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x });
        vec![
            (json!({ "kty": "RSA", "n": number(128), "e": "AQAB" }), "2,048 to 8,192 bits"),
            (json!({ "kty": "RSA", "n": "?", "e": "AQAB" }), "Base64"),
            (json!({ "kty": "RSA", "e": "AQAB" }), "it lacks a part"),
            (json!({ "kty": "RSA", "n": number(256), "e": "AQAB", "use": "enc" }), "its `use` is not `sig`"),
            (json!({ "kty": "RSA", "n": number(256), "e": "AQAB", "use": 7 }), "invalid type"),
            (json!({ "kty": "RSA", "n": number(256), "e": "AQAB", "alg": "PS256" }), "its `alg` is not RS256"),
            (json!({ "kty": "RSA", "n": number(256), "e": "AQAB", "alg": "made-up" }), "its `alg` is not RS256"),
            (json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }), "neither P-256 nor Ed25519"),
            (json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }), "neither P-256 nor Ed25519"),
            (json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }), "neither P-256 nor Ed25519"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }), "it has 3 bytes instead of 32"),
            (p256("AAAA"), "it has 7 bytes instead of 65"),
            (json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }), "symmetric; configure it as `token_secret`"),
            (json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "x" }), "its kind \"AKP\" is not supported"),
            (json!({}), "it has no `kty`"),
        ]
    }

    #[test]
    fn keys_that_cannot_be_used_are_left_out_and_named_with_the_reason() {
        let set: Value = serde_json::from_str(KEY_SET).unwrap();
        let usable = KeySet::parse(KEY_SET).unwrap();
        assert_eq!(
            (usable.keys.len(), usable.left_out),
            (3, vec!["the key \"enc-1\": its `use` is not `sig`".to_owned()])
        );
        for (mut key, reason) in unusable() {
            key["kid"] = json!("odd");
            let mut longer = set.clone();
            longer["keys"].as_array_mut().unwrap().insert(0, key.clone());
            let found = KeySet::parse(&longer.to_string()).unwrap();
            assert_eq!((found.keys.len(), found.left_out.len()), (3, 2), "{key}");
            let named = &found.left_out[0];
            assert!(named.starts_with("the key \"odd\": ") && named.contains(reason), "{key}: {named}");
        }
    }

    #[test]
    fn a_document_without_a_usable_key_is_refused_with_the_reasons() {
        for (key, reason) in unusable() {
            let problem = KeySet::parse(&json!({ "keys": [key, 7] }).to_string()).unwrap_err();
            assert!(problem.starts_with("the JWKS document has no signature key for"), "{problem}");
            assert!(problem.contains(reason) && problem.contains("a key without `kid`: "), "{problem}");
        }
        let none = KeySet::parse(r#"{"keys":[]}"#).unwrap_err();
        assert!(none.ends_with("no signature key for RS256, ES256 or EdDSA"), "{none}");
    }

    #[test]
    fn only_some_of_many_unusable_keys_are_named() {
        let many: Vec<Value> = (0..NAMED_MAX + 5).map(|number| json!({ "kid": number.to_string() })).collect();
        let problem = KeySet::parse(&json!({ "keys": many }).to_string()).unwrap_err();
        assert!(problem.contains("\"9\": it has no `kty`; and 5 more") && !problem.contains("\"10\""), "{problem}");
    }

    #[test]
    fn published_rsa_keys_need_enough_bits_and_not_too_many() {
        let parsed = |modulus: String| {
            KeySet::parse(&json!({ "keys": [{ "kty": "RSA", "n": modulus, "e": "AQAB" }] }).to_string())
        };
        for (bytes, bits) in [(128, 1_024), (255, 2_040), (1_025, 8_200)] {
            let problem = parsed(number(bytes)).unwrap_err();
            let reason = format!("an RSA key has 2,048 to 8,192 bits, and this one about {bits}; make another key");
            assert!(problem.ends_with(&reason), "{problem}");
        }
        for bytes in [256, 1_024] {
            assert_eq!(parsed(number(bytes)).unwrap().keys.len(), 1);
        }
        // Zero bytes in front do not count.
        let problem = parsed(format!("{}{}", "A".repeat(400), number(128))).unwrap_err();
        assert!(problem.contains("this one about 1024;"), "{problem}");
    }
}
