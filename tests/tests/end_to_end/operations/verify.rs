//! `roost verify` and `roost repair` on a running host: divergence is found, reported and repaired, and traffic is not
//! reported as divergence.
//!
//! The test causes a divergence by writing to the host's records directly and confirming announcements that nobody
//! made.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Confirmation, Draft, Records};
use roost_core::time::Timestamp;
use roost_tests::server::{self, Server};
use serde_json::{Value, json};
use uuid::Uuid;

/// The exit code, and the text of stdout and stderr.
async fn run(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let output = server.command(arguments).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), printed)
}

async fn report(server: &Server, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, printed) = run(server, &[arguments, &["--format", "json"]].concat()).await;
    (code, serde_json::from_str(&printed).unwrap_or_else(|_| panic!("no JSON: {printed}")))
}

fn found(report: &Value) -> BTreeSet<&str> {
    report["drift"].as_array().unwrap().iter().map(|finding| finding["what"].as_str().unwrap()).collect()
}

/// Two users and three messages, with all counters cached.
async fn create_messages(server: &Server) -> (Uuid, Uuid, String) {
    let [ann_id, bob_id] = [Uuid::new_v4(), Uuid::new_v4()];
    let (ann, bob) = (server.user(ann_id), server.user(bob_id));
    let id = ann.conversation(&[bob_id]).await;
    for reader in [&ann, &bob] {
        reader.get("/v1/unread").await.json(200);
    }
    for number in 1..=3 {
        ann.post(&format!("/v1/conversations/{id}/messages"), json!({ "content": number.to_string() })).await.json(201);
    }
    bob.get(&format!("/v1/conversations/{id}/last-message")).await.json(200);
    (ann_id, bob_id, id)
}

/// Writes a message and a read position that never reach the store.
async fn diverge(server: &Server, sender: Uuid, reader: Uuid, id: &str) {
    let file = SqliteLocation::File(server.data().join("records.db"));
    let records = RecordStore::open(&RecordsUrl::Sqlite(file)).await.unwrap();
    let conversation: ConversationId = id.parse().unwrap();
    let (sender, reader) = (UserId::from_u128(sender.as_u128()), UserId::from_u128(reader.as_u128()));
    let at = Timestamp(1_790_000_000_000);
    let draft = Draft { conversation, sender, id: None, kind: "text".into(), content: "unheard".into(), at };
    let change = records.append_message(draft).await.unwrap().change;
    records.announced(vec![Confirmation::Change(conversation, change.seq)]).await.unwrap();
    assert!(records.mark_read(reader, conversation, Some(Seq(2))).await.unwrap().moved);
    records.announced(vec![Confirmation::Member(conversation, reader, 1)]).await.unwrap();
    records.flush().await;
    records.close().await;
}

#[tokio::test]
async fn divergence_is_found_reported_and_repaired_while_the_host_serves() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id, id) = create_messages(&server).await;
    let (code, printed) = run(&server, &["verify"]).await;
    assert!(code == Some(0) && printed.contains("2 users compared, 0 without counters"), "{code:?} {printed}");
    assert!(
        printed.contains("1 last messages compared") && printed.contains("0 divergences, 0 pending, 0 inconclusive"),
        "{printed}"
    );

    diverge(&server, ann_id, bob_id, &id).await;
    let (code, all) = report(&server, &["verify", "--batch", "1", "--rate", "1000"]).await;
    assert_eq!((code, found(&all)), (Some(1), BTreeSet::from(["last_message", "position"])), "{all}");
    let (bob, ann) = (bob_id.to_string(), ann_id.to_string());
    let (code, one) = report(&server, &["verify", "--user", &ann]).await;
    assert!(code == Some(1) && one["users"] == 1 && one["drift"][0]["user"] == ann, "{one}");
    let (code, last) = report(&server, &["verify", "--conversation", &id]).await;
    assert!(code == Some(1) && last["drift"][0]["stored"] == 3 && last["drift"][0]["records"] == 4, "{last}");
    let (code, printed) = run(&server, &["verify", "--user", &bob, "--format", "metrics"]).await;
    assert!(code == Some(1) && printed.contains("roost_drift{what=\"position\",repaired=\"false\"} 1"), "{printed}");
    let metrics = server.operator().get("/metrics").await.text;
    assert!(metrics.contains("roost_drift_total{repaired=\"false\",what=\"position\"}"), "{metrics}");

    let (code, printed) = run(&server, &["repair"]).await;
    assert!(
        code == Some(0) && printed.contains("3 divergences") && printed.contains("3 repaired"),
        "{code:?} {printed}"
    );
    let (code, clean) = report(&server, &["verify"]).await;
    assert_eq!((code, &clean["drift"], &clean["unsettled"]), (Some(0), &json!([]), &json!([])), "{clean}");
    assert_eq!(server.user(bob_id).get("/v1/unread").await.json(200)["total"], 2);
    let last = server.user(bob_id).get(&format!("/v1/conversations/{id}/last-message")).await.json(200);
    assert_eq!(last["content"], "unheard");
    server.stop().await;
}

#[tokio::test]
async fn traffic_is_not_reported_as_divergence() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id, id) = create_messages(&server).await;
    // As long as the state is compared, however long that takes.
    let is_verified = AtomicBool::new(false);
    let traffic = async {
        let (ann, bob) = (server.user(ann_id), server.user(bob_id));
        let mut number = 0;
        while !is_verified.load(Ordering::Relaxed) {
            number += 1;
            let sent = ann.post(&format!("/v1/conversations/{id}/messages"), json!({ "content": "more" })).await;
            let sent = sent.json(201);
            bob.post(&format!("/v1/conversations/{id}/read"), json!({})).await.json(200);
            if number % 7 == 0 {
                let path = format!("/v1/conversations/{id}/messages/{}", sent["id"].as_str().unwrap());
                ann.delete(&path).await.done();
            }
        }
    };
    let verification = async {
        for _ in 0..4 {
            let (code, seen) = report(&server, &["verify"]).await;
            assert_eq!((code, &seen["drift"]), (Some(0), &json!([])), "{seen}");
        }
        is_verified.store(true, Ordering::Relaxed);
    };
    tokio::join!(traffic, verification);
    server.stop().await;
}

#[tokio::test]
async fn an_unreachable_host_has_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server::command(folder.path());
    let output = command.args(["verify", "--set", "admin_listen=127.0.0.1:1"]).output().await.unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && printed.contains("is it running?"), "{printed}");
}
