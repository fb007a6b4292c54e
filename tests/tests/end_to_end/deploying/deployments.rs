//! Deployments over the admin listener, as operators make them on one host: uploads, refusals, canaries, rollbacks,
//! restarts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use roost_tests::client::Client;
use roost_tests::deployment::{
    DEPLOYED_WITHIN, change, changed, deploy, detail, folder_of_components, post, refused, stamped, version,
    version_of, withdrawal_of,
};
use roost_tests::eventually::{eventually, eventually_true, eventually_within};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use roost_tests::{components, guests};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_component_is_deployed_replaced_rolled_back_and_undeployed() {
    let server = Server::start(&[]).await;
    let user = Uuid::new_v4();
    let mut socket = Socket::open(&server, user).await;
    let first = deploy(&server, version("0.1.0", "ok"), "").await;
    assert_eq!(
        (&first["name"], &first["revision"], &first["replaced"]),
        (&json!("lifecycle"), &json!(1), &Value::Null)
    );
    assert_eq!(first["routes"]["added"], json!(["GET /v1/lifecycle/extra", "GET /v1/lifecycle/version"]));
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.1.0"));
    assert_eq!(socket.ok("lifecycle", json!({})).await["message"], true);

    let second = deploy(&server, version("0.2.0", "ok"), "").await;
    assert_eq!(second["replaced"]["revision"], 1);
    assert_eq!(second["replaced"]["digest"], first["digest"]);
    assert!(second["timings_ms"]["total"].is_u64() && second["hosts"][0]["done"] == true, "{second}");
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.2.0"));
    assert_eq!(socket.ok("lifecycle", json!({})).await["version"], "0.2.0", "the socket is the same");

    let back = changed(&server, "POST", "/rollback", "").await;
    assert_eq!((&back["revision"], &back["version"]), (&json!(1), &json!("0.1.0")));
    let (status, problem) = change(&server, "POST", "/rollback", "").await;
    assert_eq!((status, &problem["code"]), (404, &json!("revision_not_found")));
    let forward = changed(&server, "POST", "/rollback", r#"{"revision":2}"#).await;
    assert_eq!(forward["version"], "0.2.0");
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.2.0"));

    let (status, problem) = change(&server, "DELETE", "", "").await;
    assert_eq!((status, &problem["code"]), (422, &json!("removals_refused")));
    changed(&server, "DELETE", "?allow_removals=true", "").await;
    assert_eq!(version_of(&server, user).await, None);
    let kept = detail(&server).await;
    assert_eq!((&kept["serving"], kept["revisions"].as_array().unwrap().len()), (&Value::Null, 2));
    changed(&server, "POST", "/rollback", r#"{"revision":1}"#).await;
    assert_eq!(socket.ok("lifecycle", json!({})).await["version"], "0.1.0", "the socket is still the same");
}

#[tokio::test]
async fn every_refusal_names_its_reason_and_changes_nothing() {
    let server = Server::start(&[("function.lifecycle.memory_bytes_max", "2000000")]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    let guest = |name: &str| fs::read(guests().join(name)).unwrap();
    let foreign = |code: &'static str, part: &'static str| (422, code, part);
    let probe = |rest: &str| format!(r#"probe={{"method":"GET","path":"/v1/lifecycle/extra"{rest}}}"#);
    for (component, query, (status, code, part)) in [
        (b"text".to_vec(), String::new(), foreign("not_a_component", "no WebAssembly component")),
        (Vec::new(), String::new(), foreign("not_a_component", "no WebAssembly component")),
        (b"\0asm\x01\0\0\0".to_vec(), String::new(), foreign("not_a_component", "core module")),
        (guest("foreign-import.wasm"), String::new(), foreign("import_not_in_contract", "it imports ")),
        (
            guest("future-contract.wasm"),
            String::new(),
            foreign("contract_version", "this host supports roost:edge@0.1.0"),
        ),
        (guest("describe-trap.wasm"), String::new(), foreign("describe_failed", "its describe failed: no idea")),
        (version("0.2.0", "undescribed"), String::new(), foreign("describe_failed", "describe failed: wasm trap")),
        (version("0.2.0", "endless"), String::new(), foreign("describe_failed", "did not end within 2000 ms")),
        (version("0.2.0", "curious"), String::new(), foreign("describe_failed", "describe used the import clock.now")),
        (
            version("0.2.0", "large"),
            String::new(),
            foreign("memory_too_small", "function.lifecycle.memory_bytes_max is 2000000; raise it"),
        ),
        (guest("route-thief.wasm"), String::new(), foreign("route_taken", "of the function")),
        (version("0.2.0", "smaller"), String::new(), foreign("removals_refused", "GET /v1/lifecycle/extra")),
        (version("0.2.0", "ok"), probe(r#","status":201"#), foreign("probe_failed", "expected the status 201")),
        (version("0.2.0", "traps"), probe(""), foreign("probe_failed", "the function failed")),
        (version("0.2.0", "ok"), "probe=[]".to_owned(), (400, "invalid_query", "probe")),
        (version("0.2.0", "ok"), "cannary=5".to_owned(), (400, "invalid_query", "cannary")),
        (version("0.2.0", "ok"), "canary=101".to_owned(), (400, "percent_out_of_bounds", "0 to 100")),
        (vec![0; 33 << 20], String::new(), foreign("not_a_component", "")),
    ] {
        let (got, got_code, detail) = refused(&server, component, &query).await;
        assert_eq!((got, got_code.as_str()), (status, code), "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
    let mut giant = version("0.2.0", "ok");
    giant.resize(33 << 20, 0);
    let (got, got_code, reason) = refused(&server, giant, "").await;
    assert_eq!((got, got_code.as_str()), (413, "too_large"), "{reason}");
    let kept = detail(&server).await;
    assert_eq!((&kept["serving"]["version"], kept["revisions"].as_array().unwrap().len()), (&json!("0.1.0"), 1));
    let smaller = deploy(&server, version("0.2.0", "smaller"), "allow_removals=true").await;
    assert_eq!(smaller["routes"]["removed"], json!(["GET /v1/lifecycle/extra"]));
    let (status, problem) = change(&server, "PUT", "/canary", r#"{"percent":5}"#).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_canary")));
    server.operator().get("/functions/nothing").await.problem(404, "function_not_found");
    let unauthenticated = Client::new(server.admin, None);
    assert_eq!(post(&unauthenticated, "/functions", version("0.3.0", "ok")).await.0, 401);
}

#[tokio::test]
async fn a_canary_serves_the_same_users_every_time_and_grows() {
    let server = Server::start(&[]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    let canary = deploy(&server, version("0.2.0", "ok"), "canary=30").await;
    assert_eq!((&canary["revision"], &canary["canary"]), (&json!(2), &json!(30)));
    let users: Vec<Uuid> = (0..60).map(|_| Uuid::new_v4()).collect();
    let on_canary = async || {
        let mut on_canary = BTreeSet::new();
        for user in &users {
            if version_of(&server, *user).await.as_deref() == Some("0.2.0") {
                on_canary.insert(*user);
            }
        }
        on_canary
    };
    let first = on_canary().await;
    assert!((3..45).contains(&first.len()), "{} of 60 users", first.len());
    assert_eq!(on_canary().await, first, "a user sees one version");
    let member = *first.first().unwrap();
    let mut socket = Socket::open(&server, member).await;
    assert_eq!(socket.ok("lifecycle", json!({})).await["version"], "0.2.0", "frames see the same version");
    changed(&server, "PUT", "/canary", r#"{"percent":70}"#).await;
    assert!(on_canary().await.is_superset(&first), "nobody goes back when the share grows");
    let shown = detail(&server).await;
    let calls = |who: &str| shown["serving"]["canary"][who]["calls"].as_u64().unwrap();
    assert!(calls("canary_calls") > 0 && calls("stable_calls") > 0, "{shown}");
    changed(&server, "POST", "/rollback", "").await;
    assert_eq!(on_canary().await.len(), 0, "the canary was taken back");
    deploy(&server, version("0.3.0", "ok"), "canary=10").await;
    changed(&server, "POST", "/promote", "").await;
    assert_eq!(version_of(&server, users[0]).await.as_deref(), Some("0.3.0"));
}

#[tokio::test]
async fn a_canary_that_lacks_a_route_of_the_new_file_serves_everybody_only_if_that_is_allowed() {
    let components = folder_of_components();
    put(components.path(), &version("0.1.0", "smaller"));
    let server = Server::serve(components.path(), &[]).await;
    deploy(&server, version("0.2.0", "smaller"), "canary=50").await;
    put(components.path(), &version("0.3.0", "ok"));
    assert_eq!(post(&server.operator(), "/reload", Vec::new()).await.0, 200);
    let everybody = r#"{"percent":100}"#;
    for (method, path, body) in [("PUT", "/canary", everybody), ("POST", "/promote", "")] {
        let (status, problem) = change(&server, method, path, body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("removals_refused")), "{problem}");
        let reason = problem["detail"].as_str().unwrap();
        assert!(reason.contains("GET /v1/lifecycle/extra; repeat the change with --allow-removals"), "{reason}");
        let serving = detail(&server).await["serving"].clone();
        assert_eq!((&serving["version"], &serving["canary"]["percent"]), (&json!("0.3.0"), &json!(50)));
    }
    let whole = changed(&server, "PUT", "/canary?allow_removals=true", everybody).await;
    assert_eq!(whole["canary"], 100);
    let promoted = changed(&server, "POST", "/promote?allow_removals=true", "").await;
    assert_eq!(promoted["routes"]["removed"], json!(["GET /v1/lifecycle/extra"]));
    assert_eq!(version_of(&server, Uuid::new_v4()).await.as_deref(), Some("0.2.0"));
}

#[tokio::test]
async fn a_deployment_goes_on_to_its_end_when_whoever_asked_for_it_hangs_up() {
    let server = Server::start(&[]).await;
    // No host has compiled this component before, so that the deployment is not over when the connection ends.
    let component = stamped(&version("0.1.0", "ok"), Uuid::new_v4().as_bytes());
    let request = server.operator().request("POST", "/functions?progress=true").body(component);
    let mut response = request.send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(br#"{"stage":"received"}"#), "{first:?}");
    drop(response);
    eventually_within(DEPLOYED_WITHIN, "the deployment has ended", async || {
        version_of(&server, Uuid::new_v4()).await.as_deref() == Some("0.1.0")
    })
    .await;
}

#[tokio::test]
async fn a_canary_whose_calls_fail_is_taken_back_by_itself() {
    let server =
        Server::start(&[("deployments.canary_calls_min", "20"), ("function.lifecycle.deadline_ms", "100")]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    for behaviour in ["fails", "traps", "spins"] {
        let canary = deploy(&server, version("0.2.0", behaviour), "canary=50").await;
        eventually(&format!("{behaviour}: {}", server.log()), async || {
            for _ in 0..10 {
                version_of(&server, Uuid::new_v4()).await;
            }
            detail(&server).await["serving"]["canary"] == Value::Null
        })
        .await;
        let kept = detail(&server).await;
        let reason = withdrawal_of(&kept, &canary["revision"]).unwrap();
        assert!(reason.contains("calls failed") && reason.contains("percentage points"), "{reason}");
        assert_eq!(kept["serving"]["version"], "0.1.0");
    }
    let metrics = server.operator().request("GET", "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"roost_canaries_withdrawn_total{function="lifecycle"} 3"#), "{metrics}");
    let actions =
        server.log().lines().filter(|line| line.contains("admin_actions") && line.contains("was taken back")).count();
    assert_eq!(actions, 3, "{}", server.log());
}

#[tokio::test]
async fn deployments_survive_a_restart_and_a_damaged_file() {
    let server = Server::start(&[]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    deploy(&server, version("0.2.0", "ok"), "").await;
    deploy(&server, version("0.3.0", "ok"), "canary=100").await;
    let user = Uuid::new_v4();
    let server = Server::serve_in(server.kill().await, &components(), &[]).await;
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.3.0"), "{}", server.log());
    assert_eq!(detail(&server).await["serving"]["revision"], 2);
    let digest = detail(&server).await["serving"]["digest"].as_str().unwrap().to_owned();
    let folder = server.stop().await;
    fs::write(folder.path().join("data/deployments").join(format!("{digest}.wasm")), b"damaged").unwrap();
    let server = Server::serve_in(folder, &components(), &[]).await;
    assert_eq!(version_of(&server, user).await, None, "{}", server.log());
    assert!(server.log().contains("cannot run the deployed revision"), "{}", server.log());
    changed(&server, "POST", "/rollback", r#"{"revision":1}"#).await;
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.1.0"));
    let (status, problem) = change(&server, "POST", "/rollback", r#"{"revision":2}"#).await;
    assert_eq!((status, &problem["code"]), (409, &json!("component_missing")), "{problem}");
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.1.0"));
}

#[tokio::test]
async fn a_deployment_that_cannot_be_kept_is_refused_and_changes_nothing() {
    let server = Server::serve(&components(), &[("deployments.bytes_max", "1048576")]).await;
    let built_in = |name: &str| fs::read(components().join(name)).unwrap();
    let (presence, messaging) = (built_in("presence.wasm"), built_in("messaging.wasm"));
    assert!(presence.len() + messaging.len() > 1 << 20, "one of the two fits, and both do not");
    deploy(&server, stamped(&presence, b"deployed"), "").await;
    let (status, code, detail) = refused(&server, stamped(&messaging, b"deployed"), "").await;
    assert_eq!((status, code.as_str()), (507, "no_room"), "{detail}");
    assert!(detail.contains("at most 1048576 are allowed; undeploy a function, or raise"), "{detail}");
    let listed = server.operator().get("/functions").await.json(200);
    let source = |name: &str| {
        let functions = listed["functions"].as_array().unwrap();
        functions.iter().find(|function| function["name"] == name).unwrap()["source"].clone()
    };
    assert_eq!((source("presence"), source("messaging")), (json!("deployment"), json!("file")));

    let server = Server::start(&[]).await;
    fs::write(server.folder().join("data/deployments"), b"no folder").unwrap();
    let (status, code, detail) = refused(&server, version("0.1.0", "ok"), "").await;
    assert_eq!((status, code.as_str()), (507, "disk"), "{detail}");
    assert_eq!(version_of(&server, Uuid::new_v4()).await, None);
}

fn put(folder: &Path, component: &[u8]) {
    fs::write(folder.join("lifecycle.wasm"), component).unwrap();
}

#[tokio::test]
async fn the_folder_is_read_again_on_request_and_a_deployment_takes_precedence() {
    let components = folder_of_components();
    put(components.path(), &version("0.1.0", "ok"));
    let server = Server::serve(components.path(), &[]).await;
    let user = Uuid::new_v4();
    assert_eq!(detail(&server).await["serving"]["source"], "file");
    put(components.path(), &version("0.2.0", "ok"));
    let (status, answer) = post(&server.operator(), "/reload", Vec::new()).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(["lifecycle"])));
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.2.0"));

    deploy(&server, version("0.9.0", "ok"), "").await;
    put(components.path(), &version("0.3.0", "ok"));
    assert_eq!(post(&server.operator(), "/reload", Vec::new()).await.0, 200);
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.9.0"), "the deployment takes precedence");
    changed(&server, "DELETE", "", "").await;
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.3.0"), "the folder serves again");

    fs::write(components.path().join("broken.wasm"), b"broken").unwrap();
    put(components.path(), &version("0.4.0", "ok"));
    let (status, problem) = post(&server.operator(), "/reload", Vec::new()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("not_a_component")), "{problem}");
    assert_eq!(version_of(&server, user).await.as_deref(), Some("0.3.0"), "all or nothing");

    fs::remove_file(components.path().join("broken.wasm")).unwrap();
    fs::write(components.path().join("twin.wasm"), version("0.4.1", "ok")).unwrap();
    let (status, problem) = post(&server.operator(), "/reload", Vec::new()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("name_taken")), "{problem}");
    fs::remove_file(components.path().join("twin.wasm")).unwrap();
    fs::remove_file(components.path().join("lifecycle.wasm")).unwrap();
    let sent = std::process::Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
    assert!(sent.success());
    eventually("SIGHUP reads the folder, too", async || version_of(&server, user).await.is_none()).await;

    fs::remove_dir_all(components.path()).unwrap();
    let (status, problem) = post(&server.operator(), "/reload", Vec::new()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("unreadable")), "{problem}");
    server.user(user).get("/v1/unread").await.json(200);
}

#[tokio::test]
async fn the_commands_do_what_the_routes_do() {
    let server = Server::start(&[]).await;
    let file = server.data().join("lifecycle.wasm");
    let run = async |arguments: &[&str]| {
        let output = server.command(arguments).output().await.expect("the command runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let path = file.display().to_string();
    fs::write(&file, version("0.1.0", "ok")).unwrap();
    let (done, text) = run(&["deploy", &path]).await;
    assert!(
        done && text.contains("prepared") && text.contains("lifecycle: revision 1 (version 0.1.0) serves"),
        "{text}"
    );
    fs::write(&file, version("0.2.0", "ok")).unwrap();
    let probe = r#"{"method":"GET","path":"/v1/lifecycle/extra","answer":{"version":"0.2.0"}}"#;
    let (done, text) = run(&["deploy", &path, "--canary", "10%", "--probe", probe]).await;
    assert!(
        done && text.contains("probed") && text.contains("revision 2 (version 0.2.0) serves 10 % of the users"),
        "{text}"
    );
    let (done, text) = run(&["canary", "lifecycle", "25%"]).await;
    assert!(done && text.contains("serves 25 % of the users"), "{text}");
    let (done, text) = run(&["functions", "lifecycle"]).await;
    assert!(done && text.contains("2: 25 %") && text.contains("beside it"), "{text}");
    let (done, text) = run(&["promote", "lifecycle", "--allow-removals"]).await;
    assert!(done && text.contains("revision 2 (version 0.2.0) serves"), "{text}");
    let (done, text) = run(&["rollback", "lifecycle"]).await;
    assert!(done && text.contains("revision 1 (version 0.1.0) serves"), "{text}");
    let to = format!("http://{}", server.admin);
    let (done, text) = run(&["functions", "--cluster", "--to", &to]).await;
    assert!(done && text.contains("HOST") && text.contains("lifecycle"), "{text}");
    let (done, text) = run(&["undeploy", "lifecycle"]).await;
    assert!(!done && text.contains("removals_refused") && text.contains("--allow-removals"), "{text}");
    let (done, text) = run(&["undeploy", "lifecycle", "--allow-removals"]).await;
    assert!(done && text.contains("nothing serves any more"), "{text}");
    fs::write(&file, b"text").unwrap();
    let (done, text) = run(&["deploy", &path]).await;
    assert!(!done && text.contains("lifecycle.wasm: it is no WebAssembly component"), "{text}");
    let (done, text) = run(&["reload", "--json"]).await;
    assert!(done && text.contains("\"changed\""), "{text}");
    for part in ["lifecycle serves revision 1", "not_a_component", "removals_refused"] {
        let is_logged = || server.log().lines().any(|line| line.contains("admin_actions") && line.contains(part));
        eventually_true(&format!("the log of actions has {part}"), is_logged).await;
    }
}

#[tokio::test]
async fn a_deployment_of_the_same_component_needs_its_grants_again() {
    let server = Server::start(&[]).await;
    let watcher = fs::read(guests().join("watcher.wasm")).unwrap();
    let (status, code, detail) = refused(&server, watcher.clone(), "").await;
    assert_eq!((status, code.as_str()), (422, "grant_refused"), "{detail}");
    assert!(detail.contains("`subscribe`") && detail.contains("--allow-grants"), "{detail}");
    let done = deploy(&server, watcher.clone(), "allow_grants=all").await;
    assert_eq!((&done["revision"], &done["grants"]["given"]["subscribe"]), (&json!(1), &json!(true)));
    assert_eq!(refused(&server, watcher, "").await.1, "grant_refused", "what an earlier deployment allowed is over");
}
