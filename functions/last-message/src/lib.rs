//! A conversation's last message over HTTP, from the cache.

use roost_core::event::MessageView;
use roost_core::key::Space;
use roost_core::last_message;
use roost_core::port::Operation;
use roost_function::{Access, Answer, Edge, Grants, Reply, Request, Route, Schema, run};

roost_function::function! {
    routes: &[
        Route::get("/v1/conversations/{id}/last-message", Access::User, last)
            .about("The conversation's newest message that the caller may see; 404 `no_message` without one.")
            .gives(&[(200, Some(Schema::MESSAGE))]),
    ],
    grants: Grants {
        read: &[Space::LastMessage],
        write: &[Space::LastMessage],
        records: &[Operation::Membership, Operation::LastMessages],
        ..Grants::NONE
    },
}

fn last(request: &Request) -> Answer {
    let message = run(last_message::get(&Edge, request.user()?, request.parameter("id")?))?;
    Reply::ok(&MessageView::from(&message))
}
