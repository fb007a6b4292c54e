//! `roost logs` and the route behind it: calls, failures and lines of a function, read and followed while the function
//! is replaced.

use std::fs;
use std::process::Stdio;

use roost_tests::deployment::{changed, deploy, folder_of_components, version};
use roost_tests::eventually::DEADLINE;
use roost_tests::guests;
use roost_tests::server::Server;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use uuid::Uuid;

/// A host with the built-in functions and the guest `hostile`.
async fn hostile(set: &[(&str, &str)]) -> Server {
    let folder = folder_of_components();
    fs::copy(guests().join("hostile.wasm"), folder.path().join("hostile.wasm")).unwrap();
    let set: Vec<_> = set.iter().copied().chain([("function.hostile.grants.all", "true")]).collect();
    Server::serve(folder.path(), &set).await
}

async fn misbehave(server: &Server, behaviour: &str, status: u16) {
    let answer = server.anonymous().get(&format!("/v1/hostile/{behaviour}")).await;
    assert_eq!(answer.status, status, "{}", answer.text);
}

/// The lines of an answer.
async fn lines(server: &Server, function: &str, query: &str) -> Vec<Value> {
    let answer = server.operator().get(&format!("/functions/{function}/logs?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn calls(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["kind"] == "call").collect()
}

/// The standard output, the standard error and the exit code of a command.
async fn run(server: &Server, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = timeout(DEADLINE, server.command(arguments).stderr(Stdio::piped()).output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[tokio::test]
async fn failures_are_shown_with_the_panic_and_the_names_of_the_trace() {
    let server = hostile(&[("function.hostile.memory_bytes_max", "33554432")]).await;
    misbehave(&server, "panic", 502).await;
    misbehave(&server, "behave", 200).await;
    misbehave(&server, "recurse", 502).await;
    misbehave(&server, "giant", 502).await;
    let (shown, notes, code) = run(&server, &["logs", "hostile"]).await;
    assert_eq!(code, Some(0), "{notes}");
    for part in [
        "AT ",
        "trapped",
        "the guest gave up",
        "at hostile::give_up",
        "at hostile::recurse",
        "none, http GET /v1/hostile/panic",
        "reply_too_large",
        "a reply of 4194306 bytes, but reply_bytes_max is 1048576",
        "  ok ",
        "error ",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert!(notes.contains("records of hostile on the host "), "{notes}");
    let (failed, _, _) = run(&server, &["logs", "hostile", "--failed", "--json"]).await;
    let failed: Vec<Value> = failed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(calls(&failed).len() == 3 && calls(&failed).iter().all(|call| call["outcome"] != "ok"), "{failed:?}");
    let panicked = calls(&failed)[0];
    assert!(panicked["backtrace"].as_array().unwrap().len() <= 32 && panicked["memory_bytes"].as_u64() > Some(0));
    assert!(server.log().contains(panicked["trace"].as_str().unwrap()), "the log has the same trace id");
}

#[tokio::test]
async fn only_failures_are_recorded_if_no_success_shall_be() {
    let server = hostile(&[("function.hostile.recorded_calls_per_second_max", "0")]).await;
    for _ in 0..5 {
        misbehave(&server, "behave", 200).await;
    }
    misbehave(&server, "no-json", 502).await;
    let lines = lines(&server, "hostile", "").await;
    let calls = calls(&lines);
    assert_eq!((calls.len(), &calls[0]["outcome"]), (1, &json!("trapped")), "{lines:?}");
    let metrics = server.operator().get("/metrics").await.text;
    let digest = calls[0]["digest"].as_str().unwrap();
    for (outcome, count) in [("ok", 5), ("trapped", 1)] {
        let series = format!(
            r#"roost_function_calls_total{{function="hostile",outcome="{outcome}",revision="{digest}"}} {count}"#
        );
        assert!(metrics.lines().any(|line| line == series), "{series} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn calls_have_their_caller_and_their_round_trips() {
    let server = Server::start(&[]).await;
    let user = Uuid::new_v4();
    server.user(user).get("/v1/unread").await.json(200);
    let lines = lines(&server, "unread", "outcome=ok").await;
    let called = calls(&lines);
    let call = called.iter().find(|call| call["trigger_name"] == "GET /v1/unread").unwrap();
    assert_eq!((&call["caller"], &call["user"], &call["trigger"]), (&json!("user"), &json!(user), &json!("http")));
    assert!(call["store_round_trips"].as_u64() > Some(0) && call["records_operations"].as_u64() > Some(0), "{call}");
    assert_eq!(call["revision"], Value::Null, "it is the component of the folder");
    let metrics = server.operator().get("/metrics").await.text;
    for name in ["roost_function_store_round_trips_total", "roost_function_records_operations_total"] {
        let has_series =
            |line: &str| line.starts_with(&format!("{name}{{function=\"unread\"")) && !line.ends_with(" 0");
        assert!(metrics.lines().any(has_series), "{name} has no series:\n{metrics}");
    }
}

/// `roost logs` that follows.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(server: &Server, function: &str) -> Self {
        let mut command = server.command(&["logs", function, "--follow", "--json"]);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next call.
    async fn call(&mut self) -> Value {
        loop {
            let line = timeout(DEADLINE, self.lines.next_line()).await.expect("a line").unwrap().expect("no end");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["kind"] == "call" {
                return value;
            }
        }
    }

    async fn interrupt(&mut self) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
        timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap().code()
    }
}

#[tokio::test]
async fn a_follower_sees_the_revision_of_each_call_through_deploys_and_a_rollback() {
    let server = Server::start(&[]).await;
    let user = server.user(Uuid::new_v4());
    deploy(&server, version("0.1.0", "ok"), "").await;
    user.get("/v1/lifecycle/version").await.json(200);
    let mut follower = Follower::start(&server, "lifecycle");
    let shown = |call: &Value| (call["revision"].clone(), call["outcome"].clone());
    assert_eq!(shown(&follower.call().await), (json!(1), json!("ok")), "what was before comes first");

    deploy(&server, version("0.2.0", "fails"), "").await;
    user.get("/v1/lifecycle/version").await.problem(500, "broken");
    let failed = follower.call().await;
    assert_eq!(shown(&failed), (json!(2), json!("failed")));
    assert_eq!((&failed["code"], &failed["message"]), (&json!("broken"), &json!("this version always fails")));

    deploy(&server, version("0.3.0", "traps"), "").await;
    user.get("/v1/lifecycle/version").await.problem(502, "function_failed");
    let trapped = follower.call().await;
    assert_eq!(shown(&trapped), (json!(3), json!("trapped")));
    let names = trapped["backtrace"].to_string();
    assert!(
        names.contains("handler@0.1.0#handle") && trapped["message"].as_str().unwrap().contains("unreachable"),
        "{trapped}"
    );

    changed(&server, "POST", "/rollback", r#"{"revision":1}"#).await;
    user.get("/v1/lifecycle/version").await.json(200);
    assert_eq!(shown(&follower.call().await), (json!(1), json!("ok")));
    assert_eq!(follower.interrupt().await, Some(0));

    let (of_one, _, _) = run(&server, &["logs", "lifecycle", "--revision", "2", "--json"]).await;
    let of_one: Vec<Value> = of_one.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(of_one.len() == 1 && of_one[0]["revision"] == 2, "{of_one:?}");
}

#[tokio::test]
async fn a_wrong_question_is_refused_with_its_reason() {
    let server = Server::start(&[]).await;
    for (arguments, part) in [
        (
            vec!["logs", "nobody"],
            "this host has no function nobody; `roost functions` lists what serves (404, function_not_found)",
        ),
        (vec!["logs", "nobody", "--follow"], "(404, function_not_found)"),
        (vec!["logs", "unread", "--revision", "7"], "the function unread has no revision 7"),
        (vec!["logs", "unread", "--revision", "last"], "send the number of a revision, or the first 6 to 64 letters"),
    ] {
        let (shown, notes, code) = run(&server, &arguments).await;
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{arguments:?}: {notes}");
        assert!(notes.contains(part), "{arguments:?}: {notes}");
    }
    let answer = server.operator().get("/functions/unread/logs?limit=1001").await;
    assert!(answer.problem(400, "invalid_query")["detail"].as_str().unwrap().contains("1 to 1000 are allowed"));
    let actions = server.log();
    assert!(actions.contains("/functions/nobody/logs") && actions.contains("function_not_found"), "{actions}");
    roost_tests::client::Client::new(server.admin, None)
        .get("/functions/unread/logs")
        .await
        .problem(401, "unauthenticated");
}

/// The rest of a stream as lines; what is cut off at its end is left out.
async fn rest(mut response: reqwest::Response, until: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    while !until(&text) {
        match timeout(DEADLINE, response.chunk()).await.expect("the stream goes on or ends") {
            Ok(Some(chunk)) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Ok(None) | Err(_) => break,
        }
    }
    text
}

async fn follow(server: &Server, function: &str) -> reqwest::Response {
    let path = format!("/functions/{function}/logs?follow=true");
    server.operator().request("GET", &path).send().await.unwrap()
}

#[tokio::test]
async fn a_slow_follower_loses_records_and_is_answered_how_many() {
    let server =
        hostile(&[("function.hostile.log_bytes_max", "1048576"), ("function.hostile.deadline_ms", "400")]).await;
    let slow = follow(&server, "hostile").await;
    assert_eq!(slow.status().as_u16(), 200);
    // More than the buffers of a connection hold: each call logs some hundred kilobytes.
    for _ in 0..24 {
        server.anonymous().get("/v1/hostile/flood").await;
    }
    let text = rest(slow, |text| text.contains("\"kind\":\"lost\"")).await;
    let lost = text.lines().find(|line| line.contains("\"kind\":\"lost\"")).expect("records were lost");
    assert!(serde_json::from_str::<Value>(lost).unwrap()["records"].as_u64() > Some(0), "{lost}");
}

#[tokio::test]
async fn followers_are_bounded_and_do_not_hinder_a_stop() {
    let mut server = Server::start(&[]).await;
    let mut followers = Vec::new();
    for _ in 0..16 {
        let follower = follow(&server, "unread").await;
        assert_eq!(follower.status().as_u16(), 200);
        followers.push(follower);
    }
    let refused = follow(&server, "unread").await;
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.text().await.unwrap().contains("16 clients follow logs of this host"));
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    for follower in followers {
        let text = rest(follower, |_| false).await;
        assert!(text.starts_with("{\"kind\":\"log\""), "{text}");
    }
}
