//! `roost new` from end to end: a new function, in a folder of its own and in Roost's sources, builds offline, passes
//! its unit tests and its scenario, serves, and goes when it is renamed.

use std::fs;
use std::path::Path;

use roost_tests::eventually::eventually_within;
use roost_tests::server::Server;
use roost_tests::sources::root;
use roost_tests::writing::{cargo, copy_checkout, roost, target_folder};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// How long a build may take while other tests build, too.
const BUILD_TIME_MAX: Duration = Duration::from_secs(300);

/// The names of the functions that a host serves.
async fn served(server: &Server) -> Vec<String> {
    let answer = server.operator().get("/functions").await.json(200);
    answer["functions"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap().to_owned()).collect()
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: {from}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_in_a_folder_of_its_own_builds_is_tested_served_and_renamed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let sdk = root().display().to_string();
    let made = roost(elsewhere.path(), &["new", "votes", "--sdk", &sdk]).succeeded();
    assert!(made.output.starts_with("votes: a function that counts"), "{}", made.output);
    let folder = elsewhere.path().join("votes");

    let tested = cargo(&folder, &["test", "--offline"]).succeeded();
    assert!(tested.output.contains("test result: ok. 2 passed"), "{}", tested.output);
    let built = roost(&folder, &["build"]).succeeded();
    let summary = built.errors.lines().find(|line| line.starts_with("votes: ")).unwrap();
    assert!(summary.contains(" bytes, ") && summary.ends_with("target/functions/votes.wasm"), "{summary}");
    assert!(built.errors.contains("\n  imports key-value, "), "{}", built.errors);
    let tested = roost(&folder.join("src"), &["test"]).succeeded();
    assert!(tested.output.ends_with("3 cases: 3 passed, 0 failed\n"), "{}", tested.output);

    // What is saved while the host starts, after the first build, is built too.
    let (lib, component) = (folder.join("src/lib.rs"), folder.join("target/functions/votes.wasm"));
    fs::remove_file(&component).unwrap();
    let save = async {
        eventually_within(BUILD_TIME_MAX, "the component of the first build", async || component.exists()).await;
        replace(&lib, "mod tally;", "mod tally;\nthis is not Rust");
    };
    let target = target_folder(&folder);
    let variables = [("CARGO_TARGET_DIR", target.as_path())];
    let (server, ()) = tokio::join!(Server::develop_sources(&folder, &variables), save);
    assert_eq!(served(&server).await, ["votes"]);
    let user = server.user(Uuid::new_v4());
    for count in 1..3 {
        assert_eq!(user.post("/v1/votes", json!({})).await.json(200), json!({ "count": count }));
    }
    assert_eq!(user.get("/v1/votes").await.json(200), json!({ "count": 2 }));

    // A build that fails changes nothing.
    let unchanged = "the live functions are unchanged";
    eventually_within(BUILD_TIME_MAX, "a failed build", async || server.log().contains(unchanged)).await;
    assert_eq!(served(&server).await, ["votes"]);

    // The renamed function has the same routes, so it is refused until the old one is gone.
    replace(&folder.join("Cargo.toml"), "name = \"votes\"", "name = \"polls\"");
    replace(&lib, "\nthis is not Rust", "");
    eventually_within(BUILD_TIME_MAX, "the renamed function", async || served(&server).await == ["polls"]).await;
    user.post("/v1/votes", json!({})).await.json(200);
    assert!(folder.join("target/functions/polls.wasm").is_file());
    assert!(!folder.join("target/functions/votes.wasm").exists(), "the component of the old name is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_in_roosts_own_sources_builds_is_tested_and_serves_beside_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let checkout = folder.path().join("roost");
    copy_checkout(&checkout);
    roost(&checkout.join("docs"), &["new", "votes"]).succeeded();
    let again = roost(&checkout, &["new", "votes"]);
    assert_eq!(again.code, Some(1));
    assert!(again.errors.contains("functions/votes exists, and nothing in it is changed"), "{}", again.errors);

    let tested = roost(&checkout, &["test", "votes"]).succeeded();
    assert!(tested.output.ends_with("3 cases: 3 passed, 0 failed\n"), "{}", tested.output);
    let out = folder.path().join("served");
    roost(&checkout, &["build", "votes", "typing", "--out", &out.display().to_string()]).succeeded();
    // As docs/functions.md names them.
    let grants = ["read=app", "write=app", "publish=true"].map(|grant| format!("function.votes.grants.{grant}"));
    let grants: Vec<_> = grants.iter().filter_map(|grant| grant.split_once('=')).collect();
    let server = Server::serve(&out, &grants).await;
    assert_eq!(served(&server).await, ["typing", "votes"]);
    let counted = server.user(Uuid::new_v4()).post("/v1/votes", json!({})).await.json(200);
    assert_eq!(counted, json!({ "count": 1 }));
}

#[test]
fn outside_of_a_checkout_the_message_names_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let refused = roost(folder.path(), &["new", "votes"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.errors.contains("`roost new votes --sdk FOLDER`"), "{}", refused.errors);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
