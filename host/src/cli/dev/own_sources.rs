//! Which functions are the developer's own: those whose package is in the source folder. It is looked up in the files
//! each time, so that a function is known as soon as its folder exists.

use std::path::{Path, PathBuf};

use crate::runtime::OwnSources;

const MANIFEST: &str = "Cargo.toml";
/// The depth of folders below `functions/` in which packages are looked for.
const DEPTH_MAX: usize = 4;
/// Folders that contain no sources.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// The functions of a source folder: below `functions/`, or the single package in the folder.
pub(super) fn of(root: &Path) -> OwnSources {
    let root: PathBuf = root.to_owned();
    OwnSources::new(move |name| is_package(&root, name) || has_package(&root.join("functions"), name, DEPTH_MAX))
}

fn has_package(folder: &Path, name: &str, depth: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_searched(path));
    let mut folders: Vec<PathBuf> = folders.collect();
    folders.sort();
    folders.iter().any(|path| is_package(path, name) || (depth > 1 && has_package(path, name, depth - 1)))
}

/// Links are not followed, so that the search ends.
fn is_searched(path: &Path) -> bool {
    let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    is_folder && !SKIPPED.iter().any(|skipped| path.ends_with(skipped))
}

/// Whether the folder's manifest is that of a package with this name.
fn is_package(folder: &Path, name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(MANIFEST)) else { return false };
    let Ok(manifest) = text.parse::<toml::Table>() else { return false };
    manifest.get("package").and_then(|package| package.get("name")?.as_str()) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &Path, name: &str) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(MANIFEST), format!("[package]\nname = \"{name}\"\n")).unwrap();
    }

    #[test]
    fn the_packages_of_the_source_folder_are_the_developers_own() {
        let root = tempfile::tempdir().unwrap();
        let own = of(root.path());
        assert!(!own.contains("polls"), "there is no folder yet");
        package(&root.path().join("functions/a-folder"), "polls");
        package(&root.path().join("functions/examples/reactions"), "reactions");
        package(&root.path().join("functions/target/foreign"), "foreign");
        package(&root.path().join("vendor/other"), "other");
        std::fs::write(root.path().join("functions/a-file"), "").unwrap();
        for name in ["polls", "reactions"] {
            assert!(own.contains(name), "{name}");
        }
        for name in ["a-folder", "foreign", "other", "functions", ""] {
            assert!(!own.contains(name), "{name}");
        }
    }

    #[test]
    fn a_folder_with_a_single_package_has_this_function() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), "polls");
        assert!(of(root.path()).contains("polls"));
        std::fs::write(root.path().join(MANIFEST), "not TOML").unwrap();
        assert!(!of(root.path()).contains("polls"));
    }
}
