//! The keys that verify tokens. The kind of a key fixes its algorithm, so that a token cannot choose one.

use jsonwebtoken::{Algorithm, DecodingKey};

/// The size of an uncompressed point of P-256, the curve of ES256.
pub(super) const P256_POINT_BYTES: usize = 65;
/// The sizes of RSA keys that `ring` verifies with: from 2,048 to 8,192 bits.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;
/// The DER tags of the two types that an RSA public key consists of.
const DER_INTEGER: u8 = 0x02;
const DER_SEQUENCE: u8 = 0x30;

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
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Ok(Self { algorithm: Algorithm::EdDSA, id: None, key });
        }
        let key = DecodingKey::from_rsa_pem(pem).ok();
        let numbers = key.as_ref().and_then(|key| key.try_get_as_bytes().ok()).and_then(rsa_numbers);
        let (modulus, exponent) = numbers.ok_or("the file is not a PEM public key of RSA, P-256 or Ed25519")?;
        Ok(Self { algorithm: Algorithm::RS256, id: None, key: rsa_key(modulus, exponent)? })
    }
}

/// An RSA key of the numbers that it consists of, without leading zero bytes: some issuers publish them, and `ring`
/// refuses such a key.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, String> {
    let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
    // As in `ring`, whole bytes count: the highest bit of a key of 2,048 bits may be zero.
    if !RSA_MODULUS_BYTES.contains(&modulus.len()) {
        let bits = modulus.len() * 8;
        return Err(format!("an RSA key has 2,048 to 8,192 bits, and this one about {bits}; make another key"));
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

/// The modulus and the exponent of an RSA public key in DER (RFC 8017, A.1.1): a sequence of two integers.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (numbers, []) = der_value(DER_SEQUENCE, der)? else { return None };
    let (modulus, rest) = der_value(DER_INTEGER, numbers)?;
    let (exponent, []) = der_value(DER_INTEGER, rest)? else { return None };
    Some((modulus, exponent))
}

/// The value of the DER element at the beginning of these bytes, if it has this tag, and the bytes after it.
fn der_value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = match rest {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        // Two bytes of length are enough for the largest key that is allowed.
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sequence_of_two_integers_is_an_rsa_key() {
        let der = [0x30, 7, 2, 2, 0, 9, 2, 1, 3];
        assert_eq!(rsa_numbers(&der), Some(([0, 9].as_slice(), [3].as_slice())));
        for length in 0..der.len() {
            assert_eq!(rsa_numbers(&der[..length]), None, "{length} bytes");
        }
        let bad: [&[u8]; 5] = [
            &[0x31, 7, 2, 2, 0, 9, 2, 1, 3],
            &[0x30, 7, 2, 2, 0, 9, 4, 1, 3],
            &[0x30, 7, 2, 2, 0, 9, 2, 1, 3, 0],
            &[0x30, 8, 2, 2, 0, 9, 2, 1, 3, 0],
            &[0x30, 0x83, 0, 0, 7, 2, 2, 0, 9, 2, 1, 3],
        ];
        for bad in bad {
            assert_eq!(rsa_numbers(bad), None, "{bad:?}");
        }
        let long: [&[u8]; 2] = [&[0x30, 0x81, 7], &[0x30, 0x82, 0, 7]];
        for head in long {
            assert!(rsa_numbers(&[head, &der[2..]].concat()).is_some(), "{head:?}");
        }
    }
}
