//! The files with public keys, PEM and JWKS: read at the start, where a wrong file is an error, and again whenever they
//! change, where a wrong file leaves the keys of the last good reading in use.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::digest;
use super::key::VerifyingKey;
use super::key_ring::KeyRing;
use super::key_set::KeySet;
use crate::ops::metrics;

/// The files are read again this often. They are small.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// More than any file with public keys has.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The label of these sources in metrics.
const SOURCE: &str = "file";

/// Why a configured key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}; name a readable key file")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file does not contain a usable key.
    #[error("{path}: {reason}")]
    Unusable {
        /// The path of the file.
        path: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The keys behind `token_jwks_url` cannot be asked for.
    #[error("token_jwks_url cannot be used: {0}")]
    Url(String),
}

/// What a key file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyFormat {
    /// One public key. `token_public_key`
    Pem,
    /// A set of keys. `token_jwks`
    KeySet,
}

/// A file with keys, and the content that the keys in use come from.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    format: KeyFormat,
    /// The number of this source in the key ring.
    source: usize,
    digest: [u8; 32],
}

/// What was found at the last reading of a file, so that only a change is acted on and logged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Readable([u8; 32]),
    Unreadable(String),
}

/// The last reading of a file.
#[derive(Debug)]
struct LastReading {
    content: Content,
    is_usable: bool,
}

impl KeyFile {
    /// Reads the file for the first time.
    pub(super) fn load(
        path: &Path,
        format: KeyFormat,
        source: usize,
    ) -> Result<(Self, Vec<VerifyingKey>), KeyFileError> {
        let name = || path.display().to_string();
        let text = read(path).map_err(|source| KeyFileError::Unreadable { path: name(), source })?;
        let set = format.parse(&text).map_err(|reason| KeyFileError::Unusable { path: name(), reason })?;
        set.warn(&name());
        Ok((Self { path: path.to_owned(), format, source, digest: digest(&text) }, set.keys))
    }

    /// Reads the file again. A change is applied if the file is usable; otherwise the keys in use remain.
    async fn reread(&self, last: &mut LastReading, ring: &KeyRing) {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path));
        // The thread ends early only if it panics or the runtime ends.
        let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let content = match &read {
            Ok(text) => Content::Readable(digest(text)),
            Err(error) => Content::Unreadable(error.to_string()),
        };
        if content == last.content {
            return;
        }
        let file = self.path.display();
        let parsed = read.map_err(|error| error.to_string()).and_then(|text| self.format.parse(&text));
        *last = LastReading { content, is_usable: parsed.is_ok() };
        match parsed {
            Ok(set) => {
                set.warn(&file.to_string());
                tracing::info!(%file, keys = set.keys.len(), "the keys that verify tokens were read again");
                metrics::TOKEN_KEY_READS.of([SOURCE, "changed"]).inc();
                ring.replace(self.source, set.keys);
            }
            Err(problem) => {
                tracing::error!(%file, problem, "a key file cannot be used; the keys that it held before remain in use");
                metrics::TOKEN_KEY_READS.of([SOURCE, "failed"]).inc();
            }
        }
    }
}

impl KeyFormat {
    fn parse(self, text: &str) -> Result<KeySet, String> {
        match self {
            Self::Pem => VerifyingKey::public_key(text).map(|key| KeySet { keys: vec![key], left_out: Vec::new() }),
            Self::KeySet => KeySet::parse(text),
        }
    }
}

/// Reads the files again and again; never returns.
pub(super) async fn watch(files: &[KeyFile], ring: &KeyRing) {
    let loaded = |file: &KeyFile| LastReading { content: Content::Readable(file.digest), is_usable: true };
    let mut readings: Vec<LastReading> = files.iter().map(loaded).collect();
    let mut ticks = interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (file, last) in files.iter().zip(&mut readings) {
            file.reread(last, ring).await;
        }
        let failing = readings.iter().filter(|last| !last.is_usable).count();
        metrics::TOKEN_KEYS_FAILING.of([SOURCE]).set(i64::try_from(failing).unwrap_or(i64::MAX));
    }
}

/// The whole text of a file, within the bound.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes, the most that is allowed")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::*;
    use crate::server::auth::crypto::encode;
    use crate::server::auth::token::lacks_key;

    const KEY_SET: &str = include_str!("testdata/jwks.json");

    /// An ES256 token that names this key.
    fn token(kid: &str) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_pem(include_bytes!("testdata/p256.pem")).unwrap();
        encode(&header, &serde_json::json!({}), &key).unwrap()
    }

    #[tokio::test]
    async fn a_changed_file_is_used_and_a_broken_one_leaves_the_keys_before_it_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, KEY_SET).unwrap();
        let (file, keys) = KeyFile::load(&path, KeyFormat::KeySet, 0).unwrap();
        let ring = KeyRing::new(vec![keys]);
        let mut last = LastReading { content: Content::Readable(file.digest), is_usable: true };
        let lacks = |kid: &str, ring: &KeyRing| ring.lacks_key_of(&token(kid));
        assert!(!lacks("ec-1", &ring) && lacks("ec-2", &ring));

        file.reread(&mut last, &ring).await;
        assert!(last.is_usable && !lacks("ec-1", &ring), "nothing has changed");
        std::fs::write(&path, KEY_SET.replace("ec-1", "ec-2")).unwrap();
        file.reread(&mut last, &ring).await;
        assert!(lacks("ec-1", &ring) && !lacks("ec-2", &ring));
        for broken in ["", "{\"keys\":", "{\"keys\":[]}"] {
            std::fs::write(&path, broken).unwrap();
            file.reread(&mut last, &ring).await;
            assert!(!last.is_usable && !lacks("ec-2", &ring), "{broken}");
        }
        std::fs::remove_file(&path).unwrap();
        file.reread(&mut last, &ring).await;
        assert!(matches!(last.content, Content::Unreadable(_)) && !lacks("ec-2", &ring));
        std::fs::write(&path, KEY_SET).unwrap();
        file.reread(&mut last, &ring).await;
        assert!(last.is_usable && !lacks("ec-1", &ring), "a repaired file is used");
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let large = format!("{KEY_SET}{}", " ".repeat(usize::try_from(FILE_BYTES_MAX).unwrap()));
        std::fs::write(&path, large).unwrap();
        let error = KeyFile::load(&path, KeyFormat::KeySet, 0).unwrap_err().to_string();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn a_key_is_lacking_only_if_it_is_public_and_named() {
        let keys = KeySet::parse(KEY_SET).unwrap().keys;
        assert!(lacks_key(&token("other"), &keys) && !lacks_key(&token("ec-1"), &keys));
        let header = Header { kid: Some("other".to_owned()), ..Header::default() };
        let symmetric = encode(&header, &serde_json::json!({}), &EncodingKey::from_secret(b"secret")).unwrap();
        for text in ["", "a.b.c", &symmetric] {
            assert!(!lacks_key(text, &keys), "{text}");
        }
        assert!(lacks_key(&token("other"), &[]));
    }
}
