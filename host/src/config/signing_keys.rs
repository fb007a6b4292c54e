//! The public keys that verify the signatures of components, read from the files that the configuration names.

use wasmsign2::{PublicKey, PublicKeySet};

use super::key::ConfigKey;
use super::value::{Value, quoted};

/// The public keys of those who may sign components. `signing_keys`
#[derive(Clone, Debug)]
pub struct SigningKeys(pub(crate) PublicKeySet);

impl SigningKeys {
    /// Adds the key in the bytes of a file: in PEM, in DER, or in the form that the signature format defines. `false`
    /// if the bytes are no Ed25519 key.
    #[must_use]
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        // A key that is named twice counts once.
        PublicKey::from_any(bytes).map(|key| self.0.items_mut().insert(key)).is_ok()
    }
}

impl Default for SigningKeys {
    /// No keys: components need no signature.
    fn default() -> Self {
        Self(PublicKeySet::empty())
    }
}

impl Value for SigningKeys {
    fn parse_all(texts: &[String], _: &ConfigKey) -> Result<Self, String> {
        let (mut keys, mut problems) = (Self::default(), Vec::new());
        for text in texts {
            match std::fs::read(text) {
                Ok(bytes) if keys.add(&bytes) => {}
                Ok(_) => {
                    problems.push(quoted(text, "not the file of an Ed25519 public key, as `roost keygen` writes it"))
                }
                Err(error) => problems.push(quoted(text, &format!("not readable ({error})"))),
            }
        }
        if problems.is_empty() { Ok(keys) } else { Err(problems.join("; ")) }
    }

    fn unset() -> Self {
        Self::default()
    }
}
