//! `roost build`: compiles function crates with one `cargo build`, wraps each module as a component, and writes the
//! components that have changed, each atomically.
//!
//! Cargo finds the crates and compiles them. Nothing is deployed here.

mod cargo;
pub(crate) mod command;
mod progress;

use std::io;
use std::path::{Path, PathBuf};

use wit_component::ComponentEncoder;

use self::cargo::{Package, Workspace};
use crate::runtime::write_atomically;

/// The functions to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildRequest {
    /// The folder with the workspace, or with a single function's crate.
    pub(crate) source: PathBuf,
    /// The folder for the components.
    pub(crate) out: PathBuf,
    /// The packages by name; empty: every function crate below `functions/`, or the single crate.
    pub(crate) packages: Vec<String>,
}

/// A component that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Built {
    /// The package that it was built from.
    pub(crate) package: String,
    /// The path of the component.
    pub(crate) path: PathBuf,
    /// The size of the component.
    pub(crate) bytes: usize,
    /// `false`: the file had these bytes already.
    pub(crate) changed: bool,
}

/// Why functions could not be built. Components that existed before are unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// A program cannot be run.
    #[error("{program} cannot be run: {error}; building functions needs a Rust toolchain (https://rustup.rs)")]
    Program {
        /// The name of the program.
        program: &'static str,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Cargo cannot read the workspace.
    #[error("cargo cannot read the workspace in {source_folder}:\n{message}")]
    Workspace {
        /// The source folder.
        source_folder: PathBuf,
        /// The message of cargo.
        message: String,
    },
    /// The source folder has no function crate.
    #[error(
        "{0} has no function crates: a function is a package with crate-type cdylib, below functions/ or alone in the folder"
    )]
    NoFunctions(PathBuf),
    /// No function crate has this name.
    #[error("no function crate is named {name}; the function crates are {}", known.join(", "))]
    UnknownFunction {
        /// The name that was asked for.
        name: String,
        /// The names of the function crates.
        known: Vec<String>,
    },
    /// The toolchain cannot compile WebAssembly.
    #[error("the target {} is not installed and `rustup target add` failed:\n{message}", cargo::TARGET)]
    Target {
        /// The message of rustup.
        message: String,
    },
    /// The compiler reports errors.
    #[error("the functions do not compile:\n{message}")]
    Compiler {
        /// The message of the compiler.
        message: String,
    },
    /// The module cannot be wrapped as a component of a contract.
    #[error("{package} cannot be wrapped as a component: {reason}")]
    Wrap {
        /// The package that was built.
        package: String,
        /// What is wrong with its module.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

/// Builds functions; `progress` receives each line that tells how the build proceeds.
pub(crate) async fn build(
    request: &BuildRequest,
    progress: impl Fn(&str) + Send + Sync,
) -> Result<Vec<Built>, BuildError> {
    let workspace = Workspace::read(&request.source).await?;
    let packages = workspace.select(&request.source, &request.packages)?;
    cargo::ensure_target(&request.source, &progress).await?;
    progress(&format!("building {}", names(&packages)));
    workspace.compile(&request.source, &packages, &progress).await?;
    let mut built = Vec::with_capacity(packages.len());
    for package in packages {
        let module = workspace.module(&package);
        let component = request.out.join(format!("{}.wasm", package.name));
        let component = off_thread(move || write_component(&package, &module, &component)).await?;
        progress(&summary(&component));
        built.push(component);
    }
    Ok(built)
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn summary(built: &Built) -> String {
    let Built { package, path, bytes, changed, .. } = built;
    let state = if *changed { "" } else { " (unchanged)" };
    format!("{package}: {} KiB, {}{state}", bytes.div_ceil(1024), path.display())
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BuildError::Wrap { package: "a function".to_owned(), reason: error.to_string() }),
    }
}

fn write_component(package: &Package, module: &Path, component: &Path) -> Result<Built, BuildError> {
    let file = |path: &Path, error| BuildError::File { path: path.to_owned(), error };
    let bytes = std::fs::read(module).map_err(|error| file(module, error))?;
    let wrapped = wrap(&bytes).map_err(|reason| BuildError::Wrap { package: package.name.clone(), reason })?;
    let changed = std::fs::read(component).ok().as_ref() != Some(&wrapped);
    if changed {
        let folder = component.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
        write_atomically(component, &wrapped).map_err(|error| file(component, error))?;
    }
    Ok(Built { package: package.name.clone(), path: component.to_owned(), bytes: wrapped.len(), changed })
}

/// Wraps a core module, which contains its contract as a custom section, as a component.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_a_module_are_refused_with_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("a.wasm");
        std::fs::write(&module, b"not a module").unwrap();
        let package = Package { name: "a".into(), library: "a".into(), manifest: PathBuf::new() };
        let error = write_component(&package, &module, &folder.path().join("out/a.wasm")).unwrap_err();
        assert!(matches!(&error, BuildError::Wrap { package, .. } if package == "a"), "{error}");
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn an_unchanged_component_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("a.wasm");
        // An empty core module becomes an empty component.
        std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
        let package = Package { name: "a".into(), library: "a".into(), manifest: PathBuf::new() };
        let component = folder.path().join("out/a.wasm");
        assert!(write_component(&package, &module, &component).unwrap().changed);
        assert!(!write_component(&package, &module, &component).unwrap().changed);
        let left: Vec<_> = std::fs::read_dir(folder.path().join("out")).unwrap().collect();
        assert_eq!(left.len(), 1, "a temporary file is left");
    }
}
