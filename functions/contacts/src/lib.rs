//! Contacts and blocks over HTTP: who may see whose presence.

use roost_core::contacts;
use roost_core::ids::UserId;
use roost_core::port::Operation;
use roost_function::{Access, Answer, Edge, Grants, Reply, Request, Route, Schema, run};
use serde::Serialize;

const CONTACTS: Schema = Schema::Object(&[("contacts", Schema::List(&Schema::Id))]);

roost_function::function! {
    routes: &[
        Route::get("/v1/contacts", Access::User, list)
            .about("The users that the caller has added.")
            .gives(&[(200, Some(CONTACTS))]),
        Route::put("/v1/contacts/{user}", Access::User, add)
            .about("Adds a contact. Two who have added each other see each other's presence.")
            .gives(&[(204, None)]),
        Route::delete("/v1/contacts/{user}", Access::User, remove)
            .about("Removes a contact.")
            .gives(&[(204, None)]),
        Route::put("/v1/blocks/{user}", Access::User, block)
            .about("Blocks a user: no presence either way, and no messages between the two alone.")
            .gives(&[(204, None)]),
        Route::delete("/v1/blocks/{user}", Access::User, unblock)
            .about("Ends a block.")
            .gives(&[(204, None)]),
    ],
    grants: Grants {
        records: &[
            Operation::Contacts,
            Operation::AddContact,
            Operation::RemoveContact,
            Operation::Block,
            Operation::Unblock,
        ],
        ..Grants::NONE
    },
}

fn list(request: &Request) -> Answer {
    #[derive(Serialize)]
    struct Contacts {
        contacts: Vec<UserId>,
    }
    let contacts = run(contacts::list(&Edge, request.user()?))?;
    Reply::ok(&Contacts { contacts })
}

fn add(request: &Request) -> Answer {
    run(contacts::add(&Edge, request.user()?, request.parameter("user")?))?;
    Ok(Reply::done())
}

fn remove(request: &Request) -> Answer {
    run(contacts::remove(&Edge, request.user()?, request.parameter("user")?))?;
    Ok(Reply::done())
}

fn block(request: &Request) -> Answer {
    run(contacts::block(&Edge, request.user()?, request.parameter("user")?))?;
    Ok(Reply::done())
}

fn unblock(request: &Request) -> Answer {
    run(contacts::unblock(&Edge, request.user()?, request.parameter("user")?))?;
    Ok(Reply::done())
}
