//! The cache of tokens with a verified signature, by digest. A client sends the same token with every request, and to
//! verify an RSA or elliptic-curve signature takes longer than most calls. The claims are checked every time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::token::Claims;

/// Beyond this number the cache starts anew. It takes about 2 MiB.
const TOKENS_MAX: usize = 8_192;

type TokenDigest = [u8; 32];

/// The claims of verified tokens.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(Mutex<CachedTokens>);

#[derive(Debug, Default)]
struct CachedTokens {
    claims: HashMap<TokenDigest, Arc<Claims>>,
    /// How often the keys were replaced.
    generation: u64,
}

impl VerifiedTokens {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Claims>> {
        self.lock().claims.get(digest).cloned()
    }

    /// To be read before the keys that verify a token.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Keeps the claims, unless the keys were replaced since this generation was read.
    pub(super) fn put(&self, generation: u64, digest: TokenDigest, claims: Arc<Claims>) {
        let mut tokens = self.lock();
        if tokens.generation != generation {
            return;
        }
        if tokens.claims.len() >= TOKENS_MAX {
            tokens.claims.clear();
        }
        tokens.claims.insert(digest, claims);
    }

    /// Forgets every token, because the keys were replaced.
    pub(super) fn clear(&self) {
        let mut tokens = self.lock();
        tokens.claims.clear();
        tokens.generation += 1;
    }

    fn lock(&self) -> MutexGuard<'_, CachedTokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roost_core::ids::UserId;

    use super::*;

    fn claims() -> Arc<Claims> {
        let user = UserId::from_u128(1);
        Arc::new(Claims { user, expires: Duration::ZERO, not_before: None, issuer: None, audience: Vec::new() })
    }

    #[test]
    fn a_token_that_a_replaced_key_has_verified_is_not_kept() {
        let cache = VerifiedTokens::default();
        let before = cache.generation();
        cache.put(before, [1; 32], claims());
        assert!(cache.get(&[1; 32]).is_some());
        cache.clear();
        assert!(cache.get(&[1; 32]).is_none());
        cache.put(before, [1; 32], claims());
        assert!(cache.get(&[1; 32]).is_none(), "it was verified with the keys from before");
        cache.put(cache.generation(), [1; 32], claims());
        assert!(cache.get(&[1; 32]).is_some());
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = VerifiedTokens::default();
        for number in 0..=TOKENS_MAX {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            cache.put(0, digest, claims());
        }
        assert_eq!(cache.lock().claims.len(), 1);
    }
}
