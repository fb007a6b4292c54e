//! The record of the components that builds have written into a folder. It tells the component of a function that was
//! deleted or renamed from one that somebody else has put there, so that the former goes and the latter is never
//! touched.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::{digest, write_atomically};

/// The name of the file, which no list of components contains.
const FILE: &str = ".roost-build.json";

/// Everything that builds have written into a folder and that is still there.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BuildRecord {
    /// By the name of the file.
    components: BTreeMap<String, WrittenComponent>,
}

/// A component that a build has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WrittenComponent {
    /// The package that it was built from.
    package: String,
    /// The folder of the workspace with this package.
    workspace: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    digest: String,
}

/// The component of a function that does not exist any more. Its file was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemovedComponent {
    /// The package that it had been built from.
    pub(crate) package: String,
    /// The path of the component.
    pub(crate) path: PathBuf,
}

impl BuildRecord {
    /// Reads the record of a folder. One that is missing or damaged is empty: then nothing is removed.
    pub(super) fn read(folder: &Path) -> Self {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes a component that was built from a package of a workspace.
    pub(super) fn note(&mut self, path: &Path, package: &str, (workspace, bytes): (&Path, &[u8])) {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { return };
        let written =
            WrittenComponent { package: package.to_owned(), workspace: workspace.to_owned(), digest: digest(bytes) };
        self.components.insert(file.to_owned(), written);
    }

    /// Removes the components of a workspace whose package it does not have any more. A file that somebody has changed
    /// since is kept.
    pub(super) fn remove_outdated(
        &mut self,
        folder: &Path,
        workspace: &Path,
        exists: impl Fn(&str) -> bool,
    ) -> io::Result<Vec<RemovedComponent>> {
        let is_outdated = |written: &WrittenComponent| written.workspace == workspace && !exists(&written.package);
        let outdated = self.components.iter().filter(|(_, written)| is_outdated(written));
        let outdated: Vec<String> = outdated.map(|(file, _)| file.clone()).collect();
        let mut removed = Vec::new();
        for file in outdated {
            let Some(written) = self.components.remove(&file) else { continue };
            let path = folder.join(&file);
            if std::fs::read(&path).is_ok_and(|bytes| digest(&bytes) == written.digest) {
                std::fs::remove_file(&path)?;
                removed.push(RemovedComponent { package: written.package, path });
            }
        }
        Ok(removed)
    }

    /// Writes the record, unless the folder has this one already.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        if *self == Self::read(folder) {
            return Ok(());
        }
        write_atomically(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, of which the record knows all.
    fn folder(record: &mut BuildRecord, files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, workspace) in files {
            let path = folder.path().join(format!("{file}.wasm"));
            std::fs::write(&path, file).unwrap();
            record.note(&path, file, (Path::new(workspace), file.as_bytes()));
        }
        folder
    }

    #[test]
    fn only_components_of_packages_that_are_gone_are_removed() {
        let mut record = BuildRecord::default();
        let folder = folder(&mut record, &[("old", "/w"), ("kept", "/w"), ("elsewhere", "/other"), ("changed", "/w")]);
        let within = |name: &str| folder.path().join(name);
        std::fs::write(within("foreign.wasm"), "put here by hand").unwrap();
        std::fs::write(within("changed.wasm"), "replaced by hand").unwrap();
        record.write(folder.path()).unwrap();
        let mut record = BuildRecord::read(folder.path());
        let removed = record.remove_outdated(folder.path(), Path::new("/w"), |package| package == "kept").unwrap();
        assert_eq!(removed, [RemovedComponent { package: "old".into(), path: within("old.wasm") }]);
        for name in ["kept.wasm", "elsewhere.wasm", "foreign.wasm", "changed.wasm"] {
            assert!(within(name).exists(), "{name}");
        }
        assert!(!within("old.wasm").exists());
        assert_eq!(record.components.keys().collect::<Vec<_>>(), ["elsewhere.wasm", "kept.wasm"]);
    }

    #[test]
    fn a_damaged_record_removes_nothing() {
        let mut record = BuildRecord::default();
        let folder = folder(&mut record, &[("old", "/w")]);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let mut record = BuildRecord::read(folder.path());
        assert_eq!(record.remove_outdated(folder.path(), Path::new("/w"), |_| false).unwrap(), []);
        assert!(folder.path().join("old.wasm").exists());
    }
}
