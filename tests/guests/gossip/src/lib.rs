//! A function that publishes to whomever the request names: `POST /v1/gossip`. It asks for the grant to publish to the
//! members of the caller's conversations, and the host must keep it from everybody else.
//!
//! The test `publishing_grants` requests each way. An answer is `published`, or the error that refused it.
#![cfg(target_family = "wasm")]

use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Owner;
use roost_core::port::{Event, KeyValue, Operation, Outcome, PubSub, Publication, Records, StoreError, Transaction};
use roost_function::{Access, Answer, Edge, Grants, Recipients, Reply, Request, Route, run};
use serde::Deserialize;

roost_function::function! {
    routes: &[Route::post("/v1/gossip", Access::ServiceOrUser, publish)],
    grants: Grants { publish: Recipients::Members, records: &[Operation::Membership], ..Grants::NONE },
}

/// How events are published.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Without a change.
    Alone,
    /// With a transaction in the partition of each recipient.
    InPartition,
    /// With one transaction in another partition, which names the recipients.
    Addressed,
}

/// What is published, and whose conversations are read before.
#[derive(Deserialize)]
struct Gossip {
    way: Way,
    to: Vec<UserId>,
    rumour: String,
    /// Conversations, each with the user for whom the membership is asked.
    #[serde(default)]
    read: Vec<(ConversationId, UserId)>,
}

fn publish(request: &Request) -> Answer {
    let gossip: Gossip = request.body()?;
    let attempted = run(async {
        for (conversation, user) in &gossip.read {
            // Whatever the records answer: the attempt is made.
            drop(Edge.membership(*conversation, *user).await);
        }
        attempt(gossip).await
    });
    Reply::ok(&attempted.map_or_else(|error| format!("{error:?}"), |()| "published".to_owned()))
}

async fn attempt(gossip: Gossip) -> Result<(), StoreError> {
    let Gossip { way, to, rumour, .. } = gossip;
    let event = Event { name: "gossip.rumour".into(), payload: format!("{rumour:?}").into(), durable: true };
    match way {
        Way::Alone => {
            let publication = |user| Publication { user, event: event.clone() };
            Edge.publish(to.into_iter().map(publication).collect()).await
        }
        Way::InPartition => {
            let transaction = |user| Transaction::new(Owner::User(user)).publish(event.clone());
            commit(to.into_iter().map(transaction).collect()).await
        }
        Way::Addressed => commit(vec![Transaction::new(Owner::Shard(0)).address(to, event)]).await,
    }
}

async fn commit(transactions: Vec<Transaction>) -> Result<(), StoreError> {
    Edge.commit(transactions).await?.into_iter().try_for_each(|outcome| match outcome {
        Outcome::Failed(error) => Err(error),
        Outcome::Committed(_) | Outcome::Refused(_) => Ok(()),
    })
}
