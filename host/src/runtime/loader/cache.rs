//! Machine code on disk: an entry for each component, named by its digest, and one for the code of single functions.
//! The engine that compiled them is a part of the file's name. A tag under the key of this host authenticates each
//! entry.
//!
//! An entry that is missing, or that this host has not written as it is, is ignored, and what it would hold is compiled
//! again. No error in this file makes a deployment fail.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::cache_key::{self, CacheError};

/// The first bytes of an entry; they name the format.
const MAGIC: &[u8; 8] = b"roostc2\n";
/// The length of the tag after them.
const TAG_BYTES: usize = 32;
/// How many entries are kept. Beyond that the oldest are removed.
const ENTRIES_MAX: usize = 256;
/// A file that is being written is complete long before.
const ABANDONED_AFTER: Duration = Duration::from_secs(3_600);
const EXTENSION: &str = "cwasm";

/// A folder of machine code.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    engine: u64,
    /// The key of this host.
    key: hmac::Key,
}

impl Cache {
    /// Opens the cache in this folder, which is created if it does not exist. An error says why entries from there, or
    /// their key, cannot be trusted.
    pub(super) fn open(folder: PathBuf, engine: &wasmtime::Engine) -> Result<Self, CacheError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &cache_key::open(&folder)?);
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder, engine: hasher.finish(), key })
    }

    /// The code of the entry with this name, if this host has written the entry exactly as it is.
    pub(super) fn load(&self, name: &str) -> Option<Bytes> {
        let path = self.path(name);
        let entry = Bytes::from(std::fs::read(&path).ok()?);
        let is_authentic = entry
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(TAG_BYTES))
            .is_some_and(|(tag, compiled)| self.tag(name, compiled).as_ref().ct_eq(tag).into());
        if !is_authentic {
            tracing::warn!(path = %path.display(), "an entry of the compilation cache is ignored: it is damaged, or this host has not written it; what it holds is compiled again");
            return None;
        }
        Some(entry.slice(MAGIC.len() + TAG_BYTES..))
    }

    /// Covers the name of the entry too, so that an entry under the name of another one is not accepted.
    fn tag(&self, name: &str, compiled: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [&MAGIC[..], &self.engine.to_le_bytes(), name.as_bytes(), compiled] {
            context.update(part);
        }
        context.sign()
    }

    /// Writes an entry. An error is only logged, because the next start can compile again what the entry would hold.
    pub(super) fn store(&self, name: &str, compiled: &[u8]) {
        let path = self.path(name);
        match self.write(&path, name, compiled) {
            Ok(()) => self.prune(),
            // A process that ends removes its temporary folder, and does not wait for entries that nobody waits for.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::debug!(path = %path.display(), "the folder of the compilation cache is gone");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an entry of the compilation cache cannot be written; the next start compiles again what it would hold");
            }
        }
    }

    fn write(&self, path: &Path, name: &str, compiled: &[u8]) -> std::io::Result<()> {
        let mut entry = Vec::with_capacity(MAGIC.len() + TAG_BYTES + compiled.len());
        entry.extend_from_slice(MAGIC);
        entry.extend_from_slice(self.tag(name, compiled).as_ref());
        entry.extend_from_slice(compiled);
        write_atomically(path, &entry)
    }

    fn path(&self, name: &str) -> PathBuf {
        let engine = self.engine;
        self.folder.join(format!("{name}-{engine:016x}.{EXTENSION}"))
    }

    fn prune(&self) {
        let Ok(listing) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let files = listing.flatten();
        let files = files.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
        let (mut entries, others): (Vec<_>, Vec<_>) =
            files.partition(|(_, path)| path.extension().is_some_and(|extension| extension == EXTENSION));
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        let abandoned = others.iter().filter(|(modified, path)| is_abandoned(*modified, path));
        for (_, path) in entries.iter().take(surplus).chain(abandoned) {
            // Another process may have removed the file already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether a file is a part of an entry that a process was writing when it was killed.
fn is_abandoned(modified: SystemTime, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_old = modified.elapsed().is_ok_and(|age| age > ABANDONED_AFTER);
    is_old && name.starts_with('.') && name.contains(&format!(".{EXTENSION}."))
}

/// Replaces a file in one step: a reader finds either the old content or the new content, never a part of it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    replace_file(path, |temporary| std::fs::write(temporary, bytes))
}

/// As [`write_atomically`]: `write` writes the new content to a path beside the file.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = uuid::Uuid::new_v4();
    let temporary = path.with_file_name(format!(".{name}.{unique}"));
    let placed = write(&temporary).and_then(|()| std::fs::rename(&temporary, path));
    if placed.is_err() {
        // The caller needs the first error; a leftover temporary file does no harm.
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_parts_of_entries_are_abandoned() {
        let now = SystemTime::now();
        let old = now - 2 * ABANDONED_AFTER;
        let part = Path::new("compiled/.functions-8def.cwasm.37eac9e9-17ed-472b-a90b-cd5fcf59ced7");
        assert!(is_abandoned(old, part));
        assert!(!is_abandoned(now, part), "another process may be writing it");
        for other in ["compiled/functions-8def.cwasm", "compiled/.cache-key", "compiled/notes.txt"] {
            assert!(!is_abandoned(old, Path::new(other)), "{other}");
        }
    }
}
