//! Documents of functions from end to end: a compiled function sees their contract, they survive what the key space
//! `app` does not survive, and another function does not find them.

use std::fs;
use std::path::Path;

use roost::runtime::{Engine, HostWorld};
use roost::store::Store;
use roost_core::each_records_case;
use roost_tests::fixture::{case_in_guest, conformance_guest, empty_records};
use roost_tests::guests;
use roost_tests::server::Server;
use serde_json::json;

macro_rules! names {
    ($($module:ident::$case:ident),* $(,)?) => {
        [$((stringify!($module), stringify!($case))),*]
    };
}

#[tokio::test]
async fn a_compiled_function_sees_the_contract_of_documents() {
    let engine = Engine::new().unwrap();
    let mut held = 0;
    for (module, case) in each_records_case!(names) {
        // A function cannot name another one.
        if module == "documents" && case != "functions_do_not_see_each_others_documents" {
            let world = HostWorld::new(Store::memory(), empty_records().await);
            let guest = conformance_guest(engine.clone(), world).await;
            let answer = case_in_guest(&guest, &format!("/v1/documents/{case}")).await;
            assert!(answer.contains("it holds"), "{case}: {answer}");
            held += 1;
        }
    }
    assert!(held > 10, "{held}");
}

/// The grants of both guests.
const ALLOWED: [(&str, &str); 2] =
    [("function.conformance.grants.all", "true"), ("function.hostile.grants.all", "true")];

/// A folder with the guest that keeps notes and the one that looks for them.
fn two_guests(folder: &Path) {
    for guest in ["conformance.wasm", "hostile.wasm"] {
        fs::copy(guests().join(guest), folder.join(guest)).unwrap();
    }
}

#[tokio::test]
async fn a_document_survives_the_loss_of_the_store_and_an_item_of_app_does_not() {
    let components = tempfile::tempdir().unwrap();
    two_guests(components.path());
    let server = Server::serve(components.path(), &ALLOWED).await;
    server.anonymous().post("/v1/notes", json!({ "text": "draft" })).await.json(200);
    let kept = server.anonymous().post("/v1/notes", json!({ "text": "remember 👍" })).await.json(200);
    let note = json!({ "text": "remember 👍" });
    assert_eq!(kept, json!({ "app": "remember 👍", "document": note, "version": 2 }));

    // The store is in memory, so a restart loses it. The records are in a file.
    let folder = server.kill().await;
    let server = Server::serve_in(folder, components.path(), &ALLOWED).await;
    let kept = server.anonymous().get("/v1/notes").await.json(200);
    assert_eq!(kept, json!({ "app": null, "document": note, "version": 2 }));
    let kept = server.anonymous().post("/v1/notes", json!({ "text": "new" })).await.json(200);
    assert_eq!(kept["version"], 3);
}

#[tokio::test]
async fn a_function_does_not_find_the_documents_of_another_one() {
    let components = tempfile::tempdir().unwrap();
    two_guests(components.path());
    let server = Server::serve(components.path(), &ALLOWED).await;
    server.anonymous().post("/v1/notes", json!({ "text": "secret" })).await.json(200);
    assert_eq!(server.anonymous().get("/v1/hostile/peek").await.json(200), 0);
    assert_eq!(server.anonymous().get("/v1/notes").await.json(200)["document"], json!({ "text": "secret" }));
}
