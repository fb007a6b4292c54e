//! Watches folders for saved files. Editors write a file in several steps: the changes of a burst are reported once, when
//! the burst is over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A burst is over when no file was saved for this long.
const BURST_PAUSE: Duration = Duration::from_millis(150);
/// The most events in the queue. Further ones belong to the same burst.
const QUEUED_EVENTS_MAX: usize = 1_024;

/// A watch over folders and everything in them.
#[derive(Debug)]
pub(super) struct Watch {
    /// Dropping it ends the watch.
    _watcher: RecommendedWatcher,
    saved: mpsc::Receiver<PathBuf>,
}

impl Watch {
    /// Watches these folders for files with these extensions.
    pub(super) fn start(folders: &[PathBuf], extensions: &'static [&'static str]) -> notify::Result<Self> {
        let (sender, saved) = mpsc::channel(QUEUED_EVENTS_MAX);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !is_change(event.kind) {
                return;
            }
            for path in event.paths.into_iter().filter(|path| is_source(path, extensions)) {
                // If the queue is full, the burst is known already.
                let _ = sender.try_send(path);
            }
        })?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::Recursive)?;
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
    !name.starts_with('.') && extensions.contains(&extension)
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
        let mut watch = Watch::start(std::slice::from_ref(&folder), &["rs"]).unwrap();
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
}
