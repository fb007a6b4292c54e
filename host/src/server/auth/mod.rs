//! Who is asking: users' tokens, service keys and the `Roost-User` header.
//!
//! What a route lets them do is the route's business. Nothing here reads the network; keys are files.

mod cache;
mod credentials;
pub mod issuer;
mod key;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roost_core::ids::UserId;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use cache::Cache;
pub use credentials::{Credentials, SUBPROTOCOL, parse_bearer, parse_subprotocols};
pub use key::{KeyError, VerifyingKey};
pub use token::{Claims, parse_claims};

use crate::config::AuthConfig;
use crate::runtime::{Access, Caller};
use crate::server::problem::{ApiError, Code};

/// Who showed valid credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user's token.
    User {
        /// Whose.
        user: UserId,
        /// When the token, with the leeway, is no longer good.
        until: SystemTime,
    },
    /// A service key.
    Service {
        /// The user that the service named.
        acting_for: Option<UserId>,
    },
    /// Nothing was shown.
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

    /// When the identity ends; a service's never does.
    pub const fn until(&self) -> Option<SystemTime> {
        match self {
            Self::User { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// On whose behalf a function is called, if the route lets them in.
    pub fn enter(&self, access: Access) -> Result<Caller, ApiError> {
        match (access, self) {
            (Access::Public, Self::Anonymous) => Ok(Caller::Anonymous),
            (_, Self::Anonymous) => Err(unauthenticated()),
            (Access::Service, Self::User { .. }) => Err(Code::ServiceOnly.into()),
            (Access::Service, Self::Service { .. }) => Ok(Caller::Service),
            (_, Self::User { user, .. }) => Ok(Caller::User(*user)),
            (_, Self::Service { acting_for: Some(user) }) => Ok(Caller::User(*user)),
            (Access::User, Self::Service { acting_for: None }) => Err(user_required()),
            (_, Self::Service { acting_for: None }) => Ok(Caller::Service),
        }
    }

    /// The user, for routes that are about one.
    pub fn require_user(&self) -> Result<UserId, ApiError> {
        match self.enter(Access::User)? {
            Caller::User(user) => Ok(user),
            _ => Err(user_required()),
        }
    }
}

fn unauthenticated() -> ApiError {
    ApiError::new(Code::Unauthenticated, "send the header `Authorization: Bearer <token>`")
}

fn user_required() -> ApiError {
    ApiError::new(Code::UserRequired, "name the user in the header Roost-User: a service key alone is nobody here")
}

/// Verifies credentials.
#[derive(Debug)]
pub struct Authenticator {
    keys: Vec<VerifyingKey>,
    verified: Cache,
    audience: Option<String>,
    leeway: Duration,
    service_keys: Vec<[u8; 32]>,
    origins: Vec<String>,
}

impl Authenticator {
    /// Reads the key files that the configuration names.
    pub fn new(config: &AuthConfig) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for source in &config.keys {
            keys.extend(VerifyingKey::load(source)?);
        }
        Ok(Self {
            keys,
            verified: Cache::default(),
            audience: config.audience.clone(),
            leeway: config.leeway,
            service_keys: config.service_keys.iter().map(|secret| digest(&secret.0)).collect(),
            origins: config.allowed_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
        })
    }

    /// Who shows these credentials at this moment.
    pub fn identify(&self, credentials: &Credentials, now: SystemTime) -> Result<Identity, ApiError> {
        if let Some(key) = &credentials.header
            && self.is_service_key(key)
        {
            let acting_for = credentials.user_header.as_deref().map(parse_user_header).transpose()?;
            return Ok(Identity::Service { acting_for });
        }
        let Some(token) = credentials.token() else {
            return match credentials.user_header {
                Some(_) => Err(unauthenticated()),
                None => Ok(Identity::Anonymous),
            };
        };
        let identity = self.verify(token, now)?;
        match credentials.user_header {
            Some(_) => Err(ApiError::new(Code::UserHeaderRefused, "a user's token already says whose it is")),
            None => Ok(identity),
        }
    }

    /// Whether a page of this origin may open a socket. Clients that are no page send none.
    pub fn origin_allowed(&self, origin: Option<&str>) -> bool {
        match origin {
            None => true,
            Some(_) if self.origins.is_empty() => true,
            Some(origin) => self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        }
    }

    /// Checks a user's token.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, ApiError> {
        let digest = digest(token);
        if let Some(claims) = self.verified.get(&digest) {
            return self.judge(&claims, now);
        }
        let claims = Arc::new(token::verify(token, &self.keys)?);
        let identity = self.judge(&claims, now)?;
        self.verified.put(digest, claims);
        Ok(identity)
    }

    fn judge(&self, claims: &Claims, now: SystemTime) -> Result<Identity, ApiError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = claims.expires.saturating_add(self.leeway);
        if until <= now {
            return Err(Code::TokenExpired.into());
        }
        if claims.not_before.is_some_and(|start| start > now.saturating_add(self.leeway)) {
            return Err(Code::TokenNotYetValid.into());
        }
        if let Some(audience) = &self.audience
            && !claims.audience.contains(audience)
        {
            return Err(ApiError::new(Code::TokenAudience, "the token's `aud` does not name this service"));
        }
        // A moment that the system's clock cannot express never comes: it is always far away.
        let until = UNIX_EPOCH.checked_add(until).or_else(|| UNIX_EPOCH.checked_add(now.saturating_add(FAR)));
        let until = until.ok_or(Code::TokenExpired)?;
        Ok(Identity::User { user: claims.user, until })
    }

    /// Looks at every key, so that the time taken says nothing.
    fn is_service_key(&self, text: &str) -> bool {
        let shown = digest(text);
        let found = self.service_keys.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&shown));
        bool::from(found)
    }
}

/// A hundred years: longer than any connection.
const FAR: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn parse_user_header(text: &str) -> Result<UserId, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::UserHeaderInvalid, "Roost-User takes a user's UUID"))
}

#[cfg(test)]
mod tests;
