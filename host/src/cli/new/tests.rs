//! Where new functions are put, what is written, and what is never changed.

use super::*;

fn args(name: &str, path: Option<&Path>, sdk: Option<&Path>) -> NewArgs {
    NewArgs {
        name: name.to_owned(),
        path: path.map(Path::to_owned),
        sdk: sdk.map(|folder| folder.display().to_string()),
        tag: None,
    }
}

/// A folder that looks like Roost's sources.
fn checkout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("Cargo.toml", "[workspace]\nmembers = [\"functions/*\"]\n"),
        ("Cargo.lock", "[[package]]\nname = \"typing\"\nversion = \"0.1.0\"\n"),
        ("core/Cargo.toml", ""),
        ("functions/sdk/Cargo.toml", ""),
        ("wit/world.wit", ""),
    ] {
        create(&folder.path().join(path), text).unwrap();
    }
    folder
}

fn refused(args: &NewArgs, here: &Path) -> NewError {
    NewFunction::plan(args, here).and_then(|function| function.write()).unwrap_err()
}

#[test]
fn a_member_is_written_below_functions_from_anywhere_in_the_checkout() {
    let checkout = checkout();
    let root = checkout.path();
    let function = NewFunction::plan(&args("votes", None, None), &root.join("core")).unwrap();
    function.write().unwrap();
    let read = |path: &str| fs::read_to_string(root.join("functions/votes").join(path)).unwrap();
    assert!(read("Cargo.toml").contains("name = \"votes\"\n") && read("src/lib.rs").contains("\"/v1/votes\""));
    assert!(read("scenario.toml").contains("POST /v1/votes") && read("src/tally.rs").contains("\"votes.changed\""));
    for path in ["Cargo.toml", "src/lib.rs", "src/tally.rs", "scenario.toml"] {
        assert!(!read(path).contains(TEMPLATE_NAME), "{path}");
    }
    let next = function.next_steps(root);
    assert!(next.starts_with("functions/votes: ") && next.contains("cargo test -p votes\n"), "{next}");
    assert!(!next.contains("members"), "{next}");
}

#[test]
fn a_checkout_that_lists_its_members_needs_one_more_step() {
    let checkout = checkout();
    fs::write(checkout.path().join("Cargo.toml"), "[workspace]\nmembers = [\"core\"]\n").unwrap();
    let function = NewFunction::plan(&args("votes", None, None), checkout.path()).unwrap();
    assert!(function.next_steps(checkout.path()).contains("add \"functions/votes\" to `members` in Cargo.toml\n"));
}

#[test]
fn a_folder_of_its_own_is_a_workspace_with_the_versions_of_the_checkout() {
    let (checkout, elsewhere) = (checkout(), tempfile::tempdir().unwrap());
    let here = elsewhere.path();
    let function = NewFunction::plan(&args("votes", None, Some(checkout.path())), here).unwrap();
    function.write().unwrap();
    let read = |path: &str| fs::read_to_string(here.join("votes").join(path)).unwrap();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    assert!(manifest.contains_key("workspace") && manifest["package"]["name"].as_str() == Some("votes"));
    let sdk = manifest["dependencies"]["roost-function"]["path"].as_str().unwrap();
    assert!(here.join("votes").join(sdk).join("Cargo.toml").is_file(), "{sdk}");
    assert_eq!(read("Cargo.lock"), fs::read_to_string(checkout.path().join("Cargo.lock")).unwrap());
    assert_eq!(read(".gitignore"), "/target\n/.roost\n");
    assert!(function.next_steps(here).contains("  cd votes\n  cargo test\n"));
}

#[test]
fn the_nearest_checkout_is_the_default_sdk_of_another_folder() {
    let (checkout, elsewhere) = (checkout(), tempfile::tempdir().unwrap());
    let path = elsewhere.path().join("deep/votes");
    NewFunction::plan(&args("votes", Some(&path), None), &checkout.path().join("core")).unwrap().write().unwrap();
    assert!(path.join("src/lib.rs").is_file());
}

#[test]
fn an_existing_folder_is_never_changed() {
    let checkout = checkout();
    let folder = checkout.path().join("functions/votes");
    fs::create_dir(&folder).unwrap();
    let error = refused(&args("votes", None, None), checkout.path());
    assert!(matches!(&error, NewError::Exists(path) if *path == folder), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_written() {
    let (checkout, elsewhere) = (checkout(), tempfile::tempdir().unwrap());
    let (root, here) = (checkout.path(), elsewhere.path());
    assert!(matches!(refused(&args("votes", None, None), here), NewError::NoCheckout { .. }));
    assert!(matches!(refused(&args("votes", Some(here), None), here), NewError::NoCheckout { .. }));
    assert!(matches!(refused(&args("typing", None, None), root), NewError::Name(NameError::Taken(_))));
    assert!(matches!(refused(&args("typing", None, Some(root)), here), NewError::Name(NameError::Taken(_))));
    assert!(matches!(refused(&args("Votes", None, None), root), NewError::Name(NameError::Format(..))));
    let member = root.join("functions/votes");
    assert!(matches!(refused(&args("votes", Some(&member), None), root), NewError::WithinFunctions(_)));
    assert_eq!(fs::read_dir(here).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.join("functions")).unwrap().count(), 1);
}
