//! A user's own unread counters over HTTP, at the opening of a connection and after a gap.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_core::unread;
use roost_function::{Access, Answer, Edge, Failure, Grants, Hook, Reply, Request, Route, Schema, run};
use serde::Serialize;

const TOTALS: Schema =
    Schema::Object(&[("total", Schema::Number), ("conversations", Schema::ById(&Schema::Number)), Schema::SOURCE]);
const ONE: Schema = Schema::Object(&[("conversation", Schema::Id), ("unread", Schema::Number), Schema::SOURCE]);
const SPACES: &[Space] =
    &[Space::UnreadTotal, Space::UnreadConversation, Space::UnreadSequence, Space::UnreadRead, Space::UnreadLease];

roost_function::function! {
    routes: &[
        Route::get("/v1/unread", Access::User, all)
            .about("All unread counters of the caller.")
            .gives(&[(200, Some(TOTALS))]),
        Route::get("/v1/unread/{conversation}", Access::User, one)
            .about("The caller's unread counter of one conversation.")
            .gives(&[(200, Some(ONE))]),
        Route::delete("/v1/unread", Access::User, forget)
            .about("Forgets the caller's cached counters; the next read rebuilds them.")
            .gives(&[(204, None)]),
    ],
    hooks: &[
        Hook::Connected(|connection| part(connection.user)),
        Hook::Sync(|sync| part(sync.user)),
    ],
    // A counter that catches up with its conversation tells what it passes: hence the publications.
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: true,
        records: &[Operation::Unread, Operation::Changes],
    },
}

#[derive(Serialize)]
struct Totals {
    total: u64,
    conversations: BTreeMap<ConversationId, u64>,
}

fn totals(user: UserId) -> Result<Sourced<Totals>, Failure> {
    let answer = run(unread::totals(&Edge, user))?;
    Ok(answer.map(|unread::Totals { total, conversations }| Totals { total, conversations }))
}

fn all(request: &Request) -> Answer {
    Reply::ok(&totals(request.user()?)?)
}

fn one(request: &Request) -> Answer {
    #[derive(Serialize)]
    struct One {
        conversation: ConversationId,
        unread: u64,
    }
    let conversation = request.parameter("conversation")?;
    let answer = run(unread::of_conversation(&Edge, request.user()?, conversation))?;
    Reply::ok(&answer.map(|unread| One { conversation, unread }))
}

fn forget(request: &Request) -> Answer {
    run(unread::forget(&Edge, request.user()?))?;
    Ok(Reply::done())
}

/// The counters as a part of `hello` and of the answer to `sync`.
fn part(user: UserId) -> Answer {
    #[derive(Serialize)]
    struct Part {
        unread: Sourced<Totals>,
    }
    Reply::ok(&Part { unread: totals(user)? })
}
