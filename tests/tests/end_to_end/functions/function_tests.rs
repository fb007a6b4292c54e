//! `roost test` on the real functions: their scenarios hold, and a scenario that does not hold says precisely what is
//! different. The golden files are in `tests/golden/scenarios`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use roost_tests::sources::root;
use roost_tests::writing::{Finished, roost, target_folder};

/// The folder with the components of the functions that have a scenario. Their scenarios hold.
fn components() -> &'static Path {
    static COMPONENTS: OnceLock<PathBuf> = OnceLock::new();
    COMPONENTS.get_or_init(|| {
        let all = roost(&root(), &["test", "typing", "presence", "reactions"]).succeeded();
        assert!(all.output.ends_with("12 cases: 12 passed, 0 failed\n"), "{}", all.output);
        target_folder(&root()).join("function-tests")
    })
}

/// Runs a scenario of the golden folder, and answers the result with the path of the repository left out.
fn run(function: &str, scenario: &str) -> Finished {
    let scenario = format!("tests/golden/scenarios/{scenario}.toml");
    let components = components().display().to_string();
    roost(&root(), &["test", function, "--scenario", &scenario, "--components", &components])
}

fn check_golden(name: &str, found: &str) {
    let path = root().join("tests/golden/scenarios").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} should hold:\n{found}", path.display());
}

#[test]
fn what_is_different_is_reported_with_its_place() {
    let failed = run("reactions", "different");
    assert_eq!(failed.code, Some(1), "{}", failed.errors);
    check_golden("different.txt", &failed.output);
}

#[test]
fn what_a_frame_a_hook_and_a_schedule_lead_to_is_compared_too() {
    let failed = run("presence", "presence");
    assert_eq!(failed.code, Some(1), "{}", failed.errors);
    check_golden("presence.txt", &failed.output);
}

#[test]
fn a_step_that_cannot_be_run_is_an_error_with_its_line() {
    let mut errors = String::new();
    for name in ["unknown-name", "unknown-schedule", "unknown-owner", "streams", "no-component"] {
        let failed = run("reactions", name);
        assert_eq!(failed.code, Some(2), "{}", failed.output);
        errors.push_str(&failed.errors);
    }
    check_golden("not-run.txt", &errors);
}

#[test]
fn a_function_without_a_scenario_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let missing = roost(&root(), &["test", "contacts"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.errors.contains("functions/contacts/scenario.toml: cannot be read"), "{}", missing.errors);
    let unknown = roost(&root(), &["test", "reaction"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.errors.contains("no function crate is named reaction"), "{}", unknown.errors);
    let nowhere = roost(folder.path(), &["test"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.errors.contains("no function sources in"), "{}", nowhere.errors);
}
