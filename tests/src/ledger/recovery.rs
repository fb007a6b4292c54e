//! What a client does when it is told `resync`: asks for the present state, and for the messages it does not have.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;

use super::sheet::Sheet;
use crate::client::Client;

/// Before a host is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const PAGE: usize = 100;

/// Asks until everything is there. Any host may answer.
pub(super) async fn recover(hosts: Vec<SocketAddr>, token: String, conversations: Vec<Uuid>, sheet: Arc<Mutex<Sheet>>) {
    let clients: Vec<Client> = hosts.into_iter().map(|host| Client::new(host, Some(&token))).collect();
    for client in clients.iter().cycle() {
        if attempt(client, &conversations, &sheet).await.is_some() {
            break;
        }
        sleep(AGAIN_AFTER).await;
    }
    sheet.lock().unwrap().recovering = false;
}

/// `None`: this host did not answer.
async fn attempt(client: &Client, conversations: &[Uuid], sheet: &Mutex<Sheet>) -> Option<()> {
    let state = get(client, "/v1/sync").await?;
    for member in ["epoch", "presence", "unread", "conversations"] {
        if state.get(member).is_none() {
            sheet.lock().unwrap().fault(format!("sync without {member}: {state}"));
        }
    }
    for conversation in conversations {
        let complete = sheet.lock().unwrap().complete_up_to(*conversation);
        let messages = history(client, *conversation, complete).await?;
        sheet.lock().unwrap().recovered(&messages);
    }
    Some(())
}

/// Every message of a conversation after a place, newest first.
pub(super) async fn history(client: &Client, conversation: Uuid, after: u64) -> Option<Vec<Value>> {
    let mut messages: Vec<Value> = Vec::new();
    let mut before = String::new();
    loop {
        let mut page = get(client, &format!("/v1/conversations/{conversation}/messages?limit={PAGE}{before}")).await?;
        let next = page["next_before"].as_u64();
        let Value::Array(found) = page["messages"].take() else { return None };
        let reached = found.iter().any(|message| message["seq"].as_u64() <= Some(after));
        messages.extend(found.into_iter().filter(|message| message["seq"].as_u64() > Some(after)));
        match next {
            Some(next) if !reached => before = format!("&before={next}"),
            _ => return Some(messages),
        }
    }
}

/// `None`: there is no such answer now.
async fn get(client: &Client, path: &str) -> Option<Value> {
    let response = client.request("GET", path).send().await.ok()?;
    if response.status() != 200 {
        return None;
    }
    response.json().await.ok()
}
