//! Where the keys that verify tokens come from: secrets of the configuration, files, and a URL. Loads all of them at
//! the start and keeps them up to date afterwards.

use std::future::pending;
use std::path::Path;

use super::key::VerifyingKey;
use super::key_file::{self, KeyFile, KeyFileError, KeyFormat};
use super::key_ring::KeyRing;
use super::key_set_url::{KeySetTimes, KeySetUrl};
use crate::config::{AuthConfig, TokenKey};
use crate::server::problem::ApiError;

/// The keys that verify tokens, with their sources.
#[derive(Debug)]
pub(crate) struct TokenKeys {
    pub(super) ring: KeyRing,
    files: Vec<KeyFile>,
    url: Option<KeySetUrl>,
}

impl TokenKeys {
    /// Reads the files that the configuration names. The URL is read by [`TokenKeys::read_url`] and [`TokenKeys::run`].
    pub(super) fn load(config: &AuthConfig) -> Result<Self, KeyFileError> {
        let (mut sources, mut files, mut url) = (Vec::new(), Vec::new(), None);
        for (source, key) in config.keys.iter().enumerate() {
            let mut file = |path: &Path, format| {
                let (file, keys) = KeyFile::load(path, format, source)?;
                files.push(file);
                Ok::<_, KeyFileError>(keys)
            };
            sources.push(match key {
                TokenKey::Secret(secret) => vec![VerifyingKey::secret(&secret.0)],
                TokenKey::PublicKey(path) => file(path, KeyFormat::Pem)?,
                TokenKey::Jwks(path) => file(path, KeyFormat::KeySet)?,
                TokenKey::JwksUrl(address) => {
                    let times = KeySetTimes::refreshed_every(config.jwks_refresh);
                    url = Some(KeySetUrl::new(address, source, times)?);
                    Vec::new()
                }
            });
        }
        Ok(Self { ring: KeyRing::new(sources), files, url })
    }

    /// Reads the URL for the first time, so that a host which starts usually has its keys before it serves. To be
    /// called before [`TokenKeys::run`].
    pub(crate) async fn read_url(&self) {
        if let Some(url) = &self.url {
            url.read(&self.ring).await;
        }
    }

    /// Keeps the keys up to date; never returns.
    pub(crate) async fn run(&self) {
        let url = async {
            match &self.url {
                Some(url) => url.run(&self.ring).await,
                None => pending().await,
            }
        };
        tokio::join!(key_file::watch(&self.files, &self.ring), url);
    }

    /// Whether every source has given keys once; otherwise which has not. Old keys of a source that fails remain in use
    /// and are no reason to be not ready.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.url.as_ref().map_or(Ok(()), KeySetUrl::ready)
    }

    /// Waits until the URL was read again, if this token names a key that is not known. Returns whether the key is
    /// known then.
    pub(super) async fn learn_key_of(&self, token: &str) -> Result<bool, ApiError> {
        match &self.url {
            Some(url) if self.ring.lacks_key_of(token) => url.learn(|| !self.ring.lacks_key_of(token)).await,
            _ => Ok(false),
        }
    }
}
