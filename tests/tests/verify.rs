//! `roost verify` and `roost repair` on a host that serves: drift is found, told and mended; traffic is none.
//!
//! Drift is made by writing to the host's records from outside and confirming announcements that nobody made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

use std::collections::BTreeSet;

use roost::config::{RecordsUrl, SqliteLocation};
use roost::records::RecordStore;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::port::{Confirmation, Draft, Records};
use roost_core::time::Timestamp;
use roost_tests::server::{self, Server};
use serde_json::{Value, json};
use uuid::Uuid;

/// The exit code and what was said.
async fn run(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let output = server.command(arguments).output().await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), told)
}

async fn report(server: &Server, arguments: &[&str]) -> (Option<i32>, Value) {
    let (code, told) = run(server, &[arguments, &["--format", "json"]].concat()).await;
    (code, serde_json::from_str(&told).unwrap_or_else(|_| panic!("no JSON: {told}")))
}

fn found(report: &Value) -> BTreeSet<&str> {
    report["drift"].as_array().unwrap().iter().map(|finding| finding["what"].as_str().unwrap()).collect()
}

/// Two people, three messages, everything cached.
async fn talked(server: &Server) -> (Uuid, Uuid, String) {
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

/// A message and a read position of which the store never hears.
async fn go_behind(server: &Server, sender: Uuid, reader: Uuid, id: &str) {
    let file = SqliteLocation::File(server.data().join("records.db"));
    let records = RecordStore::open(&RecordsUrl::Sqlite(file)).await.unwrap();
    let conversation: ConversationId = id.parse().unwrap();
    let (sender, reader) = (UserId::from_u128(sender.as_u128()), UserId::from_u128(reader.as_u128()));
    let at = Timestamp(1_790_000_000_000);
    let draft = Draft { conversation, sender, id: None, kind: "text".into(), content: "unheard".into(), at };
    let change = records.append_message(draft).await.unwrap().change;
    records.announced(vec![Confirmation::Change(conversation, change.seq)]).await.unwrap();
    assert!(records.mark_read(reader, conversation, Some(Seq(2))).await.unwrap().moved);
    records.announced(vec![Confirmation::Member(conversation, reader)]).await.unwrap();
    records.flush().await;
    records.close().await;
}

#[tokio::test]
async fn drift_is_found_told_and_mended_while_the_host_serves() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id, id) = talked(&server).await;
    let (code, told) = run(&server, &["verify"]).await;
    assert!(code == Some(0) && told.contains("2 users compared, 0 without counters"), "{code:?} {told}");
    assert!(
        told.contains("1 last messages compared") && told.contains("0 divergences, 0 pending, 0 inconclusive"),
        "{told}"
    );

    go_behind(&server, ann_id, bob_id, &id).await;
    let (code, all) = report(&server, &["verify", "--batch", "1", "--rate", "1000"]).await;
    assert_eq!((code, found(&all)), (Some(1), BTreeSet::from(["last_message", "position"])), "{all}");
    let (bob, ann) = (bob_id.to_string(), ann_id.to_string());
    let (code, one) = report(&server, &["verify", "--user", &ann]).await;
    assert!(code == Some(1) && one["users"] == 1 && one["drift"][0]["user"] == ann, "{one}");
    let (code, last) = report(&server, &["verify", "--conversation", &id]).await;
    assert!(code == Some(1) && last["drift"][0]["stored"] == 3 && last["drift"][0]["records"] == 4, "{last}");
    let (code, told) = run(&server, &["verify", "--user", &bob, "--format", "metrics"]).await;
    assert!(code == Some(1) && told.contains("roost_drift{what=\"position\",repaired=\"false\"} 1"), "{told}");
    let metrics = server.operator().get("/metrics").await.text;
    assert!(metrics.contains("roost_drift_total{what=\"position\",repaired=\"false\"}"), "{metrics}");

    let (code, told) = run(&server, &["repair"]).await;
    assert!(code == Some(0) && told.contains("3 divergences") && told.contains("3 repaired"), "{code:?} {told}");
    let (code, clean) = report(&server, &["verify"]).await;
    assert_eq!((code, &clean["drift"], &clean["unsettled"]), (Some(0), &json!([]), &json!([])), "{clean}");
    assert_eq!(server.user(bob_id).get("/v1/unread").await.json(200)["total"], 2);
    let last = server.user(bob_id).get(&format!("/v1/conversations/{id}/last-message")).await.json(200);
    assert_eq!(last["content"], "unheard");
    server.stop().await;
}

#[tokio::test]
async fn traffic_is_no_drift() {
    let server = Server::start(&[]).await;
    let (ann_id, bob_id, id) = talked(&server).await;
    let traffic = async {
        let (ann, bob) = (server.user(ann_id), server.user(bob_id));
        for number in 0..60 {
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
    };
    tokio::join!(traffic, verification);
    server.stop().await;
}

#[tokio::test]
async fn a_host_that_cannot_be_asked_has_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = server::command(folder.path());
    let output = command.args(["verify", "--set", "admin_listen=127.0.0.1:1"]).output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && told.contains("is it running?"), "{told}");
}
