//! Grants are denied by default: a function that does not come with Roost is served only with the grants that the
//! configuration allows, in development with those that the developer's own sources ask for.

use std::fs;
use std::path::Path;

use roost::config::default_grants;
use roost::runtime::{Allowance, OwnSources, effective};
use roost_tests::eventually::{eventually, eventually_true};
use roost_tests::fixture::no_functions;
use roost_tests::server::{Server, command};
use roost_tests::{components, guests};
use serde_json::json;
use tempfile::TempDir;

/// What the guest `hostile` asks for, as a refusal names it.
const REFUSAL: &str = "it asks for the grants `records.read-documents`, `records.document-names`, which are not allowed by \
                       configuration; allow what it asks for with function.hostile.grants.records = \
                       [\"read-documents\", \"document-names\"], or everything that it ever asks for with \
                       function.hostile.grants.all = true; whoever deploys it can allow it for this deployment with \
                       --allow-grants records.read-documents,records.document-names";

/// A folder with these guests.
fn folder_of(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(guests().join(name).with_extension("wasm"), folder.path().join(name).with_extension("wasm")).unwrap();
    }
    folder
}

#[tokio::test]
async fn the_default_grants_are_exactly_what_the_built_in_functions_ask_for() {
    let asking = no_functions(|options| {
        options.named.clear();
        options.own_sources = Some(OwnSources::new(|_| true));
    })
    .await;
    asking.load_dir(&components()).await.unwrap();
    let listed = asking.list();
    assert!(listed.len() >= 6, "{}", listed.len());
    for function in listed {
        let defaults = default_grants(&function.name);
        let defaults = defaults.unwrap_or_else(|| panic!("{} comes with Roost and has no defaults", function.name));
        let everything = Allowance::parse("all").unwrap();
        let allowed = Allowance::of_config(&defaults);
        assert_eq!(effective(function.grants, allowed).refused.names(), [""; 0], "{} is not allowed", function.name);
        let names = function.grants.names().join(",");
        assert_eq!(Allowance::parse(&names), Ok(allowed), "{} does not ask for all of its defaults", function.name);
        assert_eq!(effective(function.grants, everything).given, function.grants);
    }
}

#[tokio::test]
async fn a_function_that_asks_for_what_is_not_allowed_is_refused_in_one_sentence() {
    let bytes = fs::read(guests().join("hostile.wasm")).unwrap();
    let denied = no_functions(|_| {}).await;
    let refused = denied.deploy("hostile.wasm", bytes.clone()).await.unwrap_err();
    assert_eq!(refused.failure.code(), "grant_refused");
    assert_eq!(refused.to_string(), format!("hostile.wasm: {REFUSAL}"));
    assert!(denied.list().is_empty());
}

#[tokio::test]
async fn a_host_starts_only_with_functions_whose_grants_are_allowed() {
    let served = folder_of(&["hostile"]);
    let folder = tempfile::tempdir().unwrap();
    let start = async |set: &[&str]| {
        let mut command = command(folder.path());
        command.args(["serve", "--functions-dir"]).arg(served.path());
        for setting in set {
            command.args(["--set", setting]);
        }
        let output = command.stderr(std::process::Stdio::piped()).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, written) = start(&[]).await;
    assert!(code == Some(1) && written.contains(&format!("\n  hostile.wasm: {REFUSAL}\n")), "{written}");
    let (code, written) = start(&["function.hostile.grants.records=read-documents"]).await;
    assert!(code == Some(1) && written.contains("asks for the grant `records.document-names`, which is"), "{written}");
    let (code, written) = start(&["function.hostile.grants.all=true", "function.hostile.grants.publish=true"]).await;
    assert!(code == Some(2) && written.contains("function.hostile.grants.all allows everything already"), "{written}");

    for setting in [
        ("function.hostile.grants.records", "read-documents,document-names,history"),
        ("function.hostile.grants.all", "true"),
    ] {
        let server = Server::serve(served.path(), &[setting]).await;
        let listed = server.operator().get("/functions").await.json(200);
        let granted = json!({ "read": [], "write": [], "publish": "nobody", "subscribe": false, "records": ["read-documents", "document-names"] });
        assert_eq!(listed["functions"][0]["grants"], granted, "what is allowed and not asked for is not granted");
    }
}

/// A package in the source folder of a host that `Server::develop` has started.
fn add_source(server: &Server, name: &str) {
    let folder = server.folder().join("functions").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Cargo.toml"), format!("[package]\nname = \"{name}\"\n")).unwrap();
}

fn copy_guest(name: &str, to: &Path) {
    let unfinished = to.join(format!(".{name}.unfinished"));
    fs::copy(guests().join(name).with_extension("wasm"), &unfinished).unwrap();
    fs::rename(unfinished, to.join(name).with_extension("wasm")).unwrap();
}

#[tokio::test]
async fn in_development_only_the_developers_own_functions_get_what_they_ask_for() {
    let built = tempfile::tempdir().unwrap();
    fs::copy(components().join("typing.wasm"), built.path().join("typing.wasm")).unwrap();
    let server = Server::develop(built.path(), &[]).await;
    copy_guest("hostile", built.path());
    eventually_true("the refusal in the log", || server.log().contains("function.hostile.grants.all = true")).await;
    let listed = server.operator().get("/functions").await.json(200);
    let names: Vec<_> = listed["functions"].as_array().unwrap().iter().map(|function| &function["name"]).collect();
    assert_eq!(names, ["typing"], "a component without sources is not trusted");

    add_source(&server, "conformance");
    copy_guest("conformance", built.path());
    let given = "so it is allowed what it asks for";
    eventually_true("the grants in the log", || server.log().contains(given)).await;
    let line = server.log().lines().find(|line| line.contains(given)).unwrap().to_owned();
    assert!(line.contains("write.app") && line.contains("records.put-document"), "{line}");
    // The line is written before the function serves.
    eventually("the function serves", async || {
        let listed = server.operator().get("/functions").await.json(200);
        listed["functions"].as_array().unwrap().iter().any(|function| function["name"] == "conformance")
    })
    .await;
    let written = server.anonymous().post("/v1/notes", json!({ "text": "mine" })).await.json(200);
    assert_eq!(written["app"], "mine");
}
