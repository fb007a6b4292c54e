//! A function that counts votes in the partition of a conversation and tells named users, in one transaction. It also asks
//! to be called for its own events, which must never happen.
//!
//! `POST /v1/polls/{conversation}` votes, `GET` returns the votes and how often the function was called for them;
//! `POST /v1/polls` publishes `poll.closed` without a change.

use roost_core::error::Error;
use roost_core::ids::{ConversationId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Event, KeyValue, Mutation, Outcome, PubSub, Publication, Query, Transaction, Value};
use roost_function::{Access, Answer, Edge, Grants, PathParameter, Published, Recipients, Reply, Request, Route, run};
use serde::{Deserialize, Serialize};

const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("conversation");

roost_function::function! {
    routes: &[
        Route::post("/v1/polls/{conversation}", Access::Public, vote),
        Route::get("/v1/polls/{conversation}", Access::Public, votes),
        Route::post("/v1/polls", Access::Public, close),
    ],
    publications: &[("poll.vote", count_own_call)],
    grants: Grants { read: &[Space::App], write: &[Space::App], publish: Recipients::Anyone, records: &[] },
}

/// A vote, the users who are told, and whether it is only valid as the first one.
#[derive(Deserialize)]
struct Ballot {
    choice: String,
    users: Vec<UserId>,
    #[serde(default)]
    is_first: bool,
}

/// The answer to a vote.
#[derive(Serialize)]
struct Counted {
    votes: Option<i64>,
}

/// The votes, and how often the function was called for its own events.
#[derive(Serialize)]
struct PollState {
    votes: Option<i64>,
    own_calls: Option<i64>,
}

fn key(owner: Owner, item: &str) -> Key {
    Key::app(owner, item)
}

fn own_calls() -> Key {
    key(Owner::Shard(0), "polls.own_calls")
}

fn event(name: &'static str, choice: &str) -> Event {
    Event { name: name.into(), payload: format!("{{\"choice\":\"{choice}\"}}").into(), durable: true }
}

/// Votes. A refused vote is answered with `null`.
fn vote(request: &Request) -> Answer {
    let conversation = Owner::Conversation(request.path(CONVERSATION)?);
    let ballot: Ballot = request.body()?;
    let votes = key(conversation, "votes");
    let mut transaction = Transaction::new(conversation)
        .mutate(Mutation::Add { key: votes.clone(), delta: 1, floor: None })
        .address(ballot.users, event("poll.vote", &ballot.choice));
    if ballot.is_first {
        transaction = transaction.check(Check::Absent(votes));
    }
    let outcome = run(async { Edge.commit(vec![transaction]).await.map_err(Error::from) })?;
    match outcome.into_iter().next() {
        Some(Outcome::Committed(sums)) => Reply::ok(&Counted { votes: sums.first().copied() }),
        Some(Outcome::Failed(error)) => Err(Error::from(error).into()),
        Some(Outcome::Refused(_)) | None => Reply::ok(&Counted { votes: None }),
    }
}

fn votes(request: &Request) -> Answer {
    let conversation = Owner::Conversation(request.path(CONVERSATION)?);
    let queries = vec![Query::Counter(key(conversation, "votes")), Query::Counter(own_calls())];
    let values = run(async { Edge.read(queries).await.map_err(Error::from) })?;
    let mut counters = values.into_iter().map(|value| match value {
        Value::Counter(number) => Some(number),
        _ => None,
    });
    Reply::ok(&PollState { votes: counters.next().flatten(), own_calls: counters.next().flatten() })
}

fn close(request: &Request) -> Answer {
    let ballot: Ballot = request.body()?;
    let publication = |user| Publication { user, event: event("poll.closed", &ballot.choice) };
    let publications = ballot.users.iter().copied().map(publication).collect();
    run(async { Edge.publish(publications).await.map_err(Error::from) })?;
    Ok(Reply::done())
}

fn count_own_call(_: &Published) -> Answer {
    let add = Mutation::Add { key: own_calls(), delta: 1, floor: None };
    run(async { Edge.commit(vec![Transaction::new(own_calls().owner).mutate(add)]).await.map_err(Error::from) })?;
    Ok(Reply::done())
}
