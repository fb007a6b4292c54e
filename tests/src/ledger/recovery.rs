//! The recovery of a client after `resync`: it fetches the current state and the messages that it does not have.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;

use super::observations::Observations;
use crate::client::Client;

/// The pause before the next host is asked.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const PAGE: usize = 100;

/// Repeats the recovery until it is complete. Any host may answer.
pub(super) async fn recover(
    hosts: Vec<SocketAddr>,
    token: String,
    conversations: Vec<Uuid>,
    observations: Arc<Mutex<Observations>>,
) {
    let clients: Vec<Client> = hosts.into_iter().map(|host| Client::new(host, Some(&token))).collect();
    for client in clients.iter().cycle() {
        if attempt(client, &conversations, &observations).await.is_some() {
            break;
        }
        sleep(RETRY_AFTER).await;
    }
    observations.lock().unwrap().recovering = false;
}

/// One attempt at one host; `None` if the host did not answer.
async fn attempt(client: &Client, conversations: &[Uuid], observations: &Mutex<Observations>) -> Option<()> {
    let state = get(client, "/v1/sync").await?;
    for member in ["epoch", "presence", "unread", "conversations"] {
        if state.get(member).is_none() {
            observations.lock().unwrap().violation(format!("sync without {member}: {state}"));
        }
    }
    for conversation in conversations {
        let complete = observations.lock().unwrap().complete_up_to(*conversation);
        let messages = history(client, *conversation, complete).await?;
        observations.lock().unwrap().history_received(&messages);
    }
    Some(())
}

/// All messages of a conversation after a sequence, newest first; `None` if the host does not answer.
pub async fn history(client: &Client, conversation: Uuid, after: u64) -> Option<Vec<Value>> {
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

/// The JSON answer of a GET request, or `None` if the request fails.
async fn get(client: &Client, path: &str) -> Option<Value> {
    let response = client.request("GET", path).send().await.ok()?;
    if response.status() != 200 {
        return None;
    }
    response.json().await.ok()
}
