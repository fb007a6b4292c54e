//! Contacts and blocks over HTTP. They decide who may see whose presence.

use roost_core::contacts;
use roost_core::event::ContactPayload;
use roost_core::ids::UserId;
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_function::{Access, Answer, Edge, Grants, PathParameter, Recipients, Reply, Request, Route, run};
use schemars::JsonSchema;
use serde::Serialize;

const USER: PathParameter<UserId> = PathParameter::new("user");

roost_function::function! {
    routes: &[
        Route::get("/v1/contacts", Access::User, list)
            .described(|route| route.summary("The users that the caller has added.").reply::<Contacts>(200)),
        Route::put("/v1/contacts/{user}", Access::User, add).described(|route| {
            route
                .summary("Adds a contact. Two users who have added each other see each other's presence.")
                .path(USER)
                .no_content()
        }),
        Route::delete("/v1/contacts/{user}", Access::User, remove)
            .described(|route| route.summary("Removes a contact.").path(USER).no_content()),
        Route::get("/v1/blocks", Access::User, list_blocked).described(|route| {
            route.summary("The users that the caller has blocked.").reply::<BlockedUsers>(200)
        }),
        Route::put("/v1/blocks/{user}", Access::User, block).described(|route| {
            route
                .summary("Blocks a user: neither sees the other's presence, and neither can write to the other directly.")
                .path(USER)
                .no_content()
        }),
        Route::delete("/v1/blocks/{user}", Access::User, unblock)
            .described(|route| route.summary("Ends a block.").path(USER).no_content()),
    ],
    socket: |socket| {
        socket.durable::<ContactPayload>(
            "contact.update",
            "To the user's own devices: the user has added or removed a contact, or blocked or unblocked somebody.",
        )
    },
    // What a contact or a block changes about who sees whom is told to both users.
    grants: Grants {
        read: &[Space::Presence],
        write: &[Space::Presence],
        publish: Recipients::Anyone,
        records: &[
            Operation::Contacts,
            Operation::Blocks,
            Operation::Audience,
            Operation::Relation,
            Operation::Announced,
            Operation::AddContact,
            Operation::RemoveContact,
            Operation::Block,
            Operation::Unblock,
        ],
    },
}

#[derive(JsonSchema, Serialize)]
struct Contacts {
    /// The users that the caller has added, ordered by id.
    contacts: Vec<UserId>,
}

#[derive(JsonSchema, Serialize)]
struct BlockedUsers {
    /// The users that the caller has blocked, ordered by id.
    blocked: Vec<UserId>,
}

fn list(request: &Request) -> Answer {
    let contacts = run(contacts::list(&Edge, request.user()?))?;
    Reply::ok(&Contacts { contacts })
}

fn add(request: &Request) -> Answer {
    run(contacts::add(&Edge, request.user()?, request.path(USER)?))?;
    Ok(Reply::done())
}

fn remove(request: &Request) -> Answer {
    run(contacts::remove(&Edge, request.user()?, request.path(USER)?))?;
    Ok(Reply::done())
}

fn list_blocked(request: &Request) -> Answer {
    let blocked = run(contacts::blocked(&Edge, request.user()?))?;
    Reply::ok(&BlockedUsers { blocked })
}

fn block(request: &Request) -> Answer {
    run(contacts::block(&Edge, request.user()?, request.path(USER)?))?;
    Ok(Reply::done())
}

fn unblock(request: &Request) -> Answer {
    run(contacts::unblock(&Edge, request.user()?, request.path(USER)?))?;
    Ok(Reply::done())
}
