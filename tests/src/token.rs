//! The secrets that the started hosts are configured with, and valid and invalid user tokens made with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The secret that signs and verifies user tokens.
pub const SECRET: &str = "a-secret-of-tests-0123456789abcdef";
/// The service key, which authenticates a backend.
pub const SERVICE_KEY: &str = "service-key-of-tests";
/// The admin key, which opens `/functions` on the admin listener.
pub const ADMIN_KEY: &str = "admin-key-of-tests";

/// A builder for a user token. The token is valid for an hour unless a method changes that.
#[derive(Clone, Debug)]
pub struct Token {
    claims: Map<String, Value>,
    secret: String,
    algorithm: Algorithm,
    /// The key of a key set that signs in place of the secret.
    kid: Option<String>,
}

impl Token {
    /// A token for this user.
    pub fn of(user: Uuid) -> Self {
        let claims = Map::from_iter([("sub".to_owned(), json!(user)), ("exp".to_owned(), json!(at(3_600.0)))]);
        Self { claims, secret: SECRET.to_owned(), algorithm: Algorithm::HS256, kid: None }
    }

    /// Expires after this time.
    #[must_use]
    pub fn lives(self, life: Duration) -> Self {
        self.claim("exp", json!(at(life.as_secs_f64())))
    }

    /// Expired an hour ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.claim("exp", json!(at(-3_600.0)))
    }

    /// Becomes valid after this time.
    #[must_use]
    pub fn not_before(self, wait: Duration) -> Self {
        self.claim("nbf", json!(at(wait.as_secs_f64())))
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Signs with another secret.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }

    /// Signs with another algorithm.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Signs with the key of [`key_set`] under this id.
    #[must_use]
    pub fn kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.to_owned());
        self.algorithm(Algorithm::ES256)
    }

    /// The signed JSON Web Token.
    pub fn sign(&self) -> String {
        roost::app::install_crypto();
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm) };
        let key = match &self.kid {
            Some(_) => EncodingKey::from_ec_pem(PRIVATE_KEY).expect("a private key"),
            None => EncodingKey::from_secret(self.secret.as_bytes()),
        };
        jsonwebtoken::encode(&header, &self.claims, &key).expect("claims encode")
    }
}

/// The private key that signs ES256 tokens.
const PRIVATE_KEY: &[u8] = include_bytes!("../../host/src/server/auth/testdata/p256.pem");

/// A JWKS document with the public key of that private key under this id.
pub fn key_set(kid: &str) -> String {
    let text = include_str!("../../host/src/server/auth/testdata/jwks.json");
    let mut set: Value = serde_json::from_str(text).expect("a key set");
    let keys = set["keys"].as_array_mut().expect("keys");
    keys.retain(|key| key["kty"] == "EC");
    keys.iter_mut().for_each(|key| key["kid"] = json!(kid));
    set.to_string()
}

/// The time `seconds` from now, in seconds since the Unix epoch.
fn at(seconds: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs_f64() + seconds
}
