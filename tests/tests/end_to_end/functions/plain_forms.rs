//! The plain forms of queries, from a compiled function on a real host: each says the same as the packed form, and has
//! the same bounds and errors.

use std::fs;

use roost_tests::guests;
use roost_tests::server::Server;

const CASES: [&str; 7] = ["fields", "named-fields", "indexed-counters", "missing", "mixed", "wrong-type", "too-many"];

#[tokio::test]
async fn plain_and_packed_answers_agree() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(guests().join("conformance.wasm"), folder.path().join("conformance.wasm")).unwrap();
    let server = Server::serve(folder.path(), &[("function.conformance.grants.all", "true")]).await;
    for case in CASES {
        let answer = server.anonymous().get(&format!("/v1/plain/{case}")).await;
        assert_eq!(answer.json(200), "it holds", "{case}\n{}", server.log());
    }
    assert_eq!(server.anonymous().get("/v1/plain/none").await.json(200), "no such case");
    server.stop().await;
}
