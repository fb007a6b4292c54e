//! A conversation as one role sees it: with messages of the caller and of another member, who is online, a block where
//! the role has one, and an outsider.

use roost_tests::client::{Client, send};
use roost_tests::server::Server;
use roost_tests::socket::Socket;
use serde_json::{Value, json};
use uuid::Uuid;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Stranger,
    Member,
    Creator,
    Blocked,
    Service,
}

impl Role {
    /// In the order of the columns.
    pub(crate) const ALL: [Self; 5] = [Self::Stranger, Self::Member, Self::Creator, Self::Blocked, Self::Service];
}

/// Whether one of the two members has blocked the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    None,
    ByCaller,
    ByOther,
}

pub(crate) struct World {
    pub(crate) role: Role,
    pub(crate) block: Block,
    /// Whoever calls. For a service: the member for whom it acts, where it does.
    pub(crate) caller: Uuid,
    /// Another member, and the user in question, who is online.
    pub(crate) other: Uuid,
    /// A user who is in no conversation with anybody.
    pub(crate) outsider: Uuid,
    pub(crate) conversation: String,
    /// A message of the caller; the other's, if the caller could not send one.
    pub(crate) own: String,
    /// A message of the other.
    pub(crate) foreign: String,
    /// A message that a service has sent for the caller, and whose type begins with `system`; the other's, if the
    /// caller could not send one.
    system: String,
    /// The connection of the other.
    _connection: Socket,
}

impl World {
    /// Makes a world with new users. In a pair the two members are the caller and the other, but for a stranger.
    pub(crate) async fn make(server: &Server, role: Role, block: Block, pair: bool) -> Self {
        let [caller, other, outsider, third] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        if role != Role::Stranger {
            server.befriend(caller, other).await;
        }
        let conversation = match (pair, role) {
            (true, Role::Stranger) => create_pair(&server.user(other), third).await,
            (true, Role::Creator) => create_pair(&server.user(caller), other).await,
            (true, _) => create_pair(&server.user(other), caller).await,
            (false, Role::Creator) => server.user(caller).conversation(&[other, third]).await,
            (false, Role::Blocked) => server.user(other).conversation(&[caller]).await,
            (false, _) => server.user(third).conversation(&[caller, other]).await,
        };
        let foreign = send_text(&server.user(other), &conversation).await;
        let (own, system) = if pair && role == Role::Stranger {
            (foreign.clone(), foreign.clone())
        } else {
            (send_text(&server.user(caller), &conversation).await, send_system(server, caller, &conversation).await)
        };
        if role == Role::Stranger && !pair {
            let member = format!("/v1/conversations/{conversation}/members/{caller}");
            server.user(caller).delete(&member).await.done();
        }
        match block {
            Block::None => {}
            Block::ByCaller => server.user(caller).put(&format!("/v1/blocks/{other}")).await.done(),
            Block::ByOther => server.user(other).put(&format!("/v1/blocks/{caller}")).await.done(),
        }
        let connection = Socket::open(server, other).await;
        Self { role, block, caller, other, outsider, conversation, own, foreign, system, _connection: connection }
    }

    /// The message that a row with this case is about.
    pub(crate) fn message(&self, case: &str) -> &str {
        if case.contains("`system`") {
            &self.system
        } else if case.contains("one's own") {
            &self.own
        } else {
            &self.foreign
        }
    }

    /// The path of a template in this world; `{message}` is the other's, and `{user}` is the other.
    pub(crate) fn fill_in(&self, template: &str) -> String {
        self.path(template, self.other, &self.foreign)
    }

    pub(crate) fn path(&self, template: &str, user: Uuid, message: &str) -> String {
        template
            .replace("{id}", &self.conversation)
            .replace("{conversation}", &self.conversation)
            .replace("{user}", &user.to_string())
            .replace("{message}", message)
    }
}

async fn create_pair(client: &Client, other: Uuid) -> String {
    id(&client.post("/v1/conversations", json!({ "direct": other })).await.json(201))
}

async fn send_text(client: &Client, conversation: &str) -> String {
    let path = format!("/v1/conversations/{conversation}/messages");
    id(&client.post(&path, json!({ "content": "hello" })).await.json(201))
}

/// A service sends a message of a type for services, with the user as its sender.
async fn send_system(server: &Server, user: Uuid, conversation: &str) -> String {
    let path = format!("/v1/conversations/{conversation}/messages");
    let request = server.service().request("POST", &path).header("roost-user", user.to_string());
    id(&send(request.json(&json!({ "type": "system.note", "content": "hello" }))).await.json(201))
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}
