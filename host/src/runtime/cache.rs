//! Compiled components on disk, named by the digest of the component and by the engine that compiled them.
//!
//! An entry that is missing, truncated or altered is ignored, and the component is compiled again. No error in this file
//! makes a deployment fail.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// The first bytes of an entry; they name the format.
const MAGIC: &[u8; 8] = b"roostc1\n";
const DIGEST_BYTES: usize = 32;
/// How many entries are kept. Beyond that the oldest are removed.
const ENTRIES_MAX: usize = 256;
const EXTENSION: &str = "cwasm";

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    engine: u64,
}

impl Cache {
    pub(super) fn new(folder: PathBuf, engine: &wasmtime::Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { folder, engine: hasher.finish() }
    }

    /// The compiled form of the component with this digest, if an intact entry exists.
    pub(super) fn load(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut entry = std::fs::read(&path).ok()?;
        let intact = entry
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(DIGEST_BYTES))
            .is_some_and(|(expected, compiled)| Sha256::digest(compiled)[..] == *expected);
        if !intact {
            tracing::warn!(path = %path.display(), "a damaged entry of the compilation cache is ignored; the component is compiled again");
            return None;
        }
        entry.drain(..MAGIC.len() + DIGEST_BYTES);
        Some(entry)
    }

    /// Writes an entry. An error is only logged, because the next start can compile the component again.
    pub(super) fn store(&self, digest: &str, compiled: &[u8]) {
        let path = self.path(digest);
        if let Err(error) = self.write(&path, compiled) {
            tracing::warn!(path = %path.display(), %error, "a compiled component cannot be written to the cache; the next start compiles it again");
        }
        self.prune();
    }

    fn write(&self, path: &Path, compiled: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut entry = Vec::with_capacity(MAGIC.len() + DIGEST_BYTES + compiled.len());
        entry.extend_from_slice(MAGIC);
        entry.extend_from_slice(&Sha256::digest(compiled));
        entry.extend_from_slice(compiled);
        write_atomically(path, &entry)
    }

    fn path(&self, digest: &str) -> PathBuf {
        let engine = self.engine;
        self.folder.join(format!("{digest}-{engine:016x}.{EXTENSION}"))
    }

    fn prune(&self) {
        let Ok(listing) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let mut entries: Vec<(SystemTime, PathBuf)> = listing
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|e| e == EXTENSION))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        for (_, path) in entries.iter().take(surplus) {
            // Another process may have removed the file already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Replaces a file in one step: a reader finds either the old content or the new content, never a part of it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = uuid::Uuid::new_v4();
    let temporary = path.with_file_name(format!(".{name}.{unique}"));
    let placed = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if placed.is_err() {
        // The caller needs the first error; a leftover temporary file does no harm.
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}
