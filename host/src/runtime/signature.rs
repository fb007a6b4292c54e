//! Signatures of components, in the WebAssembly module signature format with Ed25519. `wasmsign2` makes and verifies
//! them; this file bounds what it reads, and turns its results into refusals.

use wasmsign2::{KeyPair, Module, SecretKey, WSError};

use super::loader::{DeployFailure, check_kind};
use crate::config::SigningKeys;

/// The magic number, the version and the layer of a component, in bytes.
const HEADER_BYTES: usize = 8;
/// The id of a custom section.
const CUSTOM: u8 = 0;
/// The name of the section with the signatures, which is the first one.
const SECTION: &[u8] = b"signature";
/// The version of the format, the kind of content and the hash function, before the signatures.
const IDENTIFIERS_BYTES: usize = 3;
/// The length of a SHA-256 hash.
const HASH_BYTES: usize = 32;

/// Checks that one of the keys has signed the component, if there are any keys.
pub(super) fn verify(component: &[u8], keys: &SigningKeys) -> Result<(), DeployFailure> {
    if keys.0.is_empty() {
        return Ok(());
    }
    let signatures = signature_section(component).ok_or(DeployFailure::SignatureMissing)?;
    check_lengths(signatures).ok_or(DeployFailure::SignatureInvalid)?;
    match keys.0.verify(&mut &*component, None) {
        Ok(_) => Ok(()),
        Err(WSError::NoSignatures) => Err(DeployFailure::SignatureMissing),
        Err(error) => {
            tracing::debug!(%error, "a signature was not accepted");
            Err(DeployFailure::SignatureInvalid)
        }
    }
}

/// The component with a signature in place of those that it has.
pub(crate) fn sign(component: &[u8], key: &SecretKey) -> Result<Vec<u8>, DeployFailure> {
    check_kind(component)?;
    let unreadable = |error: WSError| DeployFailure::Compile(format!("its sections cannot be read ({error})"));
    let module = Module::deserialize(&mut &*component).map_err(unreadable)?;
    let mut signed = Vec::with_capacity(component.len());
    key.sign(module, None).and_then(|module| module.serialize(&mut signed)).map_err(unreadable)?;
    Ok(signed)
}

/// A new secret key and its public key, both in PEM.
pub(crate) fn generate_keys() -> (String, String) {
    let pair = KeyPair::generate();
    (pair.sk.to_pem(), pair.pk.to_pem())
}

/// The secret key in the bytes of a file: in PEM, in DER, or in the form that the signature format defines.
pub(crate) fn parse_secret_key(bytes: &[u8]) -> Option<SecretKey> {
    SecretKey::from_any(bytes).ok()
}

/// The content of the section with the signatures; `None` if the component has none.
fn signature_section(component: &[u8]) -> Option<Encoded<'_>> {
    let mut sections = Encoded(component.get(HEADER_BYTES..)?);
    let id = sections.byte()?;
    let mut section = sections.block()?;
    let name = section.block()?;
    (id == CUSTOM && name.0 == SECTION).then_some(section)
}

/// Checks that no length points behind the end of what contains it. `wasmsign2` reserves as many bytes as a length asks
/// for before it reads them, which would end the process where memory is limited.
fn check_lengths(mut signatures: Encoded<'_>) -> Option<()> {
    signatures.take(IDENTIFIERS_BYTES)?;
    for _ in 0..signatures.number()? {
        let mut signed_hashes = signatures.block()?;
        let hashes = signed_hashes.number()?;
        signed_hashes.take(hashes.checked_mul(HASH_BYTES)?)?;
        for _ in 0..signed_hashes.number()? {
            let mut signature = signed_hashes.block()?;
            let _key_id = signature.block()?;
            let _algorithm = signature.byte()?;
            let _signature = signature.block()?;
        }
    }
    Some(())
}

/// Bytes in the encoding of WebAssembly. What is read is taken away from the front.
struct Encoded<'a>(&'a [u8]);

impl<'a> Encoded<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of up to 32 bits in LEB128.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok()?.try_into().ok();
            }
        }
        None
    }

    /// A length, and as many bytes.
    fn block(&mut self) -> Option<Self> {
        let length = self.number()?;
        self.take(length).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with one custom section.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\0\x06\x05stamp";

    /// A new secret key, and a set with its public key.
    fn keys() -> (SecretKey, SigningKeys) {
        let (secret, public) = generate_keys();
        let mut keys = SigningKeys::default();
        assert!(keys.add(public.as_bytes()));
        (parse_secret_key(secret.as_bytes()).unwrap(), keys)
    }

    /// Where the section with the signatures ends.
    fn section_end(signed: &[u8]) -> usize {
        let mut sections = Encoded(&signed[HEADER_BYTES..]);
        assert_eq!(sections.byte(), Some(CUSTOM), "{signed:?}");
        sections.block().unwrap();
        signed.len() - sections.0.len()
    }

    #[test]
    fn a_component_is_accepted_with_a_signature_of_any_configured_key() {
        let (secret, mut keys) = keys();
        let signed = sign(COMPONENT, &secret).unwrap();
        assert_eq!(verify(&signed, &keys), Ok(()));
        assert_eq!(signed[section_end(&signed)..], COMPONENT[HEADER_BYTES..], "only a section is added");
        let (newer, public) = generate_keys();
        assert!(keys.add(public.as_bytes()));
        let signed_again = sign(&signed, &parse_secret_key(newer.as_bytes()).unwrap()).unwrap();
        assert_eq!(signed_again.len(), signed.len(), "the signature is replaced");
        assert_eq!((verify(&signed, &keys), verify(&signed_again, &keys)), (Ok(()), Ok(())));
    }

    #[test]
    fn without_configured_keys_no_signature_is_needed() {
        assert_eq!(verify(COMPONENT, &SigningKeys::default()), Ok(()));
    }

    #[test]
    fn a_component_without_a_signature_is_refused() {
        let (secret, keys) = keys();
        let signed = sign(COMPONENT, &secret).unwrap();
        let (header, section) = signed[..section_end(&signed)].split_at(HEADER_BYTES);
        let at_the_end = [COMPONENT, section].concat();
        let empty = [header, &b"\0\x0a\x09signature"[..]].concat();
        for unsigned in [COMPONENT, b"\0asm\x0d\0\x01\0", b"", &at_the_end] {
            assert_eq!(verify(unsigned, &keys), Err(DeployFailure::SignatureMissing), "{unsigned:?}");
        }
        assert_eq!(verify(&empty, &keys), Err(DeployFailure::SignatureInvalid));
    }

    #[test]
    fn a_component_that_was_changed_or_that_another_key_has_signed_is_refused() {
        let (secret, keys) = keys();
        let signed = sign(COMPONENT, &secret).unwrap();
        // The bytes before decide whether there is a section with signatures at all.
        for index in HEADER_BYTES + 12..signed.len() {
            let mut changed = signed.clone();
            changed[index] ^= 1;
            assert_eq!(verify(&changed, &keys), Err(DeployFailure::SignatureInvalid), "byte {index}");
        }
        let longer = [&signed, &b"\0\x06\x05stamp"[..]].concat();
        assert_eq!(verify(&longer, &keys), Err(DeployFailure::SignatureInvalid));
        let (stranger, _) = self::keys();
        assert_eq!(verify(&sign(COMPONENT, &stranger).unwrap(), &keys), Err(DeployFailure::SignatureInvalid));
    }

    #[test]
    fn a_length_behind_the_end_is_refused_before_memory_is_reserved_for_it() {
        let (secret, keys) = keys();
        let signed = sign(COMPONENT, &secret).unwrap();
        let section = section_end(&signed);
        for cut in HEADER_BYTES..section {
            assert!(verify(&signed[..cut], &keys).is_err(), "{cut}");
        }
        let whole = signature_section(&signed).unwrap();
        assert!(check_lengths(Encoded(whole.0)).is_some());
        for length in 0..whole.0.len() {
            assert!(check_lengths(Encoded(&whole.0[..length])).is_none(), "{length}");
        }
        // A key id of 4 GiB.
        assert!(check_lengths(Encoded(b"\x01\x01\x01\x01\x08\0\x01\x05\xff\xff\xff\xff\x0f")).is_none());
        assert!(Encoded(b"\xff\xff\xff\xff\x1f").number().is_none(), "more than 32 bits");
    }

    #[test]
    fn only_components_are_signed() {
        let (secret, _) = keys();
        assert_eq!(sign(b"\0asm\x01\0\0\0", &secret), Err(DeployFailure::CoreModule));
        assert_eq!(sign(b"text", &secret), Err(DeployFailure::NotWasm));
        let cut_off = sign(&COMPONENT[..COMPONENT.len() - 1], &secret);
        assert!(matches!(cut_off, Err(DeployFailure::Compile(_))), "{cut_off:?}");
    }

    #[test]
    fn keys_that_openssl_has_made_can_be_used() {
        const SECRET: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIICZsZHnGmoZ/RtVHBJfJHTm+jC4ZoqwN6/nP5OxMMZq\n\
                              -----END PRIVATE KEY-----\n";
        const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAzxk/CF/FtKxMX+cWrfdgug0xxKT2BCCfhxLKhk59OKo=\n\
                              -----END PUBLIC KEY-----\n";
        let mut keys = SigningKeys::default();
        assert!(keys.add(PUBLIC.as_bytes()) && !keys.add(b"no key") && !keys.add(SECRET.as_bytes()));
        let signed = sign(COMPONENT, &parse_secret_key(SECRET.as_bytes()).unwrap()).unwrap();
        assert_eq!(verify(&signed, &keys), Ok(()));
    }
}
