//! A user's own unread counters: over HTTP, when a connection is opened, and when a client synchronises. Services can
//! have the cached ones deleted.

use std::collections::BTreeMap;

use roost_core::error::ErrorKind;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::source::Sourced;
use roost_core::unread::{self, UnreadPage};
use roost_function::{
    Access, Answer, Edge, Failure, Grants, Hook, PathParameter, QueryParameter, Recipients, Reply, Request, Route, run,
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
        Route::delete("/v1/unread", Access::Service, forget).described(|route| {
            route
                .summary("Deletes the cached counters of the user in `Roost-User`; the next read rebuilds them.")
                .no_content()
        }),
    ],
    socket: |socket| socket.hello::<Counters>().sync::<Counters>(),
    hooks: &[
        Hook::Connected(|connection| counters(connection.user)),
        Hook::Sync(|sync| counters(sync.user)),
    ],
    // Reading a counter can bring it up to date with its conversation, which publishes the events in between.
    grants: Grants {
        read: SPACES,
        write: SPACES,
        publish: Recipients::Anyone,
        records: &[
            Operation::Unread,
            Operation::Changes,
            Operation::LastMessages,
            Operation::Conversations,
            Operation::Members,
        ],
    },
}

#[derive(JsonSchema, Serialize)]
struct Totals {
    /// The unread messages in all conversations together.
    total: u64,
    /// The unread messages of each conversation with something unread; at most 1,400 conversations.
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
    Ok(answer.map(|totals| page(totals, after)))
}

fn page(totals: unread::Totals, after: Option<ConversationId>) -> Totals {
    let UnreadPage { total, conversations, next } = unread::page(totals, after);
    Totals { total, conversations, next_cursor: next }
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
    let Ok(user) = request.user() else {
        let message = "the counters are those of a user: send `Roost-User: <user id>` with the service key";
        return Err(Failure::new(ErrorKind::Invalid, "user_required", message));
    };
    run(unread::forget(&Edge, user))?;
    Ok(Reply::done())
}

#[derive(JsonSchema, Serialize)]
struct Counters {
    /// The user's unread counters.
    unread: Sourced<Overview>,
}

#[derive(JsonSchema, Serialize)]
struct Overview {
    #[serde(flatten)]
    totals: Totals,
    /// The user's own read position in each of these conversations.
    reads: BTreeMap<ConversationId, Seq>,
    /// For each of these conversations: the changes up to this sequence number are included in its counter. A
    /// `message.new` above it adds one.
    seqs: BTreeMap<ConversationId, Seq>,
}

/// The counters as the member `unread` of `hello` and of the answer to `sync`.
fn counters(user: UserId) -> Answer {
    let overview = run(unread::overview(&Edge, user))?.map(|unread::Overview { totals, seqs, reads }| {
        let totals = page(totals, None);
        let named = |mut positions: BTreeMap<ConversationId, Seq>| {
            positions.retain(|id, _| totals.conversations.contains_key(id));
            positions
        };
        Overview { reads: named(reads), seqs: named(seqs), totals }
    });
    Reply::ok(&Counters { unread: overview })
}
