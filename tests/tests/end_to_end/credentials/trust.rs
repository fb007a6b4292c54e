//! Whom a host trusts: it loads only signed components where keys are configured, and its admin listener serves TLS,
//! asks for keys and logs what was asked of it.

use std::fs;
use std::path::Path;

use roost_tests::certificate::SelfSigned;
use roost_tests::components;
use roost_tests::deployment::{deploy, refused};
use roost_tests::eventually::eventually;
use roost_tests::server::{Server, command};
use roost_tests::token::ADMIN_KEY;
use serde_json::Value;

const METRICS_KEY: &str = "a-key-of-a-collector";

/// Runs a command of the binary in this folder; returns its exit code and what it wrote.
async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(folder).args(arguments).output().await.unwrap();
    let written = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(written).unwrap())
}

#[tokio::test]
async fn with_signing_keys_a_host_serves_signed_components_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("served")).unwrap();
    fs::copy(components().join("typing.wasm"), folder.path().join("served/typing.wasm")).unwrap();
    for name in ["old", "new", "stranger"] {
        let (code, written) = run(folder.path(), &["keygen", "--out", &format!("{name}.key")]).await;
        assert!(code == Some(0) && written.contains(&format!("signing_keys = [\"{name}.pub\"]")), "{written}");
    }
    let (code, written) = run(folder.path(), &["keygen", "--out", "old.key"]).await;
    assert!(code == Some(1) && written.contains("old.key exists, and no key is replaced"), "{written}");

    let keys = "signing_keys=old.pub,new.pub";
    let serve = ["serve", "--functions-dir", "served", "--set", keys];
    let (code, written) = run(folder.path(), &serve).await;
    assert!(code == Some(1) && written.contains("typing.wasm: it is not signed, but signing_keys is set"), "{written}");
    let sign = async |file: &str, key: &str| {
        let (code, written) = run(folder.path(), &["sign", file, "--key", key]).await;
        assert_eq!((code, written), (Some(0), format!("{file}: signed\n")));
    };
    sign("served/typing.wasm", "stranger.key").await;
    let (code, written) = run(folder.path(), &serve).await;
    assert!(code == Some(1) && written.contains("typing.wasm: none of the keys in signing_keys"), "{written}");

    sign("served/typing.wasm", "new.key").await;
    let within = |name: &str| folder.path().join(name).display().to_string();
    let keys = format!("{},{}", within("old.pub"), within("new.pub"));
    let server = Server::serve(&folder.path().join("served"), &[("signing_keys", &keys)]).await;
    let listed = server.operator().get("/functions").await.json(200);
    assert_eq!(listed["functions"][0]["name"], "typing", "{listed}");

    let uploaded = || fs::read(folder.path().join("uploaded.wasm")).unwrap();
    fs::copy(components().join("typing.wasm"), folder.path().join("uploaded.wasm")).unwrap();
    let (status, code, reason) = refused(&server, uploaded(), "").await;
    assert_eq!((status, code.as_str()), (422, "signature_missing"), "{reason}");
    sign("uploaded.wasm", "stranger.key").await;
    let (status, code, reason) = refused(&server, uploaded(), "").await;
    assert_eq!((status, code.as_str()), (422, "signature_invalid"), "{reason}");
    sign("uploaded.wasm", "old.key").await;
    assert_eq!(deploy(&server, uploaded(), "").await["revision"], 1, "each of the keys is enough");
    server.stop().await;
}

/// The log lines of a host about requests to its admin listener.
fn admin_requests(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "roost::admin_actions").collect()
}

#[tokio::test]
async fn the_admin_listener_serves_tls_asks_for_keys_and_logs_requests() {
    let folder = tempfile::tempdir().unwrap();
    let [host, other] = ["host", "other"].map(|name| SelfSigned::write(folder.path(), name));
    let settings = [
        ("admin_tls_cert", host.certificate.as_str()),
        ("admin_tls_key", host.key.as_str()),
        ("metrics_key", METRICS_KEY),
        // Requests are logged although this is less than `info`; the harness waits for a line of `roost::app`.
        ("log", "warn,roost::app=info"),
    ];
    let server = Server::start(&settings).await;
    let authority = reqwest::Certificate::from_pem(&fs::read(&host.certificate).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(authority).build().unwrap();
    let ask = async |path: &str, key: &str| {
        let request = client.get(format!("https://{}{path}", server.admin)).bearer_auth(key);
        request.send().await.unwrap().status().as_u16()
    };
    let answers = [
        ask("/healthz", "no-key").await,
        ask("/metrics", METRICS_KEY).await,
        ask("/metrics", ADMIN_KEY).await,
        ask("/metrics", "no-key").await,
        ask("/functions", METRICS_KEY).await,
        ask("/functions", ADMIN_KEY).await,
    ];
    assert_eq!(answers, [200, 200, 200, 401, 401, 200]);
    assert!(client.get(format!("http://{}/healthz", server.admin)).send().await.is_err(), "plain HTTP was answered");

    let list = async |trusted: &SelfSigned| {
        let certificate = format!("admin_tls_cert={}", trusted.certificate);
        let key = format!("admin_tls_key={}", trusted.key);
        let output = server.command(&["functions", "--set", &certificate, "--set", &key]).output().await.unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, listed) = list(&host).await;
    assert!(code == Some(0) && listed.contains("presence"), "{listed}");
    let (code, refused) = list(&other).await;
    assert!(code == Some(1) && refused.contains("shows another certificate than admin_tls_cert names"), "{refused}");

    eventually("all requests are logged", async || admin_requests(&server).len() == 4).await;
    let logged: Vec<_> = admin_requests(&server)
        .iter()
        .map(|line| {
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("key"), text("path"), line["status"].as_u64().unwrap(), text("code"))
        })
        .collect();
    let line = |key: &str, path: &str, status, code: &str| (key.to_owned(), path.to_owned(), status, code.to_owned());
    let expected = [
        line("unknown", "/metrics", 401, "token_invalid"),
        line("metrics_key", "/functions", 401, "token_invalid"),
        line("admin_key", "/functions", 200, "ok"),
        line("admin_key", "/functions", 200, "ok"),
    ];
    assert_eq!(logged, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_and_a_key_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [host, other] = ["host", "other"].map(|name| SelfSigned::write(folder.path(), name));
    for (certificate, key, reason) in [
        (&host.certificate, &other.key, "cannot be used together"),
        (&host.key, &host.key, "has no certificate"),
        (&host.certificate, &host.certificate, "is not a PEM file with a private key"),
    ] {
        let set = [format!("admin_tls_cert={certificate}"), format!("admin_tls_key={key}")];
        let (code, written) = run(folder.path(), &["serve", "--set", &set[0], "--set", &set[1]]).await;
        assert!(code == Some(1) && written.contains("the admin listener cannot use admin_tls_cert"), "{written}");
        assert!(written.contains(reason), "{reason} is not in: {written}");
    }
}
