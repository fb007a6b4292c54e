//! Watches folders for saved files, and for folders that come or go. Editors write a file in several steps: the changes
//! of a burst are reported once, when the burst is over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{CreateKind, EventKind, ModifyKind, RemoveKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A burst is over when no file was saved for this long.
const BURST_PAUSE: Duration = Duration::from_millis(150);
/// The most events in the queue. Further ones belong to the same burst.
const QUEUED_EVENTS_MAX: usize = 1_024;

/// The only TOML files that a build reads.
const MANIFEST: &str = "Cargo.toml";

/// A folder to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchedFolder {
    path: PathBuf,
    mode: RecursiveMode,
}

impl WatchedFolder {
    /// The folder and everything below it.
    pub(super) const fn with_everything_below(path: PathBuf) -> Self {
        Self { path, mode: RecursiveMode::Recursive }
    }

    /// The files of the folder, without what is in the folders below it.
    pub(super) const fn alone(path: PathBuf) -> Self {
        Self { path, mode: RecursiveMode::NonRecursive }
    }
}

/// A watch over folders.
#[derive(Debug)]
pub(super) struct Watch {
    /// Dropping it ends the watch.
    _watcher: RecommendedWatcher,
    saved: mpsc::Receiver<PathBuf>,
}

impl Watch {
    /// Watches these folders for files with these extensions.
    pub(super) fn start(folders: &[WatchedFolder], extensions: &'static [&'static str]) -> notify::Result<Self> {
        let (sender, saved) = mpsc::channel(QUEUED_EVENTS_MAX);
        let alone = folders.iter().filter(|folder| folder.mode == RecursiveMode::NonRecursive);
        let alone: Vec<PathBuf> = alone.map(|folder| folder.path.clone()).collect();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !is_change(event.kind) {
                return;
            }
            let is_alone =
                |path: &Path| path.parent().is_some_and(|parent| alone.iter().any(|folder| folder == parent));
            let concerns =
                |path: &PathBuf| is_source(path, extensions) || (is_folder(path, event.kind) && !is_alone(path));
            for path in event.paths.iter().filter(|path| concerns(path)).cloned() {
                // If the queue is full, the burst is known already.
                let _ = sender.try_send(path);
            }
        })?;
        for WatchedFolder { path, mode } in folders {
            watcher.watch(path, *mode)?;
        }
        Ok(Self { _watcher: watcher, saved })
    }

    /// The files of the next burst; `None`: the watch has ended.
    pub(super) async fn burst(&mut self) -> Option<BTreeSet<PathBuf>> {
        let mut paths = BTreeSet::from([self.saved.recv().await?]);
        while let Ok(Some(path)) = tokio::time::timeout(BURST_PAUSE, self.saved.recv()).await {
            paths.insert(path);
        }
        Some(paths)
    }
}

const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Remove(_) => true,
        EventKind::Modify(kind) => !matches!(kind, ModifyKind::Metadata(_)),
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    }
}

/// Whether the file is a source. Temporary files of editors and builds begin with a dot or have other extensions.
fn is_source(path: &Path, extensions: &[&str]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    !name.starts_with('.') && extensions.contains(&extension) && (extension != "toml" || name == MANIFEST)
}

/// Whether a folder came or went. What is in a new or renamed folder is not reported by itself.
fn is_folder(path: &Path, kind: EventKind) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_folder = match kind {
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
        // The event does not tell what was renamed.
        EventKind::Modify(ModifyKind::Name(_)) => path.extension().is_none(),
        _ => false,
    };
    is_folder && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("roost-watch-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        folder.canonicalize().unwrap()
    }

    async fn burst(watch: &mut Watch) -> BTreeSet<PathBuf> {
        tokio::time::timeout(Duration::from_secs(20), watch.burst()).await.expect("no burst was reported").unwrap()
    }

    #[tokio::test]
    async fn a_burst_of_saves_is_reported_once_without_temporary_files() {
        let folder = folder("burst");
        let mut watch = Watch::start(&[WatchedFolder::with_everything_below(folder.clone())], &["rs"]).unwrap();
        for text in ["a", "b", "c"] {
            std::fs::write(folder.join("deep/lib.rs"), text).unwrap();
            std::fs::write(folder.join(".lib.rs"), text).unwrap();
            std::fs::write(folder.join("lib.rs~"), text).unwrap();
        }
        assert_eq!(burst(&mut watch).await, BTreeSet::from([folder.join("deep/lib.rs")]));
        std::fs::remove_file(folder.join("deep/lib.rs")).unwrap();
        assert_eq!(burst(&mut watch).await, BTreeSet::from([folder.join("deep/lib.rs")]));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_is_made_renamed_or_removed_is_reported() {
        let folder = folder("folders");
        let mut watch = Watch::start(&[WatchedFolder::with_everything_below(folder.clone())], &["rs"]).unwrap();
        let within = |name: &str| folder.join(name);
        std::fs::create_dir(within("new")).unwrap();
        assert_eq!(burst(&mut watch).await, BTreeSet::from([within("new")]));
        std::fs::rename(within("new"), within("renamed")).unwrap();
        assert_eq!(burst(&mut watch).await, BTreeSet::from([within("new"), within("renamed")]));
        std::fs::remove_dir(within("renamed")).unwrap();
        assert_eq!(burst(&mut watch).await, BTreeSet::from([within("renamed")]));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_folder_alone_is_watched_for_its_manifest_only() {
        let folder = folder("alone");
        let mut watch = Watch::start(&[WatchedFolder::alone(folder.clone())], &["rs", "toml"]).unwrap();
        std::fs::create_dir(folder.join("target")).unwrap();
        for name in ["deep/lib.rs", "deep/Cargo.toml", "scenario.toml", "Cargo.lock", "Cargo.toml"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        assert_eq!(burst(&mut watch).await, BTreeSet::from([folder.join("Cargo.toml")]));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
