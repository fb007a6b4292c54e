//! Deployments that fail for reasons of the host and not of the component: no room, a data directory that cannot be
//! written, a component that is gone. What serves goes on, and the deployment succeeds once the reason is gone.

use std::fs;

use roost_tests::components;
use roost_tests::deployment::{change, changed, deploy, detail, refused, stamped, version, version_of};
use roost_tests::server::Server;
use serde_json::json;
use uuid::Uuid;

/// The smallest bound on the components that a host keeps: 1 MiB.
const BYTES_MAX: usize = 1_048_576;

/// The same function with so many bytes more: a custom section without meaning.
fn padded(mut component: Vec<u8>, bytes: usize) -> Vec<u8> {
    const NAME: &[u8] = b"\x07padding";
    // The length of the section in the variable form of the binary format, seven bits a byte.
    let mut length = NAME.len() + bytes;
    component.push(0);
    while length >= 0x80 {
        component.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    component.push(length as u8);
    component.extend_from_slice(NAME);
    component.resize(component.len() + bytes, 0);
    component
}

async fn serves(server: &Server, version: &str) {
    assert_eq!(version_of(server, Uuid::new_v4()).await.as_deref(), Some(version));
}

#[tokio::test]
async fn a_component_without_room_is_refused_and_the_one_before_serves() {
    let server = Server::start(&[("deployments.bytes_max", &BYTES_MAX.to_string())]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    let (status, code, reason) = refused(&server, padded(version("0.2.0", "ok"), BYTES_MAX), "").await;
    assert_eq!((status, code.as_str()), (507, "no_room"), "{reason}");
    assert!(reason.contains(&BYTES_MAX.to_string()) && reason.contains("deployments.bytes_max"), "{reason}");
    serves(&server, "0.1.0").await;
    assert_eq!(detail(&server).await["revisions"].as_array().unwrap().len(), 1);
    deploy(&server, padded(version("0.3.0", "ok"), 1_000), "").await;
    serves(&server, "0.3.0").await;
}

#[tokio::test]
async fn refused_deployments_do_not_fill_the_data_directory() {
    let server = Server::start(&[]).await;
    deploy(&server, version("0.1.0", "ok"), "").await;
    for stamp in 0..5 {
        // It lacks a route of the version that serves.
        let (status, code, reason) = refused(&server, stamped(&version("0.2.0", "smaller"), &[stamp]), "").await;
        assert_eq!((status, code.as_str()), (422, "removals_refused"), "{reason}");
    }
    let files = fs::read_dir(server.data().join("deployments")).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm")).count();
    assert_eq!(kept, 1, "what serves, and none of those that were refused");
    serves(&server, "0.1.0").await;
}

#[tokio::test]
async fn the_revision_that_was_probed_is_the_one_that_serves() {
    let server = Server::start(&[]).await;
    let probe = r#"probe={"method":"GET","path":"/v1/lifecycle/extra"}"#;
    for version in [version("0.1.0", "ok"), version("0.2.0", "ok")] {
        deploy(&server, version, probe).await;
        assert_eq!(detail(&server).await["serving"]["calls"], 1, "it was not prepared a second time");
    }
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_refuses_deployments() {
    let server = Server::start(&[]).await;
    // A file in the place of the folder refuses every user, also one with all rights.
    let folder = server.data().join("deployments");
    fs::write(&folder, "in the way").unwrap();
    let (status, code, reason) = refused(&server, version("0.1.0", "ok"), "").await;
    assert_eq!((status, code.as_str()), (507, "disk"), "{reason}");
    assert_eq!(version_of(&server, Uuid::new_v4()).await, None, "what is not stored does not serve");
    server.operator().get("/functions/lifecycle").await.problem(404, "function_not_found");
    fs::remove_file(&folder).unwrap();
    deploy(&server, version("0.1.0", "ok"), "").await;
    serves(&server, "0.1.0").await;
}

#[tokio::test]
async fn a_revision_whose_component_is_gone_cannot_be_returned_to() {
    let server = Server::start(&[]).await;
    let first = deploy(&server, version("0.1.0", "ok"), "").await;
    deploy(&server, version("0.2.0", "ok"), "").await;
    let file = server.data().join("deployments").join(first["digest"].as_str().unwrap()).with_extension("wasm");
    // After a restart the host has only read the component that serves.
    let server = Server::serve_in(server.stop().await, &components(), &[]).await;
    serves(&server, "0.2.0").await;
    for is_damaged in [true, false] {
        if is_damaged { fs::write(&file, b"damaged") } else { fs::remove_file(&file) }.unwrap();
        let (status, problem) = change(&server, "POST", "/rollback", "").await;
        assert_eq!((status, &problem["code"]), (409, &json!("component_missing")), "{problem}");
        let reason = problem["detail"].as_str().unwrap();
        assert!(reason.contains("lifecycle") && reason.contains("revision 1"), "{reason}");
        serves(&server, "0.2.0").await;
    }
    deploy(&server, version("0.1.0", "ok"), "").await;
    serves(&server, "0.1.0").await;
    assert_eq!(changed(&server, "POST", "/rollback", r#"{"revision":2}"#).await["version"], "0.2.0");
}
