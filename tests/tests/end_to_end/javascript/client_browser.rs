//! The JavaScript client in headless Chromium, on a page of another origin: the queue survives a reload of the page in
//! IndexedDB, and a socket and an event stream work.

use std::fs;

use roost_tests::browser::{Browser, Site, page};
use roost_tests::javascript::programs;
use roost_tests::server::Server;
use roost_tests::sources::{files, root};
use serde_json::json;
use uuid::Uuid;

use crate::javascript::client::token;

/// A site with the client's own files as they are, and a page that uses them.
async fn site() -> Site {
    let script = fs::read_to_string(programs().join("page.js")).unwrap();
    let folder = root().join("host/web/client");
    let mut served = vec![("/".to_owned(), "text/html", page(&script))];
    for file in files(&folder, "js") {
        let path = format!("/client/{}", file.strip_prefix(&folder).unwrap().display());
        served.push((path, "text/javascript", fs::read_to_string(&file).unwrap()));
    }
    Site::serve(served.iter().map(|(path, kind, text)| (path.as_str(), *kind, text.clone())).collect()).await
}

#[tokio::test]
async fn a_page_sends_after_a_reload_what_was_written_offline_and_remains_current() {
    let site = site().await;
    let server = Server::start(&[("allowed_origins", site.origin().as_str())]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let address = format!("/?host={}&token={}&user={ada}&conversation={conversation}", server.listen, token(ada));
    let mut browser = Browser::open(&site, &address);
    assert_eq!(browser.report("queued").await["taken_over"], 0, "the tab that queued it is still open");

    let sent = browser.report("sent").await;
    let expected = json!({ "transport": "socket", "contents": ["written offline", "and one more"], "queue": 0 });
    assert_eq!(sent, expected);
    assert_eq!(browser.report("streaming").await["transport"], "events");
    let path = format!("/v1/conversations/{conversation}/messages");
    server.user(ben).post(&path, json!({ "content": "to the page" })).await.json(201);
    assert_eq!(browser.report("received").await, json!({ "total": 1, "last": "to the page" }));
    browser.report("done").await;
    assert_eq!(server.user(ada).get("/v1/unread").await.json(200)["total"], 0);
    let history = server.user(ben).get(&path).await.json(200);
    assert_eq!(history["messages"].as_array().unwrap().len(), 3, "nothing was sent twice");
}
