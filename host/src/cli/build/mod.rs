//! `roost build`: function crates become components. One `cargo build` for all of them, then each module is
//! wrapped and put in place whole, if it changed.
//!
//! It asks cargo what there is to build and leaves all compiling to it; it deploys nothing.

mod cargo;
pub(crate) mod command;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wit_component::ComponentEncoder;

use self::cargo::{Package, Workspace};
use crate::runtime::write_atomically;

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The folder with the workspace, or with a single function's crate.
    pub source: PathBuf,
    /// Where the components go.
    pub out: PathBuf,
    /// Packages by name; empty: every function crate below `functions/`, or the single crate.
    pub packages: Vec<String>,
}

/// A component that lies in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The package it was made of.
    pub package: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// `false`: exactly this component lay there already.
    pub changed: bool,
    /// What wrapping took. Compiling is done for all packages together.
    pub wrapped_in: Duration,
}

/// Why nothing, or not everything, was built. Components that were there before are as they were.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program is missing.
    #[error("{program} does not start: {error}; a Rust toolchain is needed to build functions (https://rustup.rs)")]
    Program {
        /// Which one.
        program: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Cargo cannot read the workspace.
    #[error("{source_folder} is no workspace that cargo can read:\n{message}")]
    Workspace {
        /// The folder.
        source_folder: PathBuf,
        /// Cargo's words.
        message: String,
    },
    /// No function crate.
    #[error("no function crates in {0}: a function is a package with crate-type cdylib, below functions/ or alone")]
    Nothing(PathBuf),
    /// A name that no function crate has.
    #[error("no function crate is named {name}; there are {}", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The compiler cannot make WebAssembly here.
    #[error("the target {} is not installed and `rustup target add` failed:\n{message}", cargo::TARGET)]
    Target {
        /// Rustup's words.
        message: String,
    },
    /// The compiler's refusal.
    #[error("the functions do not compile:\n{message}")]
    Compiler {
        /// Its words.
        message: String,
    },
    /// The module is no function of a contract.
    #[error("{package} cannot be wrapped as a component: {reason}")]
    Wrap {
        /// Which package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Builds every function of a workspace and tells the log how it goes.
pub async fn all(source: &Path, out: &Path) -> Result<Vec<Built>, BuildError> {
    let order = Order { source: source.to_owned(), out: out.to_owned(), packages: Vec::new() };
    build(&order, |line| tracing::info!("{line}")).await
}

/// Builds what is ordered; `progress` is told line by line what happens, cargo's own words among it.
pub async fn build(order: &Order, progress: impl Fn(&str) + Send + Sync) -> Result<Vec<Built>, BuildError> {
    let workspace = Workspace::read(&order.source).await?;
    let packages = workspace.select(&order.source, &order.packages)?;
    cargo::ensure_target(&order.source, &progress).await?;
    progress(&format!("building {}", names(&packages)));
    workspace.compile(&order.source, &packages, &progress).await?;
    let mut built = Vec::with_capacity(packages.len());
    for package in packages {
        let module = workspace.module(&package);
        let component = order.out.join(format!("{}.wasm", package.name));
        let done = off_thread(move || place(&package, &module, &component)).await?;
        progress(&summary(&done));
        built.push(done);
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
        Ok(done) => done,
        Err(error) => Err(BuildError::Wrap { package: "a function".to_owned(), reason: error.to_string() }),
    }
}

fn place(package: &Package, module: &Path, component: &Path) -> Result<Built, BuildError> {
    let began = Instant::now();
    let file = |path: &Path, error| BuildError::File { path: path.to_owned(), error };
    let bytes = std::fs::read(module).map_err(|error| file(module, error))?;
    let wrapped = wrap(&bytes).map_err(|reason| BuildError::Wrap { package: package.name.clone(), reason })?;
    let changed = std::fs::read(component).ok().as_ref() != Some(&wrapped);
    if changed {
        let folder = component.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| file(folder, error))?;
        write_atomically(component, &wrapped).map_err(|error| file(component, error))?;
    }
    Ok(Built {
        package: package.name.clone(),
        path: component.to_owned(),
        bytes: wrapped.len(),
        changed,
        wrapped_in: began.elapsed(),
    })
}

/// A core module that carries its contract becomes a component of it.
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
    fn what_is_no_module_is_refused_with_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("a.wasm");
        std::fs::write(&module, b"no module").unwrap();
        let package = Package { name: "a".into(), library: "a".into(), manifest: PathBuf::new() };
        let error = place(&package, &module, &folder.path().join("out/a.wasm")).unwrap_err();
        assert!(matches!(&error, BuildError::Wrap { package, .. } if package == "a"), "{error}");
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn the_same_component_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("a.wasm");
        // An empty core module wraps to an empty component.
        std::fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
        let package = Package { name: "a".into(), library: "a".into(), manifest: PathBuf::new() };
        let component = folder.path().join("out/a.wasm");
        assert!(place(&package, &module, &component).unwrap().changed);
        assert!(!place(&package, &module, &component).unwrap().changed);
        let left: Vec<_> = std::fs::read_dir(folder.path().join("out")).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file stays behind");
    }
}
