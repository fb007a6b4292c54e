//! Keeps the live functions equal to the saved sources: sources are built again, components are deployed, and a
//! function whose component was deleted is removed. A component that another function stood in the way of is tried
//! again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::build;
use crate::cli::dev::watch::{Watch, WatchedFolder};
use crate::runtime::{DeployError, DeployFailure, Deployed, Functions};

/// The folders, within the source folder, from which functions are built: those of a workspace, and that of a single
/// crate.
const SOURCES: [&str; 4] = ["functions", "core/src", "wit", "src"];

pub(super) struct Swap {
    root: PathBuf,
    folder: PathBuf,
    functions: Functions,
    sources: Watch,
    built: Watch,
    /// The name of the function in each deployed file.
    served: BTreeMap<PathBuf, String>,
}

/// Watches the sources below `root`. Started before the first build, so that it reports what is saved while that runs
/// and while the host starts.
pub(super) fn watch_sources(root: &Path) -> anyhow::Result<Watch> {
    let within = SOURCES.iter().map(|source| root.join(source)).filter(|path| path.is_dir());
    let mut sources: Vec<WatchedFolder> = within.map(WatchedFolder::with_everything_below).collect();
    // For the manifest; what cargo compiles is below the same folder.
    sources.push(WatchedFolder::alone(root.to_owned()));
    Ok(Watch::start(&sources, &["rs", "toml", "wit"])?)
}

impl Swap {
    /// Follows the sources below `root`, and watches the components in `folder`.
    pub(super) fn start(root: &Path, folder: &Path, functions: Functions, sources: Watch) -> anyhow::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            folder: folder.to_owned(),
            functions,
            sources,
            built: Watch::start(&[WatchedFolder::with_everything_below(folder.to_owned())], &["wasm"])?,
            served: BTreeMap::new(),
        })
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&mut self) {
        self.deploy().await;
        loop {
            tokio::select! {
                Some(saved) = self.sources.burst() => {
                    tracing::info!(files = %names(&self.root, saved.iter()), "source files were saved; building");
                    self.build().await;
                }
                Some(_) = self.built.burst() => {}
                else => return,
            }
            self.deploy().await;
        }
    }

    async fn build(&self) {
        let started = Instant::now();
        match build::command::all(&self.root, &self.folder).await {
            Ok(built) => {
                let changed = built.iter().filter(|built| built.changed).count();
                let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(changed, took_ms, "the functions are built");
            }
            Err(error) => tracing::error!("{error:#}; the live functions are unchanged"),
        }
    }

    async fn deploy(&mut self) {
        let paths = match components(&self.folder) {
            Ok(paths) => paths,
            Err(error) => {
                tracing::error!(folder = %self.folder.display(), %error, "the components cannot be listed");
                return;
            }
        };
        let mut waiting = paths.clone();
        loop {
            let DeployedFiles { mut changed, conflicts } = self.deploy_each(&waiting).await;
            changed |= self.remove_deleted(&paths).await;
            if conflicts.is_empty() {
                return;
            }
            if !changed {
                conflicts.iter().for_each(|(_, error)| refused(error));
                return;
            }
            // What stood in the way may be gone.
            waiting = conflicts.into_iter().map(|(path, _)| path).collect();
        }
    }

    /// Deploys each of the files.
    async fn deploy_each(&mut self, paths: &[PathBuf]) -> DeployedFiles {
        let mut files = DeployedFiles::default();
        for path in paths {
            match self.functions.deploy_file(path).await {
                Ok(Deployed { name, changed, .. }) => {
                    files.changed |= changed;
                    self.served.insert(path.clone(), name);
                }
                Err(error) if matches!(error.failure, DeployFailure::Conflict(_)) => {
                    files.conflicts.push((path.clone(), error));
                }
                Err(error) => refused(&error),
            }
        }
        files
    }

    /// Removes the functions whose files were deleted. A function that has moved to another file is kept. Answers
    /// whether any function was removed.
    async fn remove_deleted(&mut self, paths: &[PathBuf]) -> bool {
        let deleted: Vec<PathBuf> = self.served.keys().filter(|path| !paths.contains(path)).cloned().collect();
        let mut removed = false;
        for path in deleted {
            if let Some(name) = self.served.remove(&path)
                && !self.served.values().any(|served| *served == name)
            {
                removed |= self.functions.remove(&name).await;
            }
        }
        removed
    }
}

/// The outcome of the deployment of some files.
#[derive(Default)]
struct DeployedFiles {
    /// Whether any function serves that did not serve before.
    changed: bool,
    /// The files whose routes or message types another function has.
    conflicts: Vec<(PathBuf, DeployError)>,
}

fn refused(error: &DeployError) {
    tracing::error!(fault = %error, "a component was not deployed; the live function is unchanged");
}

/// The components in a folder, sorted by name.
pub(super) fn components(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn names<'a>(root: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> String {
    let names = paths.map(|path| path.strip_prefix(root).unwrap_or(path).display().to_string());
    names.collect::<Vec<_>>().join(", ")
}
