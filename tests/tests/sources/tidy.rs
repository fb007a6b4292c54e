//! The structure of the workspace as tests: which package may depend on which, what the core and the components never
//! use, that nothing is left unfinished, and what the top level holds. `style.rs` has the rules about the text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use roost_tests::sources::{files, root};

use wasmparser::{ComponentExternName, Encoding, Parser, Payload};

/// The part of the workspace that a package belongs to.
fn part(manifest: &Path) -> &'static str {
    let path = manifest.strip_prefix(root()).unwrap();
    let mut names = path.iter().map(|name| name.to_str().unwrap());
    match (names.next().unwrap(), names.next()) {
        ("core", _) => "core",
        ("host", _) => "host",
        ("functions", Some("sdk")) => "sdk",
        ("functions", _) => "function",
        ("tests", Some("fuzz")) => "fuzz",
        ("tests", Some("guests")) => "guest",
        ("tests", _) => "tests",
        (other, _) => panic!("{other}: a package in a folder that the workspace does not have"),
    }
}

fn manifests() -> Vec<(PathBuf, toml::Table)> {
    let all = files(&root(), "toml").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    all.map(|path| (path.clone(), fs::read_to_string(path).unwrap().parse().unwrap()))
        .filter(|(_, manifest): &(_, toml::Table)| manifest.contains_key("package"))
        .collect()
}

/// `cargo test` builds no harness for such a crate, and would not run a test in it.
#[test]
fn a_crate_without_a_test_harness_has_no_tests() {
    let mut checked = 0;
    for (path, manifest) in manifests() {
        let harness = manifest.get("lib").and_then(|lib| lib.get("test")).and_then(toml::Value::as_bool);
        if harness == Some(false) {
            checked += 1;
            for source in files(path.parent().unwrap(), "rs") {
                let text = fs::read_to_string(&source).unwrap();
                let is_test = ["test]", "::test(", "proptest!"].iter().any(|sign| text.contains(sign));
                assert!(!is_test, "{}: its tests are not run; see {}", source.display(), path.display());
            }
        }
    }
    assert!(checked > 0, "no crate leaves out its harness: remove this test");
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let manifests = manifests();
    let parts: Vec<(String, &str)> = manifests
        .iter()
        .map(|(path, manifest)| (manifest["package"]["name"].as_str().unwrap().to_owned(), part(path)))
        .collect();
    assert!(parts.iter().any(|(name, part)| name == "typing" && *part == "function"), "the packages were not found");
    for (path, manifest) in &manifests {
        let allowed: &[&str] = match part(path) {
            "core" => &[],
            "sdk" => &["core"],
            "host" => &["core"],
            "function" | "guest" => &["core", "sdk"],
            "fuzz" => &["tests"],
            _ => &["core", "host", "sdk"],
        };
        for dependency in dependencies(manifest) {
            if let Some((_, part)) = parts.iter().find(|(name, _)| *name == dependency) {
                assert!(allowed.contains(part), "{} depends on {dependency}, part of {part}", path.display());
            }
        }
    }
}

#[test]
fn the_core_depends_on_nothing_that_does_io() {
    let allowed = ["schemars", "serde", "serde_json", "thiserror", "time", "uuid"];
    let manifest: toml::Table = fs::read_to_string(root().join("core/Cargo.toml")).unwrap().parse().unwrap();
    let found = manifest["dependencies"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(found, allowed);
}

#[test]
fn the_core_touches_no_clock_file_thread_or_environment() {
    let banned = [
        "Instant::now",
        "SystemTime",
        "now_utc",
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "std::process",
        "HashMap",
        "rand::",
        "println!",
    ];
    let sources = files(&root().join("core/src"), "rs");
    assert!(sources.len() > 20, "the core's sources were not found");
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        for word in banned {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

/// The instances a component imports and exports, by name.
fn outside(component: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::Version { encoding, .. } => {
                depth += 1;
                assert!(depth > 1 || encoding == Encoding::Component, "not a component");
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                imports.extend(section.into_iter().map(|import| name(import.unwrap().name)));
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                exports.extend(section.into_iter().map(|export| name(export.unwrap().name)));
            }
            _ => {}
        }
    }
    (imports, exports)
}

fn name(name: ComponentExternName<'_>) -> String {
    name.name.to_owned()
}

#[test]
fn components_import_nothing_but_the_contract() {
    let folder = roost_tests::components();
    for function in ["contacts", "last-message", "messaging", "presence", "typing", "unread"] {
        let path = folder.join(function).with_extension("wasm");
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (imports, exports) = outside(&bytes);
        for import in &imports {
            let known = import.strip_prefix("roost:edge/").is_some_and(|rest| rest.ends_with("@0.1.0"));
            assert!(known, "{function} imports {import}");
        }
        assert!(!imports.is_empty());
        assert_eq!(exports.into_iter().collect::<Vec<_>>(), ["roost:edge/handler@0.1.0"], "{function}");
    }
}

#[test]
fn no_unfinished_code_is_left() {
    // Written in parts, so that this file does not contain the words itself.
    let banned =
        [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    for path in files(&root(), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
        assert!(!text.contains(&["#[ig", "nore"].concat()), "{}: a test that never runs", path.display());
    }
}

#[test]
fn every_file_starts_with_its_purpose() {
    for path in files(&root(), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.trim_start().starts_with("//!"), "{}: add a head that says what the file is for", path.display());
    }
}

#[test]
fn the_top_level_has_only_its_listed_entries() {
    let allowed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "clippy.toml",
        "core",
        "docs",
        "functions",
        "host",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "tests",
        "wit",
    ];
    let tracked = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    assert!(tracked.status.success(), "git could not list the files");
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let top: BTreeSet<&str> = tracked.lines().map(|path| path.split('/').next().unwrap()).collect();
    assert!(top.contains("core"), "the files were not found");
    for name in top {
        assert!(
            name.starts_with('.') || allowed.contains(&name),
            "{name} is at the top level; move it or add it to the list"
        );
    }
}
