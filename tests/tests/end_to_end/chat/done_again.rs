//! What is done again, possibly after something else: every row of the table "Done again" in `docs/api.md` is tried
//! against the real binary. A row without an event must cause none.

use std::collections::BTreeSet;

use roost_tests::client::{Answer, Client};
use roost_tests::markdown::table;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

const DOCUMENT: &str = include_str!("../../../../docs/api.md");

/// Ann and Bob with a group, Ann's message in it, and their sockets.
struct Chat {
    ann: Member,
    bob: Member,
    group: String,
    message: Uuid,
}

struct Member {
    id: Uuid,
    client: Client,
    socket: Socket,
    /// A conversation of this user alone, for messages that mark the end of what came before.
    notes: String,
}

impl Member {
    async fn join(server: &Server) -> Self {
        let id = Uuid::new_v4();
        let client = server.user(id);
        let notes = client.conversation(&[]).await;
        let socket = Socket::open(server, id).await;
        Self { id, client, socket, notes }
    }

    /// The types of the events that have arrived since the last call.
    async fn events(&mut self) -> Vec<String> {
        let marker = Uuid::new_v4();
        let draft = json!({ "id": marker, "content": "marker" });
        self.client.post(&format!("/v1/conversations/{}/messages", self.notes), draft).await.json(201);
        let mut events = Vec::new();
        loop {
            let event = self.socket.next().await;
            if event["payload"]["id"] == json!(marker) {
                return events;
            }
            events.push(event["type"].as_str().expect("a type").to_owned());
        }
    }
}

impl Chat {
    async fn begin(server: &Server) -> Self {
        let (ann, bob) = (Member::join(server).await, Member::join(server).await);
        let group = ann.client.conversation(&[bob.id, Uuid::new_v4()]).await;
        let mut chat = Self { ann, bob, group, message: Uuid::new_v4() };
        assert_eq!(chat.send("hello").await.status, 201);
        chat.events().await;
        chat
    }

    async fn events(&mut self) -> Vec<String> {
        [self.ann.events().await, self.bob.events().await].concat()
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/conversations/{}{rest}", self.group)
    }

    fn message_path(&self) -> String {
        self.path(&format!("/messages/{}", self.message))
    }

    async fn send(&self, content: &str) -> Answer {
        self.ann.client.post(&self.path("/messages"), json!({ "id": self.message, "content": content })).await
    }

    async fn edit(&self, content: &str) -> Answer {
        self.ann.client.patch(&self.message_path(), json!({ "content": content })).await
    }

    async fn delete(&self) -> Answer {
        self.ann.client.delete(&self.message_path()).await
    }

    async fn member(&self, method: &str, user: Uuid) -> Answer {
        let path = self.path(&format!("/members/{user}"));
        if method == "PUT" { self.ann.client.put(&path).await } else { self.ann.client.delete(&path).await }
    }

    async fn create(&self, id: Uuid, members: &[Uuid]) -> Answer {
        self.ann.client.post("/v1/conversations", json!({ "id": id, "members": members })).await
    }

    async fn pair(&self, with: Uuid) -> Answer {
        self.ann.client.post("/v1/conversations", json!({ "direct": with })).await
    }
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).unwrap_or_default()
}

/// Does it for the first time, which changes something and causes events, and then again.
async fn twice(chat: &mut Chat, act: impl AsyncFn(&Chat) -> Answer) -> Answer {
    let first = act(chat).await;
    assert!((200..300).contains(&first.status), "{first:?}");
    assert!(!chat.events().await.is_empty(), "nothing has happened: {first:?}");
    act(chat).await
}

/// Tries one row and returns the answer to what was done again.
async fn messages(chat: &mut Chat, again: &str) -> Option<Answer> {
    Some(match again {
        "a message with the `id` of one that was edited" => {
            chat.edit("hello, you").await.json(200);
            let answer = chat.send("hello").await;
            assert_eq!(body(&answer)["content"], "hello, you");
            answer
        }
        "a message with the `id` of one that was deleted" => {
            chat.delete().await.done();
            let answer = chat.send("hello").await;
            assert_eq!((&body(&answer)["content"], &body(&answer)["deleted"]), (&json!(""), &json!(true)));
            answer
        }
        "a message with an `id` that is another sender's, or of another conversation" => {
            let draft = json!({ "id": chat.message, "content": "hello" });
            let elsewhere = format!("/v1/conversations/{}/messages", chat.ann.notes);
            chat.ann.client.post(&elsewhere, draft.clone()).await.problem(409, "conflict");
            chat.bob.client.post(&chat.path("/messages"), draft).await
        }
        "a message that was sent, after its sender has left" => {
            chat.member("DELETE", chat.ann.id).await.done();
            let answer = chat.send("hello").await;
            let history = chat.bob.client.get(&chat.path("/messages")).await.json(200);
            assert_eq!(history["messages"][0]["id"], json!(chat.message));
            answer
        }
        "a message that was sent in a pair, after a block" => {
            let pair = chat.pair(chat.bob.id).await.json(201);
            let path = format!("/v1/conversations/{}/messages", pair["id"].as_str().expect("an id"));
            let draft = json!({ "id": Uuid::new_v4(), "content": "hello" });
            let sent = chat.ann.client.post(&path, draft.clone()).await.json(201);
            chat.bob.client.put(&format!("/v1/blocks/{}", chat.ann.id)).await.done();
            chat.ann.client.post(&path, json!({ "content": "hello?" })).await.problem(403, "blocked");
            let answer = chat.ann.client.post(&path, draft).await;
            assert_eq!((&body(&answer)["id"], &body(&answer)["seq"]), (&sent["id"], &sent["seq"]));
            answer
        }
        "an edit to the content that the message has" => twice(chat, async |chat| chat.edit("hello, you").await).await,
        "an edit of a deleted message" => {
            chat.delete().await.done();
            chat.edit("hello, you").await
        }
        "the deletion of a deleted message" => twice(chat, async |chat| chat.delete().await).await,
        "reading up to a position that is passed" => {
            let path = chat.path("/read");
            chat.bob.client.post(&path, json!({ "up_to": 1 })).await.json(200);
            let answer = chat.bob.client.post(&path, json!({ "up_to": 0 })).await;
            assert_eq!(body(&answer)["up_to"], 1);
            answer
        }
        _ => return None,
    })
}

async fn conversations(server: &Server, chat: &mut Chat, again: &str) -> Option<Answer> {
    let (new, carol, bob) = (Uuid::new_v4(), Uuid::new_v4(), chat.bob.id);
    Some(match again {
        "a conversation with an `id` that exists, with the same members" => {
            twice(chat, async |chat| chat.create(new, &[bob]).await).await
        }
        "a conversation with an `id` that exists, with others" => {
            chat.create(new, &[bob]).await.json(201);
            chat.create(new, &[carol]).await
        }
        "a pair that exists, also after a block" => {
            let made = chat.pair(bob).await.json(201);
            chat.bob.client.put(&format!("/v1/blocks/{}", chat.ann.id)).await.done();
            let answer = chat.pair(bob).await;
            assert_eq!(body(&answer)["id"], made["id"]);
            answer
        }
        "adding somebody who is a member" => twice(chat, async |chat| chat.member("PUT", carol).await).await,
        "adding somebody who has left" => {
            chat.bob.client.delete(&chat.path(&format!("/members/{bob}"))).await.done();
            let answer = chat.member("PUT", bob).await;
            let events = chat.bob.events().await;
            assert!(events.contains(&"conversation.added".to_owned()), "{events:?}");
            let history = chat.bob.client.get(&chat.path("/messages")).await.json(200);
            assert_eq!(history["messages"], json!([]), "what was sent before is not shown again");
            answer
        }
        "removing somebody who is no member any more" => {
            chat.member("PUT", carol).await.json(200);
            twice(chat, async |chat| chat.member("DELETE", carol).await).await
        }
        "leaving a conversation that one has left" => {
            let path = chat.path(&format!("/members/{bob}"));
            chat.bob.client.delete(&path).await.done();
            chat.bob.client.delete(&path).await
        }
        "erasing a user who is erased" => {
            let service = server.service();
            service.erase_user(bob).await;
            let answer = service.delete(&format!("/v1/users/{bob}")).await;
            assert_eq!(body(&answer)["done"], true);
            answer
        }
        _ => return None,
    })
}

async fn contacts(chat: &mut Chat, again: &str) -> Option<Answer> {
    if again != "adding a contact, blocking somebody, and their opposites" {
        return None;
    }
    let mut last = None;
    for (method, kind) in [("PUT", "contacts"), ("DELETE", "contacts"), ("PUT", "blocks"), ("DELETE", "blocks")] {
        let path = format!("/v1/{kind}/{}", chat.bob.id);
        let answer = twice(chat, async |chat| {
            if method == "PUT" { chat.ann.client.put(&path).await } else { chat.ann.client.delete(&path).await }
        });
        let answer = answer.await;
        answer.done();
        let events = chat.events().await;
        assert!(events.is_empty(), "{method} {kind}: {events:?}");
        last = Some(answer);
    }
    last
}

fn check(again: &str, expected: &str, answer: &Answer) {
    let (status, rest) = expected.split_at(3);
    assert_eq!(answer.status.to_string(), status, "{again}: {}", answer.text);
    if let Some((code, _)) = rest.trim_start().strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        assert_eq!(body(answer)["code"], code, "{again}");
    }
}

#[tokio::test]
async fn every_row_of_the_table_is_what_the_host_does() {
    let server = Server::start(&[]).await;
    let mut tried = BTreeSet::new();
    for row in table(DOCUMENT, "### Done again").into_iter().skip(1) {
        let [again, expected] = row[..] else { panic!("{row:?}") };
        let mut chat = Chat::begin(&server).await;
        let mut answer = messages(&mut chat, again).await;
        if answer.is_none() {
            answer = conversations(&server, &mut chat, again).await;
        }
        if answer.is_none() {
            answer = contacts(&mut chat, again).await;
        }
        let answer = answer.unwrap_or_else(|| panic!("nobody tries {again:?}"));
        check(again, expected, &answer);
        if expected.contains("no event") {
            let events = chat.events().await;
            assert!(events.is_empty(), "{again}: {events:?}");
        }
        tried.insert(again);
    }
    assert!(tried.len() > 12, "{tried:?}");
    server.stop().await;
}
