//! Authentication: users' tokens, service keys and the `Roost-User` header.
//!
//! The access of a route decides what a caller may do there. `key` and `key_set` parse keys, `key_file` and
//! `key_set_url` keep them up to date, `token` verifies a signature with `crypto`, and this module checks the claims.

mod cache;
mod credentials;
pub(crate) mod crypto;
pub(crate) mod issuer;
mod key;
mod key_file;
mod key_ring;
mod key_set;
mod key_set_url;
mod token;
mod token_keys;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roost_core::ids::UserId;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

pub(crate) use credentials::SUBPROTOCOL;
pub use credentials::{Credentials, parse_bearer, parse_subprotocols};
pub use key_file::KeyFileError;
pub use token::{Claims, parse_claims};
pub(crate) use token_keys::TokenKeys;

use crate::config::AuthConfig;
use crate::runtime::{Access, Caller};
use crate::server::problem::{ApiError, ErrorCode};

/// The sender of a request, after its credentials were verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user, by a token.
    User {
        /// The user that the token names.
        user: UserId,
        /// When the token expires, leeway included.
        expires_at: SystemTime,
    },
    /// A service, by its key.
    Service {
        /// The user for whom the service acts.
        acting_for: Option<UserId>,
    },
    /// A sender without credentials.
    Anonymous,
}

impl Identity {
    /// The user on whose behalf the request is made.
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::User { user, .. } => Some(*user),
            Self::Service { acting_for } => *acting_for,
            Self::Anonymous => None,
        }
    }

    /// When the identity expires. Only a user's does.
    pub const fn expires_at(&self) -> Option<SystemTime> {
        match self {
            Self::User { expires_at, .. } => Some(*expires_at),
            _ => None,
        }
    }

    /// The caller that a function sees, if this access allows the sender in.
    pub fn authorize(&self, access: Access) -> Result<Caller, ApiError> {
        match (access, self) {
            (Access::Public, Self::Anonymous) => Ok(Caller::Anonymous),
            (_, Self::Anonymous) => Err(ErrorCode::Unauthenticated.into()),
            (Access::Service, Self::User { .. }) => Err(ErrorCode::ServiceOnly.into()),
            (_, Self::User { user, .. }) => Ok(Caller::User(*user)),
            (_, Self::Service { acting_for: Some(user) }) => Ok(Caller::ServiceFor(*user)),
            (Access::User, Self::Service { acting_for: None }) => Err(ErrorCode::UserRequired.into()),
            (_, Self::Service { acting_for: None }) => Ok(Caller::Service),
        }
    }

    /// The user, for routes that need one.
    pub(crate) fn require_user(&self) -> Result<UserId, ApiError> {
        match self.authorize(Access::User)? {
            Caller::User(user) | Caller::ServiceFor(user) => Ok(user),
            _ => Err(ErrorCode::UserRequired.into()),
        }
    }
}

/// Verifies credentials with the configured keys.
#[derive(Debug)]
pub struct Authenticator {
    keys: Arc<TokenKeys>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    service_keys: Vec<[u8; 32]>,
    origins: Vec<String>,
}

impl Authenticator {
    /// Reads the key files that the configuration names.
    pub fn new(config: &AuthConfig) -> Result<Self, KeyFileError> {
        Ok(Self {
            keys: Arc::new(TokenKeys::load(config)?),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway,
            service_keys: config.service_keys.iter().map(|secret| digest(&secret.0)).collect(),
            origins: config.allowed_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        })
    }

    /// The keys that verify tokens, for the task that keeps them up to date.
    pub(crate) const fn keys(&self) -> &Arc<TokenKeys> {
        &self.keys
    }

    /// As [`Authenticator::identify`]. If the token names a key that is not known, the key set behind `token_jwks_url`
    /// is read again first, within its bounds.
    pub(crate) async fn identify_or_ask(
        &self,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Result<Identity, ApiError> {
        let refused = match self.identify(credentials, now) {
            Err(error) if error.is(ErrorCode::TokenInvalid) => error,
            identified => return identified,
        };
        match credentials.token() {
            Some(token) if self.keys.learn_key_of(token).await? => self.identify(credentials, now),
            _ => Err(refused),
        }
    }

    /// Verifies the credentials of a request.
    pub fn identify(&self, credentials: &Credentials, now: SystemTime) -> Result<Identity, ApiError> {
        if let Some(key) = &credentials.bearer
            && self.is_service_key(key)
        {
            let acting_for = credentials.user_header.as_deref().map(parse_user_header).transpose()?;
            return Ok(Identity::Service { acting_for });
        }
        let Some(token) = credentials.token() else {
            return match credentials.user_header {
                Some(_) => Err(ErrorCode::Unauthenticated.into()),
                None => Ok(Identity::Anonymous),
            };
        };
        let identity = self.verify(token, now)?;
        match credentials.user_header {
            Some(_) => Err(ErrorCode::UserHeaderRefused.into()),
            None => Ok(identity),
        }
    }

    /// The origins whose pages may call; none if nothing is configured.
    pub(crate) fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether a page of this origin may open a socket. Clients other than browsers send no origin.
    pub(crate) fn origin_allowed(&self, origin: Option<&str>) -> bool {
        match origin {
            None => true,
            Some(_) if self.origins.is_empty() => true,
            Some(origin) => self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }

    /// Verifies a user's token.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, ApiError> {
        self.keys.ring.verify(token, |claims| self.check_claims(claims, now))
    }

    fn check_claims(&self, claims: &Claims, now: SystemTime) -> Result<Identity, ApiError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_at = claims.expires.saturating_add(self.leeway);
        if expires_at <= now {
            return Err(ErrorCode::TokenExpired.into());
        }
        if claims.not_before.is_some_and(|start| start > now.saturating_add(self.leeway)) {
            return Err(ErrorCode::TokenNotYetValid.into());
        }
        if let Some(issuer) = &self.issuer
            && claims.issuer.as_ref() != Some(issuer)
        {
            let detail = format!("the token's `iss` must be {issuer:?}; use a token of that issuer");
            return Err(ApiError::new(ErrorCode::TokenIssuer, detail));
        }
        if let Some(audience) = &self.audience
            && !claims.audience.contains(audience)
        {
            let detail = format!("the token's `aud` must name {audience:?}; ask the issuer for a token that does");
            return Err(ApiError::new(ErrorCode::TokenAudience, detail));
        }
        // A time that the system's clock cannot express is replaced by one in the far future.
        let latest = || UNIX_EPOCH.checked_add(now.saturating_add(FAR_FUTURE));
        let expires_at = UNIX_EPOCH.checked_add(expires_at).or_else(latest).ok_or(ErrorCode::TokenExpired)?;
        Ok(Identity::User { user: claims.user, expires_at })
    }

    /// Compares with every key, so that the time taken reveals nothing.
    fn is_service_key(&self, text: &str) -> bool {
        let given = digest(text);
        let found = self.service_keys.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&given));
        bool::from(found)
    }
}

/// A hundred years: longer than any connection lives.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn parse_user_header(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|_| ErrorCode::UserHeaderInvalid.into())
}

#[cfg(test)]
mod tests;
