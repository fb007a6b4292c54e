//! Runs cargo and rustup: reads the packages of a workspace, installs the WebAssembly target, and compiles functions
//! with one `cargo build`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::progress::{BuildProgress, CARGO_VARIABLES, CargoOutput};
use super::{BuildError, FunctionCrate, SourceFunctions};

/// The target of functions: it imports nothing but the contract.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";
/// The profile that functions are compiled with.
const PROFILE: &str = "function";
/// The profile and the linker flags of Roost's own workspace, for a workspace that does not define the profile.
const PROFILE_SETTINGS: [&str; 8] = [
    "profile.function.inherits=\"release\"",
    "profile.function.opt-level=3",
    "profile.function.lto=\"fat\"",
    "profile.function.codegen-units=1",
    "profile.function.panic=\"abort\"",
    "profile.function.debug=false",
    "profile.function.strip=\"debuginfo\"",
    r#"target.wasm32-unknown-unknown.rustflags=["-C","link-arg=-zstack-size=65536","-C","link-arg=--initial-heap=524288","-C","target-feature=+simd128"]"#,
];
/// The most bytes of the compiler's output that an error keeps: the beginning, where the first error is.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A function crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    /// The name of the library in file names.
    pub(super) library: String,
    pub(super) manifest: PathBuf,
}

/// The package that functions are written with, and where its manifest is below the root of Roost's sources.
const SDK: (&str, &str) = ("roost-function", "functions/sdk/Cargo.toml");
/// Tells cargo which folder to compile in.
const TARGET_VARIABLE: &str = "CARGO_TARGET_DIR";

/// A workspace as cargo describes it.
#[derive(Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    target_folder: PathBuf,
    functions: Vec<Package>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    name: String,
    crate_types: Vec<String>,
}

impl Workspace {
    /// Reads the packages of the workspace with `cargo metadata`. It is compiled in `target_folder`, if there is one.
    pub(super) async fn read(source: &Path, target_folder: Option<PathBuf>) -> Result<Self, BuildError> {
        let mut workspace = Self::of(metadata(source, &["--no-deps"]).await?);
        if let Some(target_folder) = target_folder {
            workspace.target_folder = target_folder;
        }
        Ok(workspace)
    }

    /// The folder with the workspace's manifest.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn of(metadata: Metadata) -> Self {
        let functions = metadata.packages.into_iter().filter_map(|package| {
            let is_cdylib = |target: &MetadataTarget| target.crate_types.iter().any(|kind| kind == "cdylib");
            let library = package.targets.into_iter().find(is_cdylib)?;
            Some(Package {
                name: package.name,
                library: library.name.replace('-', "_"),
                manifest: package.manifest_path,
            })
        });
        Self { functions: functions.collect(), root: metadata.workspace_root, target_folder: metadata.target_directory }
    }

    /// The named packages; without names, all functions of the source folder.
    pub(super) fn select(&self, source: &Path, names: &[String]) -> Result<Vec<Package>, BuildError> {
        if names.is_empty() {
            return self.functions_of(source);
        }
        let find = |name: &String| {
            let found = self.functions.iter().find(|package| package.name == *name);
            found.cloned().ok_or_else(|| BuildError::UnknownFunction { name: name.clone(), known: self.names() })
        };
        names.iter().map(find).collect()
    }

    fn functions_of(&self, source: &Path) -> Result<Vec<Package>, BuildError> {
        // Cargo answers with canonical paths.
        let source = source.canonicalize().map_err(|error| BuildError::File { path: source.to_owned(), error })?;
        let belongs = |package: &&Package| package.belongs_to(&source);
        let packages: Vec<Package> = self.functions.iter().filter(belongs).cloned().collect();
        if packages.is_empty() { Err(BuildError::NoFunctions(source)) } else { Ok(packages) }
    }

    /// All function crates of the workspace.
    pub(super) fn functions(&self, source: &Path) -> Result<SourceFunctions, BuildError> {
        let source = source.canonicalize().map_err(|error| BuildError::File { path: source.to_owned(), error })?;
        let function_crate = |package: &Package| FunctionCrate {
            name: package.name.clone(),
            folder: package.manifest.parent().unwrap_or(&source).to_owned(),
            by_default: package.belongs_to(&source),
        };
        let crates = self.functions.iter().map(function_crate).collect();
        Ok(SourceFunctions { crates, target_folder: self.target_folder.clone() })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.functions.iter().map(|package| package.name.clone()).collect()
    }

    /// Compiles all packages with one `cargo build`.
    pub(super) async fn compile(
        &self,
        source: &Path,
        packages: &[Package],
        progress: &(impl Fn(&str) + Send + Sync),
    ) -> Result<(), BuildError> {
        let mut command = command("cargo", source);
        command.env(TARGET_VARIABLE, &self.target_folder);
        command.args(["build", "--lib", "--target", TARGET, "--profile", PROFILE]);
        for package in packages {
            command.args(["--package", &package.name]);
        }
        if !self.defines_profile() {
            for setting in PROFILE_SETTINGS {
                command.args(["--config", setting]);
            }
        }
        let message = run(command, progress).await?;
        message.map_or(Ok(()), |message| Err(BuildError::Compiler { message }))
    }

    fn defines_profile(&self) -> bool {
        std::fs::read_to_string(self.root.join("Cargo.toml"))
            .ok()
            .and_then(|manifest| manifest.parse::<toml::Table>().ok())
            .is_some_and(|manifest| manifest.get("profile").is_some_and(|profile| profile.get(PROFILE).is_some()))
    }

    /// The path of the module that cargo writes for this package.
    pub(super) fn module(&self, package: &Package) -> PathBuf {
        self.target_folder.join(TARGET).join(PROFILE).join(format!("{}.wasm", package.library))
    }
}

impl Package {
    /// Whether the package is a function of this source folder: in the folder `functions`, or alone in the source
    /// folder. A function that is further below, such as an example, is built only by its name.
    fn belongs_to(&self, source: &Path) -> bool {
        let folder = self.manifest.parent();
        folder == Some(source) || folder.and_then(Path::parent) == Some(&source.join("functions"))
    }
}

async fn metadata(source: &Path, arguments: &[&str]) -> Result<Metadata, BuildError> {
    let arguments = [&["metadata", "--format-version", "1"], arguments].concat();
    let output = output("cargo", source, &arguments).await?;
    let refused = |message: String| BuildError::Workspace { source_folder: source.to_owned(), message };
    if !output.status.success() {
        return Err(refused(text(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| refused(error.to_string()))
}

/// The root of the sources that the sdk of a source folder comes from, in a folder of their own or in one where cargo
/// has put a git repository.
pub(super) async fn checkout_of_sdk(source: &Path) -> Result<Option<PathBuf>, BuildError> {
    let (name, manifest) = SDK;
    let packages = metadata(source, &["--filter-platform", TARGET]).await?.packages;
    let sdk = packages.into_iter().find(|package| package.name == name);
    let below = Path::new(manifest).components().count();
    Ok(sdk.and_then(|sdk| sdk.manifest_path.ancestors().nth(below).map(Path::to_owned)))
}

/// Installs the WebAssembly target, unless the toolchain has it.
pub(super) async fn ensure_target(source: &Path, progress: &(impl Fn(&str) + Send + Sync)) -> Result<(), BuildError> {
    let output = output("rustc", source, &["--print", "target-libdir", "--target", TARGET]).await?;
    if Path::new(text(&output.stdout).trim()).is_dir() {
        return Ok(());
    }
    progress(&format!("the target {TARGET} is not installed; adding it with rustup"));
    let mut command = command("rustup", source);
    command.args(["target", "add", TARGET]);
    let message = run(command, progress).await?;
    message.map_or(Ok(()), |message| Err(BuildError::Target { message }))
}

/// Runs in the source folder, so that its `.cargo/config.toml` and `rust-toolchain.toml` apply.
fn command(program: &'static str, source: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(source).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(program: &'static str, source: &Path, arguments: &[&str]) -> Result<Output, BuildError> {
    let output = command(program, source).args(arguments).output().await;
    output.map_err(|error| BuildError::Program { program, error })
}

/// Runs a program to its end and shows its progress. `Some`: it failed, with this output.
async fn run(mut command: Command, progress: &(impl Fn(&str) + Send + Sync)) -> Result<Option<String>, BuildError> {
    let program = if command.as_std().get_program() == "cargo" { "cargo" } else { "rustup" };
    let failed = |error| BuildError::Program { program, error };
    command.envs(CARGO_VARIABLES).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (mut message, mut build) = (String::new(), BuildProgress::new(Instant::now()));
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Some(line) = lines.next_segment().await.map_err(failed)? {
            for part in text(&line).split('\r') {
                match build.read(part, Instant::now()) {
                    CargoOutput::Message(line) => {
                        progress(&line);
                        keep(&mut message, &line);
                    }
                    CargoOutput::Report(report) => progress(&report),
                    CargoOutput::Nothing => {}
                }
            }
        }
    }
    let status = child.wait().await.map_err(failed)?;
    Ok((!status.success()).then_some(message))
}

fn keep(message: &mut String, line: &str) {
    if message.len() + line.len() < MESSAGE_BYTES_MAX {
        message.push_str(line);
        message.push('\n');
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(root: &Path) -> Workspace {
        let package = |name: &str, folder: &str| Package {
            name: name.into(),
            library: name.replace('-', "_"),
            manifest: root.join(folder).join("Cargo.toml"),
        };
        Workspace {
            root: root.to_owned(),
            target_folder: root.join("target"),
            functions: vec![
                package("last-message", "functions/last-message"),
                package("reactions", "functions/examples/reactions"),
                package("hostile", "tests/guests/hostile"),
            ],
        }
    }

    #[test]
    fn another_workspace_gets_the_profile_and_flags_of_this_one() {
        let read = |file: &str| -> toml::Table {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
            std::fs::read_to_string(path).unwrap().parse().unwrap()
        };
        let settings: toml::Table = PROFILE_SETTINGS.join("\n").parse().unwrap();
        assert_eq!(settings["profile"]["function"], read("Cargo.toml")["profile"]["function"]);
        assert_eq!(settings["target"], read(".cargo/config.toml")["target"]);
    }

    #[test]
    fn without_names_all_functions_are_selected() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let workspace = workspace(&root);
        let selected = workspace.select(&root, &[]).unwrap();
        assert_eq!(selected.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["last-message"]);
        assert!(workspace.module(&selected[0]).ends_with("wasm32-unknown-unknown/function/last_message.wasm"));
    }

    #[test]
    fn a_name_finds_a_function_anywhere_in_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        assert_eq!(workspace.select(folder.path(), &["hostile".into()]).unwrap()[0].name, "hostile");
        let error = workspace.select(folder.path(), &["typo".into()]).unwrap_err();
        let expected = "no function crate is named typo; the function crates are last-message, reactions, hostile";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn crates_below_the_folder_of_functions_are_known_and_built_only_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let functions = workspace(&root).functions(&root).unwrap();
        let by_default: Vec<_> = functions.crates.iter().map(|each| (each.name.as_str(), each.by_default)).collect();
        assert_eq!(by_default, [("last-message", true), ("reactions", false), ("hostile", false)]);
        assert_eq!(functions.crates[1].folder, root.join("functions/examples/reactions"));
    }

    #[test]
    fn a_single_crate_is_built_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut workspace = workspace(&root);
        workspace.functions.truncate(1);
        workspace.functions[0].manifest = root.join("Cargo.toml");
        assert_eq!(workspace.select(&root, &[]).unwrap().len(), 1);
        workspace.functions.clear();
        assert!(matches!(workspace.select(&root, &[]), Err(BuildError::NoFunctions(_))));
    }

    #[test]
    fn only_a_workspace_without_the_profile_gets_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "[package]\nname = \"a\"\n").unwrap();
        assert!(!workspace.defines_profile());
        std::fs::write(&manifest, "[profile.function]\ninherits = \"release\"\n").unwrap();
        assert!(workspace.defines_profile());
    }

    #[test]
    fn only_packages_with_a_cdylib_are_functions() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[
                {"name":"core","manifest_path":"/w/core/Cargo.toml","targets":[{"name":"core","crate_types":["lib"]}]},
                {"name":"a-b","manifest_path":"/w/a/Cargo.toml","targets":[{"name":"a_b","crate_types":["cdylib"]}]}]}"#,
        )
        .unwrap();
        assert_eq!(Workspace::of(metadata).names(), ["a-b"]);
    }
}
