//! The last message of a conversation over HTTP, from the cache.

use roost_core::event::MessageView;
use roost_core::ids::ConversationId;
use roost_core::key::Space;
use roost_core::last_message;
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_function::{Access, Answer, Edge, Grants, PathParameter, Reply, Request, Route, run};

const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("id");

roost_function::function! {
    routes: &[
        Route::get("/v1/conversations/{id}/last-message", Access::User, last).described(|route| {
            route
                .summary("The newest message of a conversation that the caller may see; 404 `no_message` if there is none.")
                .path(CONVERSATION)
                .reply::<Sourced<MessageView<'_>>>(200)
        }),
    ],
    grants: Grants {
        read: &[Space::LastMessage],
        write: &[Space::LastMessage],
        records: &[Operation::Membership, Operation::LastMessages],
        ..Grants::NONE
    },
}

fn last(request: &Request) -> Answer {
    let last = run(last_message::get(&Edge, request.user()?, request.path(CONVERSATION)?))?;
    Reply::ok(&Sourced { value: MessageView::from(&last.value), source: last.source })
}
