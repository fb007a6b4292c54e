//! The summary of `tests/run`: it names every failed test with the command that runs it alone, and hides no failure.

use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/test-command").join(name)
}

fn summary(status: &str, output: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("summary.awk");
    let mut command = Command::new("awk");
    let run = command.args(["-v", &format!("status={status}"), "-f"]).arg(script).arg(output).output();
    let run = run.expect("awk runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn the_summary_names_failed_tests_and_programs_without_a_result() {
    let expected = std::fs::read_to_string(golden("summary.txt")).unwrap();
    let shown = summary("101", &golden("output.txt"));
    assert_eq!(shown, expected, "tests/golden/test-command/summary.txt should contain:\n{shown}");
}

#[test]
fn what_one_run_filters_out_and_another_runs_is_not_filtered_out() {
    let result = |passed: u32, filtered: u32| {
        format!(
            "     Running tests/all/main.rs (target/debug/deps/all-01)\n\
             test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {filtered} filtered out; finished in 1s\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output.txt");
    for (runs, total) in [
        (vec![result(7, 3), result(3, 7)], "10 passed; 0 failed; 0 ignored; 0 filtered out; 1 test programs\n"),
        (vec![result(7, 3), result(2, 8)], "9 passed; 0 failed; 0 ignored; 1 filtered out; 1 test programs\n"),
        (vec![result(7, 3)], "7 passed; 0 failed; 0 ignored; 3 filtered out; 1 test programs\n"),
    ] {
        std::fs::write(&output, runs.concat()).unwrap();
        let shown = summary("0", &output);
        assert!(shown.ends_with(total), "{shown}");
    }
}

#[test]
fn the_summary_never_reports_ok_when_cargo_failed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output.txt");
    std::fs::write(&output, "error: could not compile `roost` (lib)\n").unwrap();
    let shown = summary("101", &output);
    assert!(shown.contains("do not compile") && shown.ends_with("0 test programs\n"), "{shown}");
    assert!(shown.contains("test result: FAILED."), "{shown}");
    std::fs::write(&output, "error: no such command\n").unwrap();
    assert!(summary("1", &output).contains("cargo test failed; see above."));
}
