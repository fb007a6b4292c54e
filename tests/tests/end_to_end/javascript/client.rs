//! The JavaScript client in Node with the real host: the example of its README, a whole screen that equals what the API
//! answers, both transports, and tokens.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use roost_tests::eventually::eventually;
use roost_tests::javascript::{JavascriptClient, node, programs};
use roost_tests::server::Server;
use roost_tests::sources::{files, root};
use roost_tests::token::Token;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) fn url(server: &Server) -> String {
    format!("http://{}", server.listen)
}

pub(crate) fn token(user: Uuid) -> String {
    Token::of(user).sign()
}

/// A connected client of this user.
pub(crate) async fn connected(server: &Server, user: Uuid) -> JavascriptClient {
    JavascriptClient::connected(&url(server), &token(user), &json!({})).await
}

/// Waits until the store shows what the API answers: conversations with members, positions and counters, the total, the
/// presence of these contacts, and the blocked users.
pub(crate) async fn shows_what_the_api_answers(
    client: &mut JavascriptClient,
    server: &Server,
    user: Uuid,
    contacts: &[Uuid],
) {
    let api = server.user(user);
    eventually(&format!("the screen of {user} equals the answers of the API"), async || {
        let page = api.get("/v1/conversations?limit=100").await.json(200);
        let unread = api.get("/v1/unread").await.json(200);
        let presence = api.post("/v1/presence/query", json!({ "users": contacts })).await.json(200);
        let online = presence["presence"].as_array().unwrap().iter().map(|state| state["online"] == true);
        let answered = json!({
            "conversations": page["conversations"].as_array().unwrap().iter().map(essence).collect::<Vec<_>>(),
            "total": unread["total"],
            "online": online.collect::<Vec<_>>(),
            "blocked": api.get("/v1/blocks").await.json(200)["blocked"],
        });
        let shown = client.state().await["shown"].take();
        let online = contacts.iter().map(|contact| shown["presence"][contact.to_string()]["online"] == true);
        let shown = json!({
            "conversations": shown["conversations"].as_array().unwrap().iter().map(essence).collect::<Vec<_>>(),
            "total": shown["total"],
            "online": online.collect::<Vec<_>>(),
            "blocked": shown["blocked"],
        });
        if answered != shown {
            eprintln!("the API answers {answered:#}\nthe store shows {shown:#}");
        }
        answered == shown
    })
    .await;
}

/// What the API and the store describe in the same words.
fn essence(conversation: &Value) -> Value {
    let names = ["id", "direct", "members", "member_count", "reads", "last_message", "unread", "read", "updated_at"];
    names.iter().map(|name| ((*name).to_owned(), conversation[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

/// The contents of an open conversation, oldest first.
pub(crate) fn contents(state: &Value, conversation: &str) -> Vec<String> {
    let messages = state["shown"]["open"][conversation]["messages"].as_array();
    messages.into_iter().flatten().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_tests_that_need_no_host_pass() {
    // Named one by one: versions of Node differ in what they make of a folder.
    let tests = files(&programs(), "mjs").into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs"));
    let tested = node().arg("--test").args(tests).output().await.unwrap();
    let output = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{output}");
    let passed = output.lines().find_map(|line| line.trim_start_matches(['#', 'ℹ', ' ']).strip_prefix("pass "));
    assert!(passed.is_some_and(|passed| passed.parse::<u32>().unwrap() >= 50), "{output}");
}

#[tokio::test]
async fn the_example_of_the_readme_works_with_the_package_as_it_is_published() {
    let readme = fs::read_to_string(root().join("host/web/client/README.md")).unwrap();
    let (_, after) = readme.split_once("```js\n").unwrap();
    let (example, _) = after.split_once("```\n").unwrap();
    assert!(example.lines().count() <= 10, "it is called a ten-line example");
    let project = tempfile::tempdir().unwrap();
    fs::create_dir(project.path().join("node_modules")).unwrap();
    symlink(root().join("host/web/client"), project.path().join("node_modules/roost-client")).unwrap();
    fs::copy(programs().join("globals.mjs"), project.path().join("globals.mjs")).unwrap();
    let end = "console.log(JSON.stringify({ message, rendered: globalThis.rendered }));\nawait client.close();\n";
    fs::write(project.path().join("example.mjs"), format!("{example}{end}")).unwrap();

    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let mut command = node();
    command.current_dir(project.path()).args(["--import", "./globals.mjs", "example.mjs"]);
    command.env("ROOST_URL", url(&server)).env("ROOST_TOKEN", token(ada)).env("ROOST_CONVERSATION", &conversation);
    let ran = command.output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let printed: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(printed["message"]["content"], "Hello!");
    assert_eq!(printed["rendered"]["open"][&conversation]["messages"][0]["content"], "Hello!");
    let history = server.user(ben).get(&format!("/v1/conversations/{conversation}/messages")).await.json(200);
    assert_eq!(history["messages"][0]["id"], printed["message"]["id"]);
}

#[tokio::test]
async fn a_screen_that_lives_on_events_shows_what_the_api_answers() {
    let server = Server::start(&[]).await;
    let (ada, ben, cleo) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    server.befriend(ada, ben).await;
    for user in [ada, ben] {
        server.user(user).put(&format!("/v1/blocks/{}", Uuid::new_v4())).await.done();
    }
    let (mut first, mut second) = (connected(&server, ada).await, connected(&server, ben).await);
    let pair = server.user(ada).conversation(&[ada, ben]).await;
    let group = server.user(ben).conversation(&[ada, ben]).await;
    for user in [ada, ben] {
        server.user(user).get(&format!("/v1/conversations/{pair}")).await.json(200);
    }
    first.until("the new group is shown", |state| state["shown"]["conversations"].as_array().unwrap().len() == 2).await;
    second.store("open", json!([pair])).await;

    let mut sent = Vec::new();
    for number in 0..6 {
        let conversation = if number % 2 == 0 { &pair } else { &group };
        sent.push(first.client("sendMessage", json!([conversation, format!("message {number}")])).await);
    }
    let id = |index: usize| sent[index]["id"].clone();
    first.client("editMessage", json!([pair, id(0), "edited"])).await;
    first.client("deleteMessage", json!([pair, id(2)])).await;
    second.store("read", json!([group])).await;
    second.store("read", json!([pair, sent[0]["seq"]])).await;
    server.user(ben).put(&format!("/v1/conversations/{group}/members/{cleo}")).await.json(200);
    server.user(cleo).post(&format!("/v1/conversations/{group}/messages"), json!({ "content": "hi" })).await.json(201);
    first.store("read", json!([group])).await;
    let left = server.user(ada).conversation(&[ada, ben]).await;
    server.user(ben).delete(&format!("/v1/conversations/{left}/members/{ben}")).await.done();

    for (client, user, contacts) in [(&mut first, ada, [ben]), (&mut second, ben, [ada])] {
        shows_what_the_api_answers(client, &server, user, &contacts).await;
    }
    let state = second.until("the deletion is shown", |state| contents(state, &pair) == ["edited", "message 4"]).await;
    assert_eq!(state["shown"]["open"][&pair]["first_new"], id(0));
    assert_eq!(state["hellos"].as_array().unwrap().len(), 1, "one connection was enough");
    first
        .until("the message is read by everybody", |state| {
            let conversations = state["shown"]["conversations"].as_array().unwrap();
            let shown = conversations.iter().find(|conversation| conversation["id"] == json!(pair)).unwrap();
            shown["reads"][ben.to_string()] == sent[0]["seq"]
        })
        .await;
}

#[tokio::test]
async fn an_event_stream_and_http_do_the_same_as_a_socket() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let options = json!({ "transport": "events" });
    let mut streaming = JavascriptClient::connected(&url(&server), &token(ada), &options).await;
    let mut socket = connected(&server, ben).await;
    streaming.store("open", json!([conversation])).await;
    let sent = streaming.client("sendMessage", json!([conversation, "over HTTP"])).await;
    socket.until("the message is counted", |state| state["shown"]["total"] == 1).await;
    socket.client("markRead", json!([conversation, sent["seq"]])).await;
    socket.client("sendMessage", json!([conversation, "back"])).await;
    let state = streaming.until("the answer is shown", |state| contents(state, &conversation).len() == 2).await;
    assert_eq!((&state["transport"], &state["shown"]["total"]), (&json!("events"), &json!(1)));
    let edited = streaming.client("editMessage", json!([conversation, sent["id"], "changed"])).await;
    assert_eq!(edited["content"], "changed");
    streaming.client("deleteMessage", json!([conversation, sent["id"]])).await;
    for (client, user) in [(&mut streaming, ada), (&mut socket, ben)] {
        shows_what_the_api_answers(client, &server, user, &[]).await;
    }
}

#[tokio::test]
async fn a_socket_that_shows_its_token_in_the_first_frame_is_as_good_as_any() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    let options = json!({ "authentication": "first_frame" });
    let mut client = JavascriptClient::connected(&url(&server), &token(ada), &options).await;
    assert_eq!(client.client("sendMessage", json!([conversation, "hello"])).await["content"], "hello");

    let mut refused = JavascriptClient::start(&url(&server), "wrong", &options);
    refused.begin("connect", json!([])).await;
    let state = refused.until("the client stops", |state| state["status"] == "closed").await;
    assert_eq!(state["closed"]["code"], "unauthenticated", "{state:#}");
}

#[tokio::test]
async fn a_token_is_renewed_without_another_connection() {
    let server = Server::start(&[("token_leeway_ms", "1")]).await;
    let user = Uuid::new_v4();
    let life = Duration::from_secs(8);
    let first = Token::of(user).lives(life).sign();
    let mut client = JavascriptClient::connected(&url(&server), &first, &json!({ "transport": "socket" })).await;
    client.set_token(&token(user));
    let before = client.until("a new token was asked for", |state| state["tokens"] == 2).await;
    let opened = tokio::time::Instant::now();
    // The host closes a socket whose token has ended. Everything that it answers after that shows that the new one
    // counts.
    eventually("the first token has ended", async || opened.elapsed() > life).await;
    client.client("call", json!(["presence.beat"])).await;
    let after = client.state().await;
    assert_eq!((&after["hellos"], &after["errors"]), (&before["hellos"], &json!([])));
    assert_eq!(after["hellos"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_host_that_refuses_for_good_and_a_service_that_disconnects_end_the_client() {
    let server = Server::start(&[]).await;
    let user = Uuid::new_v4();
    let mut refused = JavascriptClient::start(&url(&server), &Token::of(user).secret("another").sign(), &json!({}));
    refused.begin("connect", json!([])).await;
    let state = refused.until("the client stops", |state| state["status"] == "closed").await;
    assert_eq!(state["closed"]["code"], "token_invalid");
    assert!(state["tokens"].as_u64().unwrap() <= 4, "{state:#}");

    for options in [json!({}), json!({ "transport": "events" })] {
        let mut client = JavascriptClient::connected(&url(&server), &token(user), &options).await;
        let path = format!("/v1/users/{user}/connections");
        let asked =
            roost_tests::client::send(server.service().request("DELETE", &path).json(&json!({ "reason": "banned" })));
        assert_eq!(asked.await.status, 202);
        let state = client.until("the client stops", |state| state["status"] == "closed").await;
        assert_eq!(state["closed"]["code"], "disconnected", "{state:#}");
        client.refused("call", json!(["presence.beat"]), "closed").await;
    }
}

#[tokio::test]
async fn a_refused_message_is_shown_until_it_is_discarded() {
    let server = Server::start(&[]).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let conversation = server.user(ada).conversation(&[ada, ben]).await;
    server.user(ben).put(&format!("/v1/blocks/{ada}")).await.done();
    let mut client = connected(&server, ada).await;
    client.store("open", json!([conversation])).await;
    let id = Uuid::new_v4();
    client.refused("sendMessage", json!([conversation, "hello", { "id": id }]), "blocked").await;
    let state = client.state().await;
    let shown = &state["shown"]["open"][&conversation]["messages"][0];
    assert_eq!((&shown["status"], &shown["error"]["code"]), (&json!("failed"), &json!("blocked")));
    assert_eq!(client.client("discard", json!([id])).await, true);
    let state = client.state().await;
    assert_eq!((contents(&state, &conversation).len(), &state["queue"]), (0, &json!([])));
}
