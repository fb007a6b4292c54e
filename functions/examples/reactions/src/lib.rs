//! Reactions to messages, the worked example of `docs/functions.md`: counts them, tells the members of the conversation,
//! and lets a backend choose which reactions a conversation allows.
//!
//! This file is the table of what the function offers, and its handlers. They parse a request and run a use case.

mod rules;
#[cfg(test)]
mod tests;
mod use_cases;

use roost_core::ids::{ConversationId, MessageId};
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_function::{Access, Answer, Edge, Failure, Grants, PathParameter, Recipients, Reply, Request, Route, run};
use schemars::JsonSchema;
use serde::Deserialize;

use rules::{ChangedPayload, Reaction, Summary};

const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("conversation");
const MESSAGE: PathParameter<MessageId> = PathParameter::new("message");
const REACTION: PathParameter<String> = PathParameter::new("reaction");

roost_function::function! {
    routes: &[
        Route::get("/v1/conversations/{conversation}/messages/{message}/reactions", Access::User, list).described(
            |route| route.summary("The reactions to a message.").path(CONVERSATION).path(MESSAGE).reply::<Summary>(200),
        ),
        Route::put("/v1/conversations/{conversation}/messages/{message}/reactions/{reaction}", Access::User, add)
            .described(|route| {
                route
                    .summary("Reacts to a message. Doing so again changes nothing.")
                    .path(CONVERSATION)
                    .path(MESSAGE)
                    .path(REACTION)
                    .reply::<Summary>(200)
            }),
        Route::delete("/v1/conversations/{conversation}/messages/{message}/reactions/{reaction}", Access::User, remove)
            .described(|route| {
                route
                    .summary("Takes a reaction back.")
                    .path(CONVERSATION)
                    .path(MESSAGE)
                    .path(REACTION)
                    .reply::<Summary>(200)
            }),
        Route::put("/v1/conversations/{conversation}/reactions", Access::Service, allow).described(|route| {
            route
                .summary("Chooses which reactions a conversation allows.")
                .path(CONVERSATION)
                .body::<AllowedBody>()
                .no_content()
        }),
    ],
    socket: |socket| {
        socket.durable::<ChangedPayload<'_>>("reaction.changed", "To every member: somebody has reacted, or taken it back.")
    },
    grants: Grants {
        read: &[Space::App],
        write: &[Space::App],
        publish: Recipients::Members,
        records: &[Operation::Messages, Operation::Membership, Operation::ReadDocuments, Operation::PutDocument],
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AllowedBody {
    /// 1 to 20 reactions of 1 to 32 bytes each.
    allowed: Vec<String>,
}

fn reaction(request: &Request) -> Result<Reaction, Failure> {
    Ok(Reaction {
        conversation: request.path(CONVERSATION)?,
        message: request.path(MESSAGE)?,
        user: request.user()?,
        name: request.path(REACTION)?,
    })
}

fn list(request: &Request) -> Answer {
    let (conversation, message) = (request.path(CONVERSATION)?, request.path(MESSAGE)?);
    Reply::ok(&run(use_cases::list(&Edge, request.user()?, conversation, message))?)
}

fn add(request: &Request) -> Answer {
    Reply::ok(&run(use_cases::add(&Edge, &reaction(request)?))?)
}

fn remove(request: &Request) -> Answer {
    Reply::ok(&run(use_cases::remove(&Edge, &reaction(request)?))?)
}

fn allow(request: &Request) -> Answer {
    let AllowedBody { allowed } = request.body()?;
    run(use_cases::allow(&Edge, request.path(CONVERSATION)?, allowed))?;
    Ok(Reply::done())
}
