//! Keeps the live functions equal to the saved sources: sources are built again, components are deployed, and a function
//! whose component was deleted is removed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::build;
use crate::cli::dev::watch::Watch;
use crate::runtime::{Deployed, Functions};

/// The folders, within the source folder, from which functions are built.
const SOURCES: [&str; 3] = ["functions", "core/src", "wit"];

pub(super) struct Swap {
    root: PathBuf,
    folder: PathBuf,
    functions: Functions,
    sources: Watch,
    built: Watch,
    /// The name of the function in each deployed file.
    served: BTreeMap<PathBuf, String>,
}

impl Swap {
    /// Watches the sources below `root` and the components in `folder`.
    pub(super) fn start(root: &Path, folder: &Path, functions: Functions) -> anyhow::Result<Self> {
        let sources: Vec<PathBuf> =
            SOURCES.iter().map(|source| root.join(source)).filter(|path| path.is_dir()).collect();
        Ok(Self {
            root: root.to_owned(),
            folder: folder.to_owned(),
            functions,
            sources: Watch::start(&sources, &["rs", "toml", "wit"])?,
            built: Watch::start(&[folder.to_owned()], &["wasm"])?,
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
        for path in &paths {
            match self.functions.deploy_file(path).await {
                Ok(Deployed { name, .. }) => {
                    self.served.insert(path.clone(), name);
                }
                Err(fault) => tracing::error!(%fault, "a component was not deployed; the live function is unchanged"),
            }
        }
        self.remove_deleted(&paths).await;
    }

    /// Removes the functions whose files were deleted. A function that has moved to another file is kept.
    async fn remove_deleted(&mut self, paths: &[PathBuf]) {
        let deleted: Vec<PathBuf> = self.served.keys().filter(|path| !paths.contains(path)).cloned().collect();
        for path in deleted {
            if let Some(name) = self.served.remove(&path)
                && !self.served.values().any(|served| *served == name)
            {
                self.functions.remove(&name).await;
            }
        }
    }
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
