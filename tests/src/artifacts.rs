//! Finds what `tests/run` has built for the tests: the `roost` binary and the function components.
//!
//! Builds nothing itself: a test that finds nothing fails with the command that builds the missing part.

use std::env;
use std::path::PathBuf;

/// The target folder of the running test: `<target>/<profile>/deps/<test>`.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    let deps = test.parent().expect("a test lies in a folder");
    let profile = if deps.ends_with("deps") { deps.parent() } else { Some(deps) };
    profile.expect("deps lies in the profile's folder").to_owned()
}

/// The folder of the built function components.
///
/// # Panics
/// When they have not been built.
pub fn components() -> PathBuf {
    let folder = profile_folder().parent().expect("a profile lies in the target folder").join("functions");
    assert!(folder.join("typing.wasm").exists(), "{}: no components; `tests/run` builds them", folder.display());
    folder
}

/// The folder of the built hostile guests.
///
/// # Panics
/// When they have not been built.
pub fn guests() -> PathBuf {
    let folder = profile_folder().parent().expect("a profile lies in the target folder").join("guests");
    assert!(folder.exists(), "{}: no guests; `tests/run` builds them", folder.display());
    folder
}

/// The real binary.
///
/// # Panics
/// When it has not been built.
pub fn binary() -> PathBuf {
    let binary = profile_folder().join("roost");
    assert!(binary.exists(), "{}: no binary; `tests/run` builds it", binary.display());
    binary
}
