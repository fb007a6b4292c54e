//! The real binary: a client is told of everything that moves what it shows, on all devices, also what it has missed.

use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// A group of Ann and Bob, without messages. Eve is not a member.
struct Group {
    server: Server,
    ann: Uuid,
    bob: Uuid,
    eve: Uuid,
    id: String,
}

impl Group {
    async fn start() -> Self {
        let server = Server::start(&[]).await;
        let [ann, bob, eve] = [(); 3].map(|()| Uuid::new_v4());
        let id = server.user(ann).conversation(&[bob]).await;
        Self { server, ann, bob, eve, id }
    }

    async fn send(&self, content: &str) -> Value {
        let path = format!("/v1/conversations/{}/messages", self.id);
        self.server.user(self.ann).post(&path, json!({ "content": content })).await.json(201)
    }

    fn member(&self, user: Uuid) -> String {
        format!("/v1/conversations/{}/members/{user}", self.id)
    }
}

#[tokio::test]
async fn a_new_group_its_members_and_its_end_reach_every_device() {
    let group = Group::start().await;
    let (server, ann) = (&group.server, group.server.user(group.ann));
    let mut eves = [Socket::open(server, group.eve).await, Socket::open(server, group.eve).await];
    let mut bob = Socket::open(server, group.bob).await;
    ann.put(&group.member(group.eve)).await.json(200);
    for eve in &mut eves {
        let shown = eve.payload("conversation.added").await;
        let entry = server.user(group.eve).get(&format!("/v1/conversations/{}", group.id)).await.json(200);
        assert_eq!(shown, entry, "as the API answers it");
    }
    let change = bob.payload("conversation.members").await;
    let expected = json!({ "conversation": group.id, "added": [group.eve], "removed": [], "member_count": 3 });
    assert_eq!(change, expected);

    group.send("hello").await;
    ann.delete(&group.member(group.eve)).await.done();
    for eve in &mut eves {
        assert_eq!(eve.payload("message.new").await["content"], "hello");
        let removed = eve.payload("conversation.removed").await;
        assert_eq!(removed, json!({ "conversation": group.id, "total": 0 }));
    }
    assert_eq!(bob.payload("conversation.members").await["removed"], json!([group.eve]));
    group.server.stop().await;
}

#[tokio::test]
async fn a_deletion_moves_the_badge_of_whoever_had_not_read_the_message() {
    let group = Group::start().await;
    let mut bob = Socket::open(&group.server, group.bob).await;
    let first = group.send("one").await;
    group.send("two").await;
    let path = format!("/v1/conversations/{}/messages/{}", group.id, first["id"].as_str().unwrap());
    group.server.user(group.ann).delete(&path).await.done();
    let update = bob.payload("unread.update").await;
    assert_eq!(update, json!({ "conversation": group.id, "unread": 1, "total": 1, "read": 0, "seq": 3 }));
    group.server.stop().await;
}

#[tokio::test]
async fn what_was_missed_about_memberships_is_sent_again_and_is_in_a_sync() {
    let group = Group::start().await;
    let eve = Socket::open(&group.server, group.eve).await;
    let since = eve.position();
    eve.close().await;
    let ann = group.server.user(group.ann);
    ann.put(&group.member(group.eve)).await.json(200);
    group.send("hello").await;
    let mut eve = Socket::resume(&group.server, group.eve, &since).await;
    assert_eq!(eve.payload("conversation.added").await["id"], json!(group.id));
    assert_eq!(eve.payload("message.new").await["content"], "hello");
    let sync = group.server.user(group.eve).get(&format!("/v1/sync?since={since}")).await.json(200);
    assert_eq!(sync["conversations"][0]["id"], json!(group.id));
    assert_eq!(sync["unread"]["total"], 1);
    assert_eq!(sync["unread"]["seqs"], json!({ group.id.as_str(): 1 }));
    assert_eq!(sync["unread"]["reads"], json!({ group.id.as_str(): 0 }));
    group.server.stop().await;
}

#[tokio::test]
async fn contacts_and_blocks_reach_the_own_devices_and_correct_presence_on_both_sides() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let mut anns = Socket::open(&server, ann).await;
    let mut bobs = Socket::open(&server, bob).await;
    server.user(ann).put(&format!("/v1/contacts/{bob}")).await.done();
    let update = anns.payload("contact.update").await;
    assert_eq!(update, json!({ "user": bob, "contact": true, "blocked": false }));
    server.user(bob).put(&format!("/v1/contacts/{ann}")).await.done();
    let online = anns.payload("user.online").await;
    assert!(online["user"] == json!(bob) && online["last_seen"].is_string(), "{online}");
    assert_eq!(bobs.payload("user.online").await["user"], json!(ann));

    server.user(bob).put(&format!("/v1/blocks/{ann}")).await.done();
    let hidden = anns.payload("user.offline").await;
    assert!(hidden["user"] == json!(bob) && hidden["last_seen"].is_null(), "{hidden}");
    assert!(hidden["generation"].as_u64() > online["generation"].as_u64(), "{hidden} {online}");
    assert_eq!(bobs.payload("user.offline").await["user"], json!(ann));
    let blocked = async |user: Uuid| server.user(user).get("/v1/blocks").await.json(200);
    assert_eq!((blocked(bob).await, blocked(ann).await), (json!({ "blocked": [ann] }), json!({ "blocked": [] })));
    server.user(bob).delete(&format!("/v1/blocks/{ann}")).await.done();
    assert_eq!(blocked(bob).await, json!({ "blocked": [] }));
    let again = anns.payload("user.online").await;
    assert!(again["generation"].as_u64() > hidden["generation"].as_u64(), "{again} {hidden}");
    server.stop().await;
}

#[tokio::test]
async fn a_pair_and_an_erased_user_reach_the_other_side() {
    let server = Server::start(&[]).await;
    let (ann, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let mut bobs = Socket::open(&server, bob).await;
    server.user(bob).put(&format!("/v1/contacts/{ann}")).await.done();
    assert_eq!(bobs.payload("contact.update").await["contact"], true);
    server.user(ann).post("/v1/conversations", json!({ "direct": bob })).await.json(201);
    let added = bobs.payload("conversation.added").await;
    assert!(added["direct"] == true && added["member_count"] == 2, "{added}");

    server.service().erase_user(ann).await;
    let update = bobs.payload("contact.update").await;
    assert_eq!(update, json!({ "user": ann, "contact": false, "blocked": false }));
    let change = bobs.payload("conversation.members").await;
    assert_eq!((&change["removed"], &change["member_count"]), (&json!([ann]), &json!(1)));
    server.stop().await;
}
