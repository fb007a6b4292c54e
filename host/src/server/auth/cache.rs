//! The cache of tokens with a verified signature, by digest. A client sends the same token with every request, and to
//! verify an RSA or elliptic-curve signature takes longer than most calls. The claims are checked every time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::token::Claims;

/// Beyond this number the cache starts anew. It takes about 2 MiB.
const TOKENS_MAX: usize = 8_192;

type TokenDigest = [u8; 32];

/// The claims of verified tokens.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(Mutex<HashMap<TokenDigest, Arc<Claims>>>);

impl VerifiedTokens {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Claims>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    pub(super) fn put(&self, digest: TokenDigest, claims: Arc<Claims>) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(digest, claims);
    }
}
