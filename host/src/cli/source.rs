//! Finds the folder with the sources of functions: the named one, or the nearest one from the current directory upward.
//! It is a workspace with a folder `functions`, such as Roost's own sources, or the crate of a single function.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The package that every function in Rust depends on.
const SDK: &str = "roost-function";
/// What the root of Roost's own sources contains, from which a new function takes its sdk.
const CHECKOUT: [&str; 4] = ["Cargo.toml", "core/Cargo.toml", "functions/sdk/Cargo.toml", "wit/world.wit"];

pub(super) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        let folder = folder.canonicalize().with_context(|| format!("--source {}", folder.display()))?;
        if !is_workspace(&folder) && !is_function(&folder) {
            bail!(
                "--source {}: has no function sources; it must be a workspace with a folder functions, or the folder of a \
                 function's Cargo.toml",
                folder.display()
            );
        }
        return Ok(folder);
    }
    let here = std::env::current_dir()?;
    match nearest(&here) {
        Some(folder) => Ok(folder),
        None => bail!(
            "no function sources in {} or a folder above it; name their folder with --source, or make a function with \
             `roost new NAME`",
            here.display()
        ),
    }
}

/// The nearest source folder from here upward. A function of a workspace belongs to the workspace.
fn nearest(here: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| is_workspace(folder) || (is_function(folder) && declares_workspace(folder));
    let found = here.ancestors().find(is_root).or_else(|| here.ancestors().find(|folder| is_function(folder)));
    found.map(Path::to_owned)
}

/// The nearest root of Roost's own sources from here upward.
pub(super) fn nearest_checkout(here: &Path) -> Option<PathBuf> {
    here.ancestors().find(|folder| is_checkout(folder)).map(Path::to_owned)
}

/// Whether the folder is the root of Roost's own sources.
pub(super) fn is_checkout(folder: &Path) -> bool {
    CHECKOUT.iter().all(|path| folder.join(path).is_file())
}

/// Whether two paths lead to the same folder.
pub(super) fn same_folder(one: &Path, other: &Path) -> bool {
    one.canonicalize().ok() == other.canonicalize().ok()
}

fn is_workspace(folder: &Path) -> bool {
    folder.join("functions").is_dir() && (folder.join("wit").is_dir() || declares_workspace(folder)) && {
        folder.join("Cargo.toml").is_file()
    }
}

fn declares_workspace(folder: &Path) -> bool {
    manifest(folder).is_some_and(|manifest| manifest.contains_key("workspace"))
}

/// Whether the folder has the crate of a function: a cdylib that depends on the sdk.
fn is_function(folder: &Path) -> bool {
    let is_cdylib = |manifest: &toml::Table| {
        let kinds = manifest.get("lib").and_then(|lib| lib.get("crate-type"));
        kinds
            .and_then(toml::Value::as_array)
            .is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib")))
    };
    let has_sdk = |manifest: &toml::Table| {
        manifest.get("dependencies").and_then(toml::Value::as_table).is_some_and(|all| all.contains_key(SDK))
    };
    manifest(folder).is_some_and(|manifest| is_cdylib(&manifest) && has_sdk(&manifest))
}

fn manifest(folder: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str =
        "[package]\nname = \"a\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nroost-function = \"1\"\n";

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn a_function_in_a_workspace_belongs_to_it_and_one_with_a_workspace_of_its_own_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let own = format!("{FUNCTION}[workspace]\n");
        write(
            root,
            &[
                ("Cargo.toml", "[workspace]\n"),
                ("functions/member/Cargo.toml", FUNCTION),
                ("functions/member/src/lib.rs", ""),
                ("own/Cargo.toml", &own),
                ("own/src/lib.rs", ""),
            ],
        );
        assert_eq!(nearest(&root.join("functions/member/src")).unwrap(), root);
        assert_eq!(nearest(&root.join("own/src")).unwrap(), root.join("own"));
        assert_eq!(nearest(root).unwrap(), root);
    }

    #[test]
    fn a_function_without_a_workspace_above_it_is_found_and_any_other_crate_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let library = FUNCTION.replace("cdylib", "rlib");
        write(root, &[("alone/Cargo.toml", FUNCTION), ("alone/src/lib.rs", ""), ("other/Cargo.toml", &library)]);
        assert_eq!(nearest(&root.join("alone/src")).unwrap(), root.join("alone"));
        assert_eq!(nearest(&root.join("other")), None);
        assert!(!is_workspace(&root.join("alone")));
    }

    #[test]
    fn only_the_root_of_roosts_own_sources_has_the_sdk() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(nearest_checkout(&root.join("functions/typing/src")).unwrap(), root);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("Cargo.toml", "[workspace]\n"), ("functions/a/Cargo.toml", FUNCTION)]);
        assert_eq!(nearest_checkout(&folder.path().join("functions")), None);
        assert!(is_workspace(folder.path()) && !is_checkout(folder.path()));
    }
}
