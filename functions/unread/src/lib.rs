//! A user's own unread counters: over HTTP, when a connection is opened, and when a client synchronises.

use std::collections::BTreeMap;

use roost_core::ids::{ConversationId, UserId};
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_core::unread::{self, UnreadPage};
use roost_function::{
    Access, Answer, Edge, Failure, Grants, Hook, PathParameter, QueryParameter, Reply, Request, Route, run,
};
use schemars::JsonSchema;
use serde::Serialize;

const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("conversation");
/// The `next_cursor` of an earlier page.
const CURSOR: QueryParameter<ConversationId> = QueryParameter::new("cursor");
const SPACES: &[Space] = &[
    Space::UnreadTotal,
    Space::UnreadConversation,
    Space::UnreadSequence,
    Space::UnreadRead,
    Space::UnreadLease,
    Space::Followed,
];

roost_function::function! {
    routes: &[
        Route::get("/v1/unread", Access::User, all).described(|route| {
            route
                .summary("The caller's unread counters of all conversations with something unread.")
                .query(CURSOR)
                .reply::<Sourced<Totals>>(200)
        }),
        Route::get("/v1/unread/{conversation}", Access::User, one).described(|route| {
            route
                .summary("The caller's unread counter of one conversation.")
                .path(CONVERSATION)
                .reply::<Sourced<ConversationCounter>>(200)
        }),
        Route::delete("/v1/unread", Access::User, forget).described(|route| {
            route.summary("Deletes the caller's cached counters; the next read rebuilds them.").no_content()
        }),
    ],
    hooks: &[
        Hook::Connected(|connection| counters(connection.user)),
        Hook::Sync(|sync| counters(sync.user)),
    ],
    // Reading a counter can bring it up to date with its conversation, which publishes the events in between.
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: true,
        records: &[Operation::Unread, Operation::Changes],
    },
}

#[derive(JsonSchema, Serialize)]
struct Totals {
    /// The unread messages in all conversations together.
    total: u64,
    /// The unread messages of each conversation with something unread; at most 4,000 conversations.
    conversations: BTreeMap<ConversationId, u64>,
    /// The cursor of the next page of conversations. Absent if there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConversationId")]
    next_cursor: Option<ConversationId>,
}

#[derive(JsonSchema, Serialize)]
struct ConversationCounter {
    /// The conversation that was counted.
    conversation: ConversationId,
    /// The unread messages in it.
    unread: u64,
}

fn totals(user: UserId, after: Option<ConversationId>) -> Result<Sourced<Totals>, Failure> {
    let answer = run(unread::totals(&Edge, user))?;
    Ok(answer.map(|totals| {
        let UnreadPage { total, conversations, next } = unread::page(totals, after);
        Totals { total, conversations, next_cursor: next }
    }))
}

fn all(request: &Request) -> Answer {
    Reply::ok(&totals(request.user()?, request.query(CURSOR)?)?)
}

fn one(request: &Request) -> Answer {
    let conversation = request.path(CONVERSATION)?;
    let answer = run(unread::of_conversation(&Edge, request.user()?, conversation))?;
    Reply::ok(&answer.map(|unread| ConversationCounter { conversation, unread }))
}

fn forget(request: &Request) -> Answer {
    run(unread::forget(&Edge, request.user()?))?;
    Ok(Reply::done())
}

/// The counters as the member `unread` of `hello` and of the answer to `sync`.
fn counters(user: UserId) -> Answer {
    #[derive(Serialize)]
    struct Counters {
        unread: Sourced<Totals>,
    }
    Reply::ok(&Counters { unread: totals(user, None)? })
}
