//! Watches folders for changes that somebody saved. Editors write a file in several steps: a burst of them is told
//! once, when it is over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// A burst is over when nothing was saved for so long.
const QUIET: Duration = Duration::from_millis(150);
/// Events that wait; more of them are part of the same burst.
const WAITING_MAX: usize = 1_024;

/// Folders under watch, with everything in them.
#[derive(Debug)]
pub struct Watch {
    /// Ends the watch when it is dropped.
    _watcher: RecommendedWatcher,
    saved: mpsc::Receiver<PathBuf>,
}

impl Watch {
    /// Watches these folders for files with these extensions.
    pub fn start(folders: &[PathBuf], extensions: &'static [&'static str]) -> notify::Result<Self> {
        let (sender, saved) = mpsc::channel(WAITING_MAX);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !is_change(event.kind) {
                return;
            }
            for path in event.paths.into_iter().filter(|path| matters(path, extensions)) {
                // A full channel already tells of a burst.
                let _ = sender.try_send(path);
            }
        })?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::Recursive)?;
        }
        Ok(Self { _watcher: watcher, saved })
    }

    /// The files of the next burst; `None`: the watch has ended.
    pub async fn burst(&mut self) -> Option<BTreeSet<PathBuf>> {
        let mut paths = BTreeSet::from([self.saved.recv().await?]);
        while let Ok(Some(path)) = tokio::time::timeout(QUIET, self.saved.recv()).await {
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

/// Temporary files of editors and builds begin with a dot or have other extensions.
fn matters(path: &Path, extensions: &[&str]) -> bool {
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
        tokio::time::timeout(Duration::from_secs(20), watch.burst()).await.expect("nothing was told").unwrap()
    }

    #[tokio::test]
    async fn a_burst_of_saves_is_told_once_without_what_does_not_matter() {
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
