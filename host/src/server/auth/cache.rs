//! Tokens whose signature was found good, by digest: a client shows the same token with every request, and
//! checking an RSA or elliptic-curve signature takes longer than most calls. Their times are judged every time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::token::Claims;

/// Beyond this the cache begins anew; about 2 MiB.
const TOKENS_MAX: usize = 8_192;

type Digest = [u8; 32];

/// Good tokens.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Digest, Arc<Claims>>>);

impl Cache {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Claims>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    pub(super) fn put(&self, digest: Digest, claims: Arc<Claims>) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(digest, claims);
    }
}
