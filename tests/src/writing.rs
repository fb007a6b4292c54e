//! What somebody who writes functions does: runs the real binary on sources, with cargo, offline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::binary;
use crate::sources::root;

/// Where commands in this folder compile. The repository has its own target folder, where everything is built already.
/// What the tests write or copy is apart from it: another package of the same name, or another copy of the same
/// package, would replace what is built there without cargo noticing. This folder is kept, so that only the first run
/// compiles the sdk.
pub fn target_folder(folder: &Path) -> PathBuf {
    let components = crate::components();
    let target = components.parent().expect("components are in the target folder");
    if folder.starts_with(root()) { target.to_owned() } else { target.join("new-functions") }
}

/// The result of a command, as text.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

/// Runs the binary in a folder.
pub fn roost(folder: &Path, arguments: &[&str]) -> Finished {
    run(&binary(), folder, arguments)
}

/// Runs cargo in a folder.
pub fn cargo(folder: &Path, arguments: &[&str]) -> Finished {
    run(Path::new("cargo"), folder, arguments)
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments);
    command.env("CARGO_TARGET_DIR", target_folder(folder)).env("CARGO_NET_OFFLINE", "true");
    // Cargo names the toolchain and the package of the test; another build must not see them. With `RUSTC_BOOTSTRAP`,
    // which `--report-time` needs, cargo would compile everything again.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO_MANIFEST_DIR").env_remove("RUSTC_BOOTSTRAP");
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Finished { code: status.code(), output: text(stdout), errors: text(stderr) }
}

impl Finished {
    /// Asserts that the command succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.output, self.errors);
        self
    }
}

/// Copies the files of the repository, committed or not, into a folder.
pub fn copy_checkout(into: &Path) {
    copy_sources(into, &[]);
}

/// Copies the files of these folders of the repository, committed or not; without folders, all files. Answers their
/// names.
pub fn copy_sources(into: &Path, folders: &[&str]) -> Vec<String> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"];
    let mut command = Command::new("git");
    let listed = command.args(arguments).args(folders).current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "git could not list the files");
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names: Vec<String> = names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    for name in &names {
        let (from, to) = (root().join(name), into.join(name));
        // A file that was deleted and is still listed.
        if from.is_file() {
            fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        }
    }
    names
}
