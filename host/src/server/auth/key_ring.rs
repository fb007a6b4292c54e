//! The keys that verify tokens at present, and the tokens that they have verified. The keys of a source can be replaced
//! while requests are verified; where the keys come from is in the other files of this folder.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::cache::VerifiedTokens;
use super::digest;
use super::key::VerifyingKey;
use super::token::{self, Claims};
use crate::server::problem::ApiError;

/// The keys of all sources.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// By source, in the order of the configuration.
    sources: Mutex<Vec<Vec<VerifyingKey>>>,
    /// The same keys in one list, for verification.
    keys: ArcSwap<Vec<VerifyingKey>>,
    verified: VerifiedTokens,
}

impl KeyRing {
    pub(super) fn new(sources: Vec<Vec<VerifyingKey>>) -> Self {
        let keys = ArcSwap::from_pointee(sources.concat());
        Self { sources: Mutex::new(sources), keys, verified: VerifiedTokens::default() }
    }

    /// Replaces the keys of a source. Tokens that an earlier key has verified are verified again.
    pub(super) fn replace(&self, source: usize, keys: Vec<VerifyingKey>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.get_mut(source) {
            *known = keys;
        }
        self.keys.store(Arc::new(sources.concat()));
        // After the new keys are in use: whoever still verifies with the old ones cannot add to the cache any more.
        self.verified.clear();
    }

    /// Verifies a token's signature and checks its claims.
    pub(super) fn verify<T>(
        &self,
        token: &str,
        check: impl FnOnce(&Claims) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let digest = digest(token);
        if let Some(claims) = self.verified.get(&digest) {
            return check(&claims);
        }
        let generation = self.verified.generation();
        let claims = Arc::new(token::verify(token, &self.keys.load())?);
        let checked = check(&claims)?;
        self.verified.put(generation, digest, claims);
        Ok(checked)
    }

    /// Whether the header of this token names a public key that is not among the keys.
    pub(super) fn lacks_key_of(&self, token: &str) -> bool {
        token::lacks_key(token, &self.keys.load())
    }
}
