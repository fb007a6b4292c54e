//! To whom a function may publish: the guest `gossip` publishes to whomever it is asked to, and the host keeps it from
//! everybody whom its grant does not include, whichever way it takes. No client receives what was refused.

use std::fs;

use roost_tests::client::Client;
use roost_tests::deployment::{deploy, folder_of_components, refused};
use roost_tests::guests;
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::json;
use uuid::Uuid;

/// The ways of the guest.
const WAYS: [&str; 3] = ["alone", "in-partition", "addressed"];

fn gossip() -> Vec<u8> {
    fs::read(guests().join("gossip.wasm")).unwrap()
}

/// A host with the built-in functions and the guest, which is allowed to publish to these.
async fn host(recipients: &str) -> Server {
    host_with(recipients, &[]).await
}

/// As `host`, with more settings.
async fn host_with(recipients: &str, set: &[(&str, &str)]) -> Server {
    let folder = folder_of_components();
    fs::copy(guests().join("gossip.wasm"), folder.path().join("gossip.wasm")).unwrap();
    let allowed = [("function.gossip.grants.publish", recipients), ("function.gossip.grants.records", "membership")];
    Server::serve(folder.path(), &[&allowed, set].concat()).await
}

/// The outcome of an attempt to publish. The event carries the text.
async fn attempt(client: &Client, (way, text): (&str, &str), to: &[Uuid], read: &[(&str, Uuid)]) -> String {
    let body = json!({ "way": way, "to": to, "rumour": text, "read": read });
    client.post("/v1/gossip", body).await.json(200).as_str().unwrap().to_owned()
}

/// Publishes an event with this text, in the simplest way.
async fn published(client: &Client, text: &str, to: &[Uuid], read: &[(&str, Uuid)]) {
    assert_eq!(attempt(client, ("alone", text), to, read).await, "published");
}

/// The attempt is refused because of this user, and the refusal says what is allowed.
async fn denied(client: &Client, to: &[Uuid], read: &[(&str, Uuid)], stranger: Uuid) {
    for way in WAYS {
        let answer = attempt(client, (way, "refused"), to, read).await;
        let named = [&format!("publishing to user {stranger}"), "publish.members", "function.gossip.grants.publish"];
        assert!(answer.starts_with("Denied(") && named.iter().all(|text| answer.contains(*text)), "{way}: {answer}");
    }
}

/// Each of them receives exactly these events, and nothing that was refused in between.
async fn receive(sockets: &mut [Socket], texts: &[&str]) {
    for socket in sockets {
        for text in texts {
            assert_eq!(socket.payload("gossip.rumour").await, *text);
        }
    }
}

#[tokio::test]
async fn a_function_publishes_to_members_of_the_callers_conversations_and_to_nobody_else() {
    let server = host("members").await;
    let [ann, ben, cat] = [(); 3].map(|()| Uuid::new_v4());
    let (as_ann, as_cat) = (server.user(ann), server.user(cat));
    let shared = as_ann.conversation(&[ann, ben]).await;
    let foreign = as_cat.conversation(&[ben, cat]).await;
    let mut sockets =
        [Socket::open(&server, ann).await, Socket::open(&server, ben).await, Socket::open(&server, cat).await];

    denied(&as_ann, &[cat], &[], cat).await;
    denied(&as_ann, &[ann, ben], &[], ben).await;
    // A conversation that the caller is not in, as the caller, as a member, and beside one that the caller is in.
    denied(&as_ann, &[ann, ben, cat], &[(&foreign, ann), (&foreign, cat), (&shared, ann)], cat).await;
    denied(&as_ann, &[ben], &[(&shared, ben), (&foreign, ben)], ben).await;
    denied(&server.service(), &[ann], &[(&shared, ann)], ann).await;
    published(&as_ann, "first", &[ann, ben], &[(&shared, ann)]).await;
    published(&as_cat, "first", &[cat], &[]).await;
    // What one call has read does not count in the next one.
    denied(&as_ann, &[ben], &[], ben).await;
    for way in WAYS {
        assert_eq!(attempt(&as_ann, (way, way), &[ann, ben], &[(&shared, ann)]).await, "published", "{way}");
        assert_eq!(attempt(&as_cat, (way, way), &[cat], &[]).await, "published", "{way}: to oneself");
    }
    receive(&mut sockets, &["first", WAYS[0], WAYS[1], WAYS[2]]).await;
}

#[tokio::test]
async fn an_instance_that_is_reused_remembers_nobody_of_an_earlier_call() {
    let server = host_with("members", &[("function.gossip.reuse", "true")]).await;
    let [ann, ben, cat] = [(); 3].map(|()| Uuid::new_v4());
    let (as_ann, as_cat) = (server.user(ann), server.user(cat));
    let shared = as_ann.conversation(&[ann, ben]).await;
    // One call after the other, so that they share an instance.
    for round in ["first", "second"] {
        published(&as_ann, round, &[ann, ben], &[(&shared, ann)]).await;
        denied(&as_ann, &[ben], &[], ben).await;
        denied(&as_cat, &[ann], &[], ann).await;
        denied(&as_cat, &[cat, ben], &[(&shared, cat)], ben).await;
        denied(&server.service(), &[ben], &[], ben).await;
    }
}

#[tokio::test]
async fn whoever_leaves_a_conversation_is_out_of_reach() {
    let server = host("members").await;
    let [ann, ben, cat] = [(); 3].map(|()| Uuid::new_v4());
    let as_ann = server.user(ann);
    let shared = as_ann.conversation(&[ann, ben, cat]).await;
    published(&as_ann, "before", &[ben, cat], &[(&shared, ann)]).await;
    server.user(ben).delete(&format!("/v1/conversations/{shared}/members/{ben}")).await.done();
    denied(&as_ann, &[ben, cat], &[(&shared, ann)], ben).await;
    published(&as_ann, "after", &[cat], &[(&shared, ann)]).await;
}

#[tokio::test]
async fn a_function_that_is_allowed_everybody_and_asks_for_members_gets_members() {
    let server = host("anyone").await;
    let (ann, ben) = (Uuid::new_v4(), Uuid::new_v4());
    denied(&server.user(ann), &[ben], &[], ben).await;
    let listed = server.operator().get("/functions").await.json(200);
    let gossip = listed["functions"].as_array().unwrap().iter().find(|function| function["name"] == "gossip").unwrap();
    assert_eq!(gossip["grants"]["publish"], "members", "{gossip}");
}

#[tokio::test]
async fn a_function_that_asks_for_more_recipients_than_it_is_allowed_is_refused() {
    let server = Server::start(&[
        ("function.gossip.grants.publish", "caller"),
        ("function.gossip.grants.records", "membership"),
    ])
    .await;
    let (status, code, detail) = refused(&server, gossip(), "source=gossip.wasm").await;
    assert_eq!((status, code.as_str()), (422, "grant_refused"));
    let line = "function.gossip.grants.publish = \"members\"";
    assert!(detail.contains("the grant `publish.members`, which is not allowed") && detail.contains(line), "{detail}");
    let done = deploy(&server, gossip(), "source=gossip.wasm&allow_grants=publish.members").await;
    assert_eq!(done["grants"]["given"]["publish"], "members", "{done}");
    let ann = Uuid::new_v4();
    published(&server.user(ann), "deployed", &[ann], &[]).await;
}
