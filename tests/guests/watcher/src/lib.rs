//! A function that writes down when it is called: for the ticks of a schedule, and for publications of other functions. A
//! gate lets a test make all calls for publications fail until it opens.
//!
//! `GET /v1/watcher` returns everything; `PUT` and `DELETE /v1/watcher/gate` close and open the gate.

use std::collections::BTreeMap;

use roost_core::error::{Error, ErrorKind};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{Check, Clock, KeyValue, Mutation, Outcome, Query, Text, Transaction, Value};
use roost_function::{
    Access, Answer, Edge, Failure, Grants, Published, Recipients, Reply, Request, Route, Schedule, run,
};
use serde::Serialize;

/// The number of shards of the schedule.
const SHARDS: u32 = 4;
/// How long a tick takes, so that two of them would be seen to overlap.
const TICK_MS: u32 = 60;
/// How long the mark of a tick that was interrupted stays.
const TICK_MARK_MS: u64 = 3_000;
/// The partition of everything that is about no single shard.
const OWNER: Owner = Owner::Shard(100);

roost_function::function! {
    routes: &[
        Route::get("/v1/watcher", Access::Public, watched),
        Route::put("/v1/watcher/gate", Access::Public, close_gate),
        Route::delete("/v1/watcher/gate", Access::Public, open_gate),
    ],
    schedules: &[Schedule { name: "Count every tick", every_ms: 250, shards: SHARDS, handler: tick }],
    publications: &[
        ("message.new", note_call),
        ("message.deleted", note_call),
        ("poll.vote", note_call),
        ("poll.closed", note_call),
        ("user.erased", note_call),
    ],
    grants: Grants { read: &[Space::App], write: &[Space::App], publish: Recipients::Nobody, records: &[] },
}

/// Everything that was written down.
#[derive(Serialize)]
struct WatchedCalls {
    /// The ticks of each shard.
    ticks: BTreeMap<u32, i64>,
    /// Ticks that began while another one of their shard ran.
    overlaps: i64,
    /// The event, its payload, its users and the number of calls, by the id of the publication.
    publications: BTreeMap<String, String>,
}

fn key(owner: Owner, item: &str) -> Key {
    Key::app(owner, item)
}

fn commit(transaction: Transaction) -> Result<Outcome, Failure> {
    let outcomes = run(async { Edge.commit(vec![transaction]).await.map_err(Error::from) })?;
    match outcomes.into_iter().next() {
        Some(Outcome::Failed(error)) => Err(Error::from(error).into()),
        Some(outcome) => Ok(outcome),
        None => Err(Failure::internal("the store answered without an outcome")),
    }
}

fn tick(shard: &u32) -> Answer {
    let owner = Owner::Shard(*shard);
    let running = key(owner, "running");
    let begin = Transaction::new(owner).check(Check::Absent(running.clone())).mutate(Mutation::Set(
        running.clone(),
        Vec::new(),
        Some(TICK_MARK_MS),
    ));
    if let Outcome::Refused(_) = commit(begin)? {
        commit(Transaction::new(owner).mutate(Mutation::Add { key: key(owner, "overlaps"), delta: 1, floor: None }))?;
    }
    run(Edge.wait(TICK_MS));
    let end = Transaction::new(owner).mutate(Mutation::Delete(running)).mutate(Mutation::Add {
        key: key(owner, "ticks"),
        delta: 1,
        floor: None,
    });
    commit(end)?;
    Ok(Reply::done())
}

/// Writes a call down, under the id of its publication.
fn note_call(published: &Published) -> Answer {
    let gate = run(async { Edge.read(vec![Query::Presence(key(OWNER, "gate"))]).await.map_err(Error::from) })?;
    if gate == [Value::Presence(true)] {
        return Err(Failure::new(ErrorKind::Unavailable, "gate_closed", "the gate is closed, try again later"));
    }
    let users = published.users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let payload: BTreeMap<String, serde_json::Value> = published.payload()?;
    let choice = payload.get("choice").or(payload.get("content")).map(ToString::to_string).unwrap_or_default();
    let (calls, seen) = (key(OWNER, "calls"), key(OWNER, "seen"));
    let id = Text::from(published.id.clone());
    let note = Transaction::new(OWNER)
        .mutate(Mutation::AddField(calls, id.clone(), 1))
        .mutate(Mutation::SetFields(seen, vec![(id, format!("{} {choice} to {users}", published.name).into())]));
    commit(note)?;
    Ok(Reply::done())
}

fn watched(_: &Request) -> Answer {
    let counters = (0..SHARDS).flat_map(|shard| ["ticks", "overlaps"].map(|item| key(Owner::Shard(shard), item)));
    let mut queries: Vec<Query> = counters.map(Query::Counter).collect();
    queries.extend(["calls", "seen"].map(|item| Query::Fields(key(OWNER, item))));
    let mut values = run(async { Edge.read(queries).await.map_err(Error::from) })?.into_iter();
    let mut watched = WatchedCalls { ticks: BTreeMap::new(), overlaps: 0, publications: BTreeMap::new() };
    let number = |value: Option<Value>| match value {
        Some(Value::Counter(number)) => number,
        _ => 0,
    };
    for shard in 0..SHARDS {
        watched.ticks.insert(shard, number(values.next()));
        watched.overlaps += number(values.next());
    }
    let mut fields = || match values.next() {
        Some(Value::Fields(fields)) => fields,
        _ => Vec::new(),
    };
    let calls: BTreeMap<String, String> = fields().into_iter().collect();
    for (id, seen) in fields() {
        let times = calls.get(&id).cloned().unwrap_or_default();
        watched.publications.insert(id, format!("{times}x {seen}"));
    }
    Reply::ok(&watched)
}

fn close_gate(_: &Request) -> Answer {
    commit(Transaction::new(OWNER).mutate(Mutation::Set(key(OWNER, "gate"), Vec::new(), None)))?;
    Ok(Reply::done())
}

fn open_gate(_: &Request) -> Answer {
    commit(Transaction::new(OWNER).mutate(Mutation::Delete(key(OWNER, "gate"))))?;
    Ok(Reply::done())
}
