//! The deployments of this host on disk: the desired state, and the components that it names, each under its digest.
//!
//! A file is written beside its place, synced and then renamed, so that a crash leaves either the old or the new one.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::desired::DesiredState;
use crate::runtime::loader::ComponentBytes;
use crate::runtime::replace_file;

/// The file of the desired state.
const STATE_FILE: &str = "state.json";
const COMPONENT_EXTENSION: &str = "wasm";

/// The folder with the deployments. Clones use the same folder.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// The deployments in this folder, which is created when something is written.
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The state that was written last; an empty one if none was.
    pub(super) async fn load(&self) -> io::Result<DesiredState> {
        let path = self.folder.join(STATE_FILE);
        let text = match tokio::fs::read(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DesiredState::default()),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text).map_err(|error| {
            let detail = format!("{} is damaged ({error}); delete it to start without deployments", path.display());
            io::Error::new(io::ErrorKind::InvalidData, detail)
        })
    }

    /// Replaces the state, and deletes the components that it does not name any more.
    pub(super) async fn save(&self, state: &DesiredState) -> io::Result<()> {
        let (folder, text, digests) = (self.folder.clone(), serde_json::to_vec(state)?, state.digests());
        blocking(move || {
            write_synced(&folder.join(STATE_FILE), &text)?;
            remove_others(&folder, &digests);
            Ok(())
        })
        .await
    }

    /// The component with this digest; `None` if it is missing or damaged.
    pub(super) async fn component(&self, expected: &str) -> Option<ComponentBytes> {
        let path = self.path(expected);
        let component = hashed(tokio::fs::read(&path).await.ok()?).await.ok()?;
        if component.digest() == expected {
            return Some(component);
        }
        tracing::warn!(path = %path.display(), "the file of a deployed component is damaged and is not used");
        None
    }

    /// Whether there is a file of the component with this digest. It may be damaged.
    pub(super) async fn has(&self, digest: &str) -> bool {
        tokio::fs::try_exists(self.path(digest)).await.unwrap_or(false)
    }

    /// Writes a component.
    pub(super) async fn put(&self, digest: &str, bytes: Bytes) -> io::Result<()> {
        let path = self.path(digest);
        blocking(move || write_synced(&path, &bytes)).await
    }

    /// Deletes the components with other digests: those of deployments that were refused after they had been written.
    pub(super) async fn retain(&self, digests: BTreeSet<String>) -> io::Result<()> {
        let folder = self.folder.clone();
        blocking(move || {
            remove_others(&folder, &digests);
            Ok(())
        })
        .await
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(digest).with_extension(COMPONENT_EXTENSION)
    }
}

/// The bytes of a component with their digest, which a thread for long work computes.
pub(super) async fn hashed(bytes: Vec<u8>) -> io::Result<ComponentBytes> {
    blocking(move || Ok(ComponentBytes::of(bytes))).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    replace_file(path, |temporary| {
        let mut file = File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    })?;
    File::open(folder)?.sync_all()
}

/// Deletes components that are not named. What cannot be deleted is deleted after the next change.
fn remove_others(folder: &Path, digests: &BTreeSet<String>) {
    let Ok(listing) = std::fs::read_dir(folder) else { return };
    for path in listing.flatten().map(|entry| entry.path()) {
        let is_component = path.extension().is_some_and(|extension| extension == COMPONENT_EXTENSION);
        let is_named = path.file_stem().is_some_and(|name| digests.contains(&*name.to_string_lossy()));
        if is_component && !is_named {
            // A missing file is what was asked for.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::DeploymentChange;
    use super::super::tests::component_record;
    use super::*;
    use crate::runtime::loader::digest;

    /// The bytes of the component with this digest, if the archive has it.
    async fn read(archive: &Archive, digest: &str) -> Option<Bytes> {
        archive.component(digest).await.map(|component| component.bytes().clone())
    }

    fn state_of(bytes: &[u8]) -> DesiredState {
        let change = DeploymentChange::Deploy(component_record(bytes), None);
        DesiredState::default().after("typing", &change, "x".into()).unwrap()
    }

    #[tokio::test]
    async fn a_state_and_its_components_are_found_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deployments");
        let archive = Archive::new(folder.clone());
        assert_eq!(archive.load().await.unwrap(), DesiredState::default());
        for bytes in [b"old", b"new"] {
            archive.put(&digest(bytes), Bytes::from_static(bytes)).await.unwrap();
        }
        archive.save(&state_of(b"new")).await.unwrap();
        let again = Archive::new(folder);
        assert_eq!(again.load().await.unwrap(), state_of(b"new"));
        assert_eq!(read(&again, &digest(b"new")).await.as_deref(), Some(&b"new"[..]));
        assert_eq!(read(&again, &digest(b"old")).await, None, "it is not named any more");
        again.put(&digest(b"refused"), Bytes::from_static(b"refused")).await.unwrap();
        assert!(again.has(&digest(b"refused")).await);
        again.retain(state_of(b"new").digests()).await.unwrap();
        assert!(!again.has(&digest(b"refused")).await);
        assert!(again.has(&digest(b"new")).await, "it is named");
    }

    #[tokio::test]
    async fn damaged_files_are_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let archive = Archive::new(parent.path().to_owned());
        archive.put(&digest(b"new"), Bytes::from_static(b"other")).await.unwrap();
        assert_eq!(read(&archive, &digest(b"new")).await, None);
        std::fs::write(parent.path().join(STATE_FILE), b"{\"version\":").unwrap();
        let error = archive.load().await.unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("delete it"), "{error}");
    }
}
