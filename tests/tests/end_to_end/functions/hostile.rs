//! Guests that misbehave: a call of theirs costs one reply, a deployment of theirs is refused in one sentence, and
//! other functions are not affected. Every guest of `tests/guests` and every kind of misbehaviour of `hostile` has an
//! expectation.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use roost::runtime::{Cohort, Functions};
use roost_tests::client::{Answer, Client};
use roost_tests::deployment::folder_of_components;
use roost_tests::eventually::{DEADLINE, eventually_true};
use roost_tests::fixture::no_functions;
use roost_tests::server::Server;
use roost_tests::{components, guests};
use serde_json::{Value, json};
use uuid::Uuid;

/// The guest that is deployed and then misbehaves when it is called.
const DEPLOYED: &str = "hostile";
/// The guests that behave correctly; `conformance_redis`, `documents`, `plain_forms`, `triggers` and
/// `deployments` call them.
const WELL_BEHAVED: [&str; 3] = ["conformance", "polls", "watcher"];
/// The guest that serves in many versions; `deployments` makes them, some of which fail.
const MANY_VERSIONS: &str = "lifecycle";
/// The guest that uses what it is granted without measure; `quotas` calls it.
const GREEDY: &str = "greedy";
/// The guest that publishes to whomever it is asked to; `publishing_grants` calls it.
const GOSSIP: &str = "gossip";
/// The expected refusal of deploying each of the other guests.
const REFUSED: [(&str, &str); 4] = [
    (
        "describe-trap",
        "describe-trap.wasm: its describe failed: no idea; correct describe so that it returns a constant manifest",
    ),
    (
        "foreign-import",
        "foreign-import.wasm: it imports acme:outside/sockets@1.0.0, but a function may import only \
         roost:edge/{clock,key-value,pub-sub,records,telemetry,types}@0.1.0; remove what needs this import",
    ),
    (
        "future-contract",
        "future-contract.wasm: it was built for roost:edge@9.0.0, but this host supports roost:edge@0.1.0; build it with \
         the sdk of this version",
    ),
    (
        "route-thief",
        "route-thief.wasm: the route GET /v1/unread conflicts with /v1/unread of the function unread; choose another path, \
         or remove that function first",
    ),
];
/// The ways that never end by themselves.
const ENDLESS: [&str; 2] = ["spin", "wait"];
/// How long a call of the hostile function may take.
const CALL_DEADLINE: Duration = Duration::from_millis(2_000);

/// The expected answer to a misbehaving call, and the expected log lines of that call.
struct Expected {
    answer: fn(&Answer) -> Option<Value>,
    /// Texts that must all appear in the log lines with the trace id of the answer.
    logged: &'static [&'static str],
}

fn failed(answer: &Answer) -> Option<Value> {
    Some(answer.problem(502, "function_failed"))
}

fn timed_out(answer: &Answer) -> Option<Value> {
    let problem = answer.problem(504, "function_timeout");
    assert_eq!(problem["retry"], true);
    Some(problem)
}

fn too_large(answer: &Answer) -> Option<Value> {
    Some(answer.problem(502, "reply_too_large"))
}

/// Every attempt must be denied, and each answer must name what is missing.
fn denied(answer: &Answer) -> Option<Value> {
    let attempts = answer.json(200);
    for attempt in attempts.as_array().unwrap() {
        let text = attempt.as_str().unwrap();
        let is_named =
            ["reading the key space", "writing the key space", "publishing to users", "the records operation"];
        assert!(text.starts_with("Error::Denied(") && is_named.iter().any(|what| text.contains(what)), "{text}");
    }
    assert!(!attempts.as_array().unwrap().is_empty());
    None
}

fn expected(way: &str) -> Option<Expected> {
    let of = |answer, logged| Some(Expected { answer, logged });
    match way {
        "panic" => of(failed, &["the guest gave up", "the function trapped", "give_up"]),
        "bomb" => of(failed, &["the function trapped", "memory_refused_bytes", "memory_allowed_bytes"]),
        "recurse" => of(failed, &["the function trapped", "hostile::recurse", "out of bounds memory access"]),
        "spin" => of(timed_out, &["still computing at its deadline", "#handle"]),
        "wait" => of(timed_out, &["still waiting for an import at its deadline"]),
        "giant" => of(too_large, &["a reply of 4194306 bytes, but reply_bytes_max is 1048576"]),
        "no-json" => of(failed, &["a reply whose body is not JSON"]),
        "odd-status" => of(failed, &["a reply with the status 999, but 200 to 299 are allowed"]),
        "snoop" | "trespass" | "announce" | "meddle" => of(denied, &[]),
        // There is no document to find here; `documents` tests the same with one of another function.
        "peek" => of(|answer| (answer.json(200) != 0).then(|| panic!("{}", answer.text)), &[]),
        // Another test looks at the log.
        "flood" => of(|answer| (answer.json(200) != "flooded").then(|| panic!("{}", answer.text)), &[]),
        "drain" => of(|answer| (answer.json(200) != 0).then(|| panic!("{}", answer.text)), &[]),
        "behave" => of(|answer| (answer.json(200) != "well").then(|| panic!("{}", answer.text)), &[]),
        _ => None,
    }
}

/// A host with the built-in functions and the hostile one.
async fn host() -> Server {
    host_with(CALL_DEADLINE).await
}

/// As `host`, with this deadline for calls of the hostile function.
async fn host_with(deadline: Duration) -> Server {
    let folder = folder_of_components();
    fs::copy(guests().join("hostile.wasm"), folder.path().join("hostile.wasm")).unwrap();
    let deadline = deadline.as_millis().to_string();
    // Enough memory to build a reply that is too large.
    let set = [
        ("function.hostile.deadline_ms", deadline.as_str()),
        ("function.hostile.memory_bytes_max", "33554432"),
        ("function.hostile.grants.all", "true"),
        // Enough for all the log lines that a call may write.
        ("function.hostile.log_bytes_max", "1048576"),
        ("shutdown_timeout_ms", "40000"),
    ];
    Server::serve(folder.path(), &set).await
}

fn wasm_files(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".wasm")).collect()
}

/// The last path segments of the hostile function's routes, as its manifest lists them.
async fn ways(server: &Server) -> Vec<String> {
    let answer = server.operator().get("/functions").await.json(200);
    let functions = answer["functions"].as_array().unwrap();
    let hostile = functions.iter().find(|function| function["name"] == DEPLOYED).unwrap();
    let routes = hostile["routes"].as_array().unwrap().iter().map(|route| route.as_str().unwrap());
    routes.map(|route| route.strip_prefix("GET /v1/hostile/").unwrap().to_owned()).collect()
}

fn lines_of<'a>(log: &'a str, trace: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(trace)).collect()
}

/// Two users exchange a message and their counters are right: messaging, unread and the last message work.
async fn built_in_functions_answer(server: &Server) {
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let (from, to) = (server.user(ann), server.user(ben));
    let conversation = from.conversation(&[ann, ben]).await;
    let sent =
        from.post(&format!("/v1/conversations/{conversation}/messages"), json!({ "content": "still here" })).await;
    assert_eq!(sent.json(201)["seq"], 1);
    assert_eq!(to.get("/v1/unread").await.json(200)["total"], 1);
    let last = to.get(&format!("/v1/conversations/{conversation}/last-message")).await.json(200);
    assert_eq!(last["content"], "still here");
}

async fn call(client: &Client, way: &str) -> Answer {
    client.get(&format!("/v1/hostile/{way}")).await
}

#[tokio::test]
async fn each_misbehaviour_fails_one_call_and_is_explained_in_the_log() {
    // Only what never ends is stopped at a deadline: on a busy machine, the others take longer than `CALL_DEADLINE`.
    let (impatient, patient) = tokio::join!(host(), host_with(DEADLINE));
    let ways = ways(&patient).await;
    assert!(ways.len() > 10, "{ways:?}");
    for way in ways {
        let expected = expected(&way).unwrap_or_else(|| panic!("nothing is expected of the way `{way}`"));
        let server = if ENDLESS.contains(&way.as_str()) { &impatient } else { &patient };
        let answer = call(&server.anonymous(), &way).await;
        let Some(problem) = (expected.answer)(&answer) else { continue };
        let trace = problem["trace"].as_str().unwrap().to_owned();
        let explained = || {
            let log = server.log();
            let lines = lines_of(&log, &trace).join("\n");
            expected.logged.iter().all(|text| lines.contains(text))
        };
        eventually_true(&format!("{:?} of `{way}` in the log:\n{}", expected.logged, server.log()), explained).await;
        // Details for the operator must not reach the caller.
        assert!(!answer.text.contains("gave up") && !answer.text.contains("hostile"), "{}", answer.text);
    }
    tokio::join!(built_in_functions_answer(&impatient), built_in_functions_answer(&patient));
}

#[tokio::test]
async fn an_endless_call_is_stopped_at_its_deadline_while_others_are_answered() {
    let server = host().await;
    let client = server.anonymous();
    for way in ENDLESS {
        let began = Instant::now();
        let stuck = async {
            let calls = (0..8).map(|_| call(&client, way));
            futures_util::future::join_all(calls).await
        };
        let (stuck, ()) = tokio::join!(stuck, built_in_functions_answer(&server));
        let took = began.elapsed();
        stuck.iter().for_each(|answer| drop(timed_out(answer)));
        assert!(took >= CALL_DEADLINE && took < CALL_DEADLINE * 4, "{way}: {took:?}");
    }
}

#[tokio::test]
async fn excess_log_lines_are_dropped_and_counted() {
    let server = host_with(DEADLINE).await;
    call(&server.anonymous(), "flood").await.json(200);
    // The log lines of one call come before those of the next.
    let trace = call(&server.anonymous(), "panic").await.problem(502, "function_failed")["trace"].clone();
    eventually_true("the next call in the log", || !lines_of(&server.log(), trace.as_str().unwrap()).is_empty()).await;
    let log = server.log();
    let flooded: Vec<&str> = log.lines().filter(|line| line.contains("xxxxxxxx")).collect();
    assert_eq!(flooded.len(), 100);
    assert!(flooded.iter().all(|line| line.len() < 10_000));
    let metrics = server.operator().get("/metrics").await.text;
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{function=\"hostile\"")));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse::<u64>().ok())
    };
    assert_eq!(value("roost_function_log_lines_dropped_total"), Some(9_900), "{metrics}");
    assert_eq!(value("roost_function_flood_total"), Some(10_000), "{metrics}");
}

#[tokio::test]
async fn the_memory_of_a_hundred_oversized_calls_is_released() {
    let server = host().await;
    let client = server.anonymous();
    let bombs = async |rounds: usize| {
        for _ in 0..rounds {
            let calls = (0..4).map(|_| call(&client, "bomb"));
            futures_util::future::join_all(calls).await.iter().for_each(|answer| drop(failed(answer)));
        }
    };
    // The first calls fill the memory that the pool keeps for later calls, by design.
    bombs(3).await;
    let before = server.resident_kib() / 1_024;
    bombs(25).await;
    let after = server.resident_kib() / 1_024;
    assert!(after < before + 24, "{before} MiB before, {after} MiB after");
    built_in_functions_answer(&server).await;
}

async fn refusal(functions: &Functions, name: &str, bytes: Vec<u8>) -> String {
    functions.deploy(name, bytes).await.expect_err(name).to_string()
}

#[tokio::test]
async fn a_component_that_breaks_the_contract_is_refused_and_the_others_keep_serving() {
    let functions = no_functions(|_| {}).await;
    functions.deploy_file(&components().join("unread.wasm")).await.unwrap();
    let before = functions.route("GET", "/v1/unread", Cohort::STABLE);
    for (guest, sentence) in REFUSED {
        let file = format!("{guest}.wasm");
        let bytes = fs::read(guests().join(&file)).unwrap();
        assert_eq!(refusal(&functions, &file, bytes).await, sentence);
    }
    assert_eq!(functions.route("GET", "/v1/unread", Cohort::STABLE), before);
    assert_eq!(functions.message("typing", Cohort::STABLE), None);
    assert_eq!((functions.list().len(), *functions.changes().borrow()), (1, 1));
}

#[tokio::test]
async fn an_incomplete_component_is_refused_in_one_sentence() {
    let functions = no_functions(|_| {}).await;
    let whole = fs::read(components().join("typing.wasm")).unwrap();
    let torn = refusal(&functions, "torn.wasm", whole[..whole.len() / 2].to_vec()).await;
    assert!(torn.starts_with("torn.wasm: it does not compile: "), "{torn}");
    let core = refusal(&functions, "core.wasm", b"\0asm\x01\0\0\0".to_vec()).await;
    assert_eq!(core, "core.wasm: it is a core module, not a component: build it with `roost build`");
    let garbage = refusal(&functions, "garbage.wasm", vec![0xAA; 4_096]).await;
    assert_eq!(
        garbage,
        "garbage.wasm: it is no WebAssembly component: it does not begin with the WebAssembly magic number; build it \
         with `roost build`"
    );
    assert!(functions.list().is_empty());
}

#[test]
fn every_test_guest_has_an_expectation() {
    let expected: BTreeSet<String> = REFUSED
        .iter()
        .map(|(guest, _)| *guest)
        .chain([DEPLOYED, MANY_VERSIONS, GREEDY, GOSSIP])
        .chain(WELL_BEHAVED)
        .map(str::to_owned)
        .collect();
    let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")).unwrap();
    let sources: BTreeSet<String> = sources.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(sources, expected);
    let built: BTreeSet<String> =
        wasm_files(&guests()).iter().map(|file| file.trim_end_matches(".wasm").to_owned()).collect();
    assert_eq!(built, expected);
}
