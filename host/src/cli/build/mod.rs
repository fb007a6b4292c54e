//! `roost build`: compiles function crates with one `cargo build`, wraps each module as a component, and writes the
//! components that have changed, each atomically. The component of a function that was deleted or renamed is removed.
//!
//! Cargo finds the crates and compiles them. Nothing is deployed here.

mod cargo;
pub(crate) mod command;
mod imports;
mod progress;
mod record;

use std::io;
use std::path::{Path, PathBuf};

use wit_component::ComponentEncoder;

use self::cargo::{Package, Workspace};
use self::record::{BuildRecord, RemovedComponent};
use crate::runtime::write_atomically;

/// The functions to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildRequest {
    /// The folder with the workspace, or with a single function's crate.
    pub(crate) source: PathBuf,
    /// The folder for the components.
    pub(crate) out: PathBuf,
    /// The packages by name; empty: every function crate in `functions/`, or the single crate. Then components of
    /// functions that do not exist any more are removed.
    pub(crate) packages: Vec<String>,
    /// The folder that cargo compiles in; `None`: that of the workspace.
    pub(crate) target_folder: Option<PathBuf>,
}

/// The function crates of a source folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFunctions {
    /// All of them.
    pub(crate) crates: Vec<FunctionCrate>,
    /// The folder that cargo compiles in.
    pub(crate) target_folder: PathBuf,
}

/// A function crate in a source folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionCrate {
    /// The name of the package.
    pub(crate) name: String,
    /// The folder of the package.
    pub(crate) folder: PathBuf,
    /// Whether it is built when no function is named.
    pub(crate) by_default: bool,
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
    /// What the component imports: `clock` for an interface of the contract, the full name for anything else.
    pub(crate) imports: Vec<String>,
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
        "{0} has no function crates: a function is a package with crate-type cdylib, in functions/ or alone in the folder; `roost new NAME` makes one"
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
    #[error(
        "{package} cannot be wrapped as a component: {reason}; declare it with the macro `roost_function::function!`"
    )]
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
    let workspace = Workspace::read(&request.source, request.target_folder.clone()).await?;
    let packages = match workspace.select(&request.source, &request.packages) {
        Err(BuildError::NoFunctions(source)) => {
            finish(&workspace, request, &[], &progress).await?;
            return Err(BuildError::NoFunctions(source));
        }
        packages => packages?,
    };
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
    finish(&workspace, request, &built, &progress).await?;
    Ok(built)
}

/// The function crates of a source folder, as cargo knows them.
pub(crate) async fn functions(source: &Path) -> Result<SourceFunctions, BuildError> {
    Workspace::read(source, None).await?.functions(source)
}

/// The folder of Roost's own sources that the sdk of a source folder comes from. `None`: it has no sdk.
pub(crate) async fn checkout_of_sdk(source: &Path) -> Result<Option<PathBuf>, BuildError> {
    cargo::checkout_of_sdk(source).await
}

/// Notes what was built, and removes components of functions that do not exist any more.
async fn finish(
    workspace: &Workspace,
    request: &BuildRequest,
    built: &[Built],
    progress: &(impl Fn(&str) + Send + Sync),
) -> Result<(), BuildError> {
    let (root, names) = (workspace.root().to_owned(), workspace.names());
    let (folder, built, all) = (request.out.clone(), built.to_vec(), request.packages.is_empty());
    let removed = off_thread(move || update_record(&folder, &root, &built, all.then_some(&names))).await?;
    for RemovedComponent { package, path } in removed {
        progress(&format!("{package}: there is no such function any more; {} is removed", path.display()));
    }
    Ok(())
}

fn update_record(
    folder: &Path,
    workspace: &Path,
    built: &[Built],
    names: Option<&Vec<String>>,
) -> Result<Vec<RemovedComponent>, BuildError> {
    let file = |path: &Path, error| BuildError::File { path: path.to_owned(), error };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut record = BuildRecord::read(folder);
    for Built { package, path, .. } in built {
        let bytes = std::fs::read(path).map_err(|error| file(path, error))?;
        record.note(path, package, (workspace, &bytes));
    }
    let removed = match names {
        Some(names) => record.remove_outdated(folder, workspace, |package| names.iter().any(|name| name == package)),
        None => Ok(Vec::new()),
    };
    let removed = removed.map_err(|error| file(folder, error))?;
    record.write(folder).map_err(|error| file(folder, error))?;
    Ok(removed)
}

fn names(packages: &[Package]) -> String {
    packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn summary(built: &Built) -> String {
    let Built { package, path, bytes, imports, changed } = built;
    let state = if *changed { "" } else { " (unchanged)" };
    let imports = if imports.is_empty() { "nothing".to_owned() } else { imports.join(", ") };
    format!("{package}: {bytes} bytes, {}{state}\n  imports {imports}", path.display())
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
    let imports =
        imports::of_component(&wrapped).map_err(|reason| BuildError::Wrap { package: package.name.clone(), reason })?;
    Ok(Built { package: package.name.clone(), path: component.to_owned(), bytes: wrapped.len(), imports, changed })
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
    fn a_summary_names_size_and_imports() {
        let built = |imports: &[&str], changed| Built {
            package: "typing".into(),
            path: "functions.d/typing.wasm".into(),
            bytes: 78_412,
            imports: imports.iter().map(|name| (*name).to_owned()).collect(),
            changed,
        };
        let changed = summary(&built(&["pub-sub", "records"], true));
        assert_eq!(changed, "typing: 78412 bytes, functions.d/typing.wasm\n  imports pub-sub, records");
        let unchanged = summary(&built(&[], false));
        assert_eq!(unchanged, "typing: 78412 bytes, functions.d/typing.wasm (unchanged)\n  imports nothing");
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
