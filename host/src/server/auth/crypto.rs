//! The signatures of tokens, by the library `ring`, which TLS uses too. `jsonwebtoken` reads and writes tokens, and
//! leaves signing and verifying to what is installed here.
//!
//! The host verifies HS256, RS256, ES256 and EdDSA, and issues HS256. The other algorithms that can sign are for tests.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, TokenData, Validation};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use ring::{error, hmac};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `key_utils` describes keys as JWKs, which the host never does.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Installs the library for the signatures of tokens. Further calls have no effect.
pub(crate) fn install() {
    // It fails only if a library was installed before, and nothing else in the process installs one.
    let _ = PROVIDER.install_default();
}

/// A signed token with these claims.
pub(crate) fn encode(header: &Header, claims: &impl Serialize, key: &EncodingKey) -> Result<String, Error> {
    // Without it `jsonwebtoken` panics, then and at every later call.
    install();
    jsonwebtoken::encode(header, claims, key)
}

/// The claims of a token whose signature is valid.
pub(super) fn decode<T: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    validation: &Validation,
) -> Result<TokenData<T>, Error> {
    install();
    jsonwebtoken::decode(token, key, validation)
}

struct TokenVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    match algorithm {
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {
            Ok(Box::new(TokenVerifier { algorithm: *algorithm, key: key.clone() }))
        }
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

impl JwtVerifier for TokenVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for TokenVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => Err(error::Unspecified),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

struct TokenSigner {
    algorithm: Algorithm,
    key: EncodingKey,
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(TokenSigner { algorithm: *algorithm, key: key.clone() }))
}

impl JwtSigner for TokenSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Signer<Vec<u8>> for TokenSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let key = self.key.as_bytes();
        let signed = match self.algorithm {
            Algorithm::HS256 => Some(hmac_sign(hmac::HMAC_SHA256, key, message)),
            Algorithm::HS512 => Some(hmac_sign(hmac::HMAC_SHA512, key, message)),
            Algorithm::RS256 => rsa_sign(&RSA_PKCS1_SHA256, key, message),
            Algorithm::RS512 => rsa_sign(&RSA_PKCS1_SHA512, key, message),
            Algorithm::ES256 => ecdsa_sign(key, message),
            Algorithm::EdDSA => ed25519_sign(key, message),
            _ => None,
        };
        signed.ok_or_else(signature::Error::new)
    }
}

fn hmac_sign(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}

fn rsa_sign(algorithm: &'static dyn RsaEncoding, key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let pair = RsaKeyPair::from_der(key).ok()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(algorithm, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}

fn ecdsa_sign(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random).ok()?;
    Some(pair.sign(&random, message).ok()?.as_ref().to_vec())
}

fn ed25519_sign(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    // "Maybe unchecked", because what OpenSSL writes has no public key to compare with.
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).ok()?;
    Some(pair.sign(message).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair;

    use super::*;
    use crate::server::auth::key::VerifyingKey;

    const MESSAGE: &[u8] = b"header.claims";
    /// Signatures of [`MESSAGE`] by OpenSSL, with the private keys of `testdata` and the secret `secret`.
    const OF_OPENSSL: [(Algorithm, &str); 4] = [
        (Algorithm::HS256, "oxo4u98hBmq2FFaJFr1lQmUaHG4wkEmjegCy4dTD0Fg"),
        (
            Algorithm::RS256,
            "QxY_nYnDSCH5VzEijf6F-NSJEQIrcZv106PV4R21OTrEfwqJsejMK7f9lsWx-mOc7vJy0cwTMt9eXXspalkyrCD8-aEQutp5ZbS1\
             oGbK8z9wH7mODMncLJMziGS0-fjffxwMvSuULIq1-VkMVCG0rrYjVFJxtPTsa7R2fNBtSvvlotrfxeNyz94IZq8e3R8czs1UbGLt\
             rpFdYvhXhvyNQbqsd7OTSo7EPf-lqlzgWiFVxWK7rmUGIT6g5b2Zcn1DCzSs_-M1G6NQoGxvOdxvagj965JiShoqPkdL033rTrpU\
             9bE2FcWWv6ura4CuNzqluyj8Dx8GY2-EA5xaGVKpmA",
        ),
        (Algorithm::ES256, "Q3vazxWMir1Aefp9oB1ajUWzi630yJNFyI2xL3VZlyKNcduCDSB9WbUR0RQ5NbtKjYdgtdxQfTutomopjArdaQ"),
        (Algorithm::EdDSA, "ELB2TsPFwEIrZvZp_581Qt3Ox0DNGangYbPKItyUEk7pD2vWzv-fhIHfOLoJLtrVcXkj100TWQlnoeKIvmulAw"),
    ];

    /// The keys of `testdata` that sign and verify with this algorithm.
    fn keys(algorithm: Algorithm) -> (EncodingKey, DecodingKey) {
        let (signing, verifying) = match algorithm {
            Algorithm::HS256 => return (EncodingKey::from_secret(b"secret"), DecodingKey::from_secret(b"secret")),
            Algorithm::RS256 => {
                (EncodingKey::from_rsa_pem(include_bytes!("testdata/rsa.pem")), include_str!("testdata/rsa.pub.pem"))
            }
            Algorithm::ES256 => {
                (EncodingKey::from_ec_pem(include_bytes!("testdata/p256.pem")), include_str!("testdata/p256.pub.pem"))
            }
            _ => (
                EncodingKey::from_ed_pem(include_bytes!("testdata/ed25519.pem")),
                include_str!("testdata/ed25519.pub.pem"),
            ),
        };
        (signing.unwrap(), VerifyingKey::public_key(verifying).unwrap().key)
    }

    fn verifies(algorithm: Algorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
        verifier(&algorithm, key).unwrap().verify(message, &signature.to_vec()).is_ok()
    }

    /// Verifies a signature, and tries changed ones, signatures of another length, another message and another key.
    #[track_caller]
    fn check(algorithm: Algorithm, other: &DecodingKey) {
        let (signing, key) = keys(algorithm);
        let signature = signer(&algorithm, &signing).unwrap().try_sign(MESSAGE).unwrap();
        assert!(verifies(algorithm, &key, MESSAGE, &signature));
        for position in 0..signature.len() {
            let mut changed = signature.clone();
            changed[position] ^= 1;
            assert!(!verifies(algorithm, &key, MESSAGE, &changed), "byte {position} was changed");
        }
        let longer = [signature.as_slice(), &[0]].concat();
        for wrong in [&signature[..0], &signature[1..], &signature[..signature.len() - 1], &longer[..]] {
            assert!(!verifies(algorithm, &key, MESSAGE, wrong), "{} bytes", wrong.len());
        }
        assert!(!verifies(algorithm, &key, b"header.other", &signature));
        assert!(!verifies(algorithm, other, MESSAGE, &signature));
    }

    #[test]
    fn hs256_verifies_only_what_its_secret_signs() {
        check(Algorithm::HS256, &DecodingKey::from_secret(b"Secret"));
    }

    #[test]
    fn rs256_verifies_only_what_its_key_signs() {
        let (_, key) = keys(Algorithm::RS256);
        let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { panic!("not an RSA key") };
        let mut modulus = n.clone();
        modulus[100] ^= 1;
        check(Algorithm::RS256, &DecodingKey::from_rsa_raw_components(&modulus, e));
    }

    #[test]
    fn es256_verifies_only_what_its_key_signs() {
        let random = SystemRandom::new();
        let other = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let other = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, other.as_ref(), &random).unwrap();
        check(Algorithm::ES256, &DecodingKey::from_ec_der(other.public_key().as_ref()));
    }

    #[test]
    fn eddsa_verifies_only_what_its_key_signs() {
        let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        check(Algorithm::EdDSA, &DecodingKey::from_ed_der(other.public_key().as_ref()));
    }

    #[test]
    fn signatures_of_another_library_are_verified() {
        install();
        for (algorithm, signature) in OF_OPENSSL {
            let (_, key) = keys(algorithm);
            assert!(jsonwebtoken::crypto::verify(signature, MESSAGE, &key, algorithm).unwrap(), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_of_another_family_is_refused() {
        let algorithms = OF_OPENSSL.map(|(algorithm, _)| algorithm);
        for algorithm in algorithms {
            let (signing, verifying) = keys(algorithm);
            for other in algorithms.into_iter().filter(|other| *other != algorithm) {
                assert!(verifier(&other, &verifying).is_err() && signer(&other, &signing).is_err(), "{other:?}");
            }
        }
    }

    #[test]
    fn other_algorithms_verify_nothing() {
        let (rsa, ec) = (keys(Algorithm::RS256).1, keys(Algorithm::ES256).1);
        let secret = keys(Algorithm::HS256).1;
        for (algorithm, key) in [
            (Algorithm::HS384, &secret),
            (Algorithm::HS512, &secret),
            (Algorithm::RS384, &rsa),
            (Algorithm::RS512, &rsa),
            (Algorithm::PS256, &rsa),
            (Algorithm::ES384, &ec),
        ] {
            assert!(verifier(&algorithm, key).is_err(), "{algorithm:?}");
        }
    }
}
