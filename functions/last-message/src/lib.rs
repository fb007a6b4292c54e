//! A conversation's last message over HTTP, from the cache.

use roost_core::event::MessageView;
use roost_core::key::Space;
use roost_core::last_message;
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_function::{Access, Answer, Edge, Grants, Reply, Request, Route, Schema, run};

const LAST: Schema = Schema::With(&Schema::MESSAGE, &[Schema::SOURCE]);

roost_function::function! {
    routes: &[
        Route::get("/v1/conversations/{id}/last-message", Access::User, last)
            .about("The conversation's newest message that the caller may see; 404 `no_message` without one.")
            .gives(&[(200, Some(LAST))]),
    ],
    grants: Grants {
        read: &[Space::LastMessage],
        write: &[Space::LastMessage],
        records: &[Operation::Membership, Operation::LastMessages],
        ..Grants::NONE
    },
}

fn last(request: &Request) -> Answer {
    let last = run(last_message::get(&Edge, request.user()?, request.parameter("id")?))?;
    Reply::ok(&Sourced { value: MessageView::from(&last.value), source: last.source })
}
