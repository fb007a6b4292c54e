//! Whom the started hosts trust: the secrets of every test, and users' tokens made with them, good and bad ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Verifies users' tokens.
pub const SECRET: &str = "a-secret-of-tests-0123456789abcdef";
/// Lets a backend in.
pub const SERVICE_KEY: &str = "service-key-of-tests";
/// Opens the admin listener's `/functions`.
pub const ADMIN_KEY: &str = "admin-key-of-tests";

/// A user's token in the making: good for an hour unless told otherwise.
#[derive(Clone, Debug)]
pub struct Token {
    claims: Map<String, Value>,
    secret: String,
    algorithm: Algorithm,
}

impl Token {
    /// For this user.
    pub fn of(user: Uuid) -> Self {
        let claims = Map::from_iter([("sub".to_owned(), json!(user)), ("exp".to_owned(), json!(at(3_600.0)))]);
        Self { claims, secret: SECRET.to_owned(), algorithm: Algorithm::HS256 }
    }

    /// Over after this.
    #[must_use]
    pub fn lives(self, life: Duration) -> Self {
        self.claim("exp", json!(at(life.as_secs_f64())))
    }

    /// Over for an hour already.
    #[must_use]
    pub fn expired(self) -> Self {
        self.claim("exp", json!(at(-3_600.0)))
    }

    /// Good from this moment on.
    #[must_use]
    pub fn not_before(self, wait: Duration) -> Self {
        self.claim("nbf", json!(at(wait.as_secs_f64())))
    }

    /// Another claim, or another value of one.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Signed by somebody else.
    #[must_use]
    pub fn secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }

    /// Signed with another algorithm.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The JSON Web Token.
    pub fn sign(&self) -> String {
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::new(self.algorithm), &self.claims, &key).expect("claims encode")
    }
}

/// So many seconds from now, since the Unix epoch.
fn at(seconds: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs_f64() + seconds
}
