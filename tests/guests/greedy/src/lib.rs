//! A function that uses what it is granted without measure: `GET /v1/greedy/{way}`. Quotas must stop it, and other functions
//! must not notice. It also keeps a note under the same name as the guest `conformance`.
//!
//! The test `quotas` requests each way. An answer says how often something succeeded, and what ended it.
#![cfg(target_family = "wasm")]

use roost_core::ids::{ConversationId, UserId};
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    Clock, DocumentKey, DocumentPut, DocumentScope, Event, KeyValue, MemberChange, Mutation, Operation, Outcome,
    PubSub, Publication, Query, Records, RecordsError, StoreError, Transaction, Value,
};
use roost_core::testing::block_on;
use roost_function::{Access, Answer, Edge, Grants, Level, PathParameter, Recipients, Reply, Request, Route, log};
use serde::Serialize;

const WAY: PathParameter<String> = PathParameter::new("way");
const CONVERSATION: PathParameter<ConversationId> = PathParameter::new("conversation");
const USER: PathParameter<UserId> = PathParameter::new("user");
/// A bound that no way reaches: without quotas, the call would end at its deadline.
const ROUNDS_MAX: u32 = 1_000_000;
/// The owner and the item under which the guest `conformance` keeps its note.
const NOTES: Owner = Owner::Shard(0);
const NOTE: &str = "note";

roost_function::function! {
    routes: &[
        Route::get("/v1/greedy/{way}", Access::Public, answer),
        Route::put("/v1/greedy/members/{conversation}/{user}", Access::User, add_member),
    ],
    grants: Grants {
        read: &[Space::App],
        write: &[Space::App],
        publish: Recipients::Anyone,
        records: &[
            Operation::DocumentNames,
            Operation::PutDocument,
            Operation::DeleteDocument,
            Operation::AddMember,
        ],
    },
}

/// How often something succeeded, and the error that ended it.
#[derive(Serialize)]
struct Spree {
    succeeded: u32,
    error: String,
}

/// Adds a member for its caller as a service would, who may add everybody. The test `additions` requests it.
fn add_member(request: &Request) -> Answer {
    let (conversation, user) = (request.path(CONVERSATION)?, request.path(USER)?);
    let change = MemberChange { conversation, actor: None, user, at: Edge.now() };
    let added = block_on(Edge.add_member(change));
    Reply::ok(&added.map_or_else(|error| format!("{error:?}"), |_| "added".to_owned()))
}

fn answer(request: &Request) -> Answer {
    let way: String = request.path(WAY)?;
    match way.as_str() {
        "ask" => Reply::ok(&spree(|_| block_on(ask()))),
        "read" => Reply::ok(&read_much()),
        "write" => Reply::ok(&spree(|_| commit(vec![set(Key::app(NOTES, "large"), 60_000, None)]))),
        "publish" => Reply::ok(&spree(|_| block_on(publish()))),
        "publish-with" => Reply::ok(&spree(|_| commit(vec![publishing()]))),
        "forge" => Reply::ok(&block_on(forge())),
        "records" => Reply::ok(&spree(|_| block_on(names()))),
        "log" => Reply::ok(&log_much()),
        "fill" => Reply::ok(&spree(|round| commit(vec![set(Key::app(Owner::Shard(round), "fill"), 10_000, None)]))),
        "fill-briefly" => {
            Reply::ok(&spree(|round| commit(vec![set(Key::app(Owner::Shard(round), "brief"), 10_000, Some(5_000))])))
        }
        "hoard" => Reply::ok(&spree(|round| block_on(hoard(round)))),
        "discard" => Reply::ok(&block_on(discard())),
        "clear" => Reply::ok(&clear()),
        "peek" => Reply::ok(&block_on(peek())),
        "keep" => Reply::ok(&block_on(keep())),
        _ => Reply::ok(&"idle"),
    }
}

/// Repeats something until it fails.
fn spree(mut once: impl FnMut(u32) -> Result<(), String>) -> Spree {
    for succeeded in 0..ROUNDS_MAX {
        if let Err(error) = once(succeeded) {
            return Spree { succeeded, error };
        }
    }
    Spree { succeeded: ROUNDS_MAX, error: "nothing stops it".to_owned() }
}

fn text(error: &StoreError) -> String {
    format!("{error:?}")
}

async fn ask() -> Result<(), String> {
    let queries = vec![Query::Presence(Key::app(NOTES, NOTE)); 500];
    Edge.read(queries).await.map(|_| ()).map_err(|error| text(&error))
}

fn set(key: Key, bytes: usize, life_ms: Option<u64>) -> Transaction {
    Transaction::new(key.owner).mutate(Mutation::Set(key, vec![b'x'; bytes], life_ms))
}

fn commit(transactions: Vec<Transaction>) -> Result<(), String> {
    match block_on(Edge.commit(transactions)) {
        Err(StoreError::QuotaExceeded(error)) => Err(error),
        Err(error) => Err(text(&error)),
        Ok(outcomes) => outcomes.into_iter().try_for_each(|outcome| match outcome {
            Outcome::Committed(_) => Ok(()),
            Outcome::Failed(StoreError::QuotaExceeded(error)) => Err(error),
            other => Err(format!("{other:?}")),
        }),
    }
}

fn read_much() -> Spree {
    let key = Key::app(NOTES, "large");
    if let Err(error) = commit(vec![set(key.clone(), 60_000, None)]) {
        return Spree { succeeded: 0, error };
    }
    spree(|_| block_on(Edge.read(vec![Query::Bytes(key.clone())])).map(|_| ()).map_err(|error| text(&error)))
}

fn event() -> Event {
    Event { name: "greedy".into(), payload: "0".into(), durable: false }
}

async fn publish() -> Result<(), String> {
    let publications = (0..100).map(|user| Publication { user: UserId::from_u128(user), event: event() }).collect();
    Edge.publish(publications).await.map_err(|error| text(&error))
}

fn publishing() -> Transaction {
    (0..100).fold(Transaction::new(Owner::User(UserId::from_u128(1))), |transaction, _| transaction.publish(event()))
}

/// Publishes events under names that clients trust, on their own and with a transaction; answers what became of each.
async fn forge() -> Vec<String> {
    let user = UserId::from_u128(1);
    let mut outcomes = Vec::new();
    for name in ["message.new", "typing", "resync", "user.online"] {
        let event = Event { name: name.into(), ..event() };
        let alone = Edge.publish(vec![Publication { user, event: event.clone() }]).await;
        outcomes.push(alone.map_err(|error| text(&error)).err().unwrap_or_default());
        outcomes
            .push(commit(vec![Transaction::new(Owner::User(user)).publish(event.clone())]).err().unwrap_or_default());
        outcomes.push(commit(vec![Transaction::new(NOTES).address(vec![user], event)]).err().unwrap_or_default());
    }
    outcomes
}

async fn names() -> Result<(), String> {
    Edge.document_names(DocumentScope::new(NOTES)).await.map(|_| ()).map_err(|error| format!("{error:?}"))
}

/// The documents, each of another owner.
fn hoarded(number: u32) -> DocumentKey {
    DocumentKey::new(Owner::Shard(number), "hoarded")
}

async fn hoard(number: u32) -> Result<(), String> {
    let json = format!("\"{}\"", "x".repeat(10_000));
    match Edge.put_document(DocumentPut::new(hoarded(number), json, None)).await {
        Ok(_) => Ok(()),
        Err(RecordsError::QuotaExceeded(error)) => Err(error),
        Err(error) => Err(format!("{error:?}")),
    }
}

/// Deletes ten documents; answers how many of these deletions succeeded.
async fn discard() -> usize {
    let mut discarded = 0;
    for number in 0..10 {
        discarded += usize::from(Edge.delete_document(hoarded(number), 1).await.is_ok());
    }
    discarded
}

fn log_much() -> u32 {
    let line = "y".repeat(1_000);
    (0..200).for_each(|_| log(Level::Info, &line, &[]));
    200
}

fn clear() -> Result<(), String> {
    let owners = (0..1_000).map(Owner::Shard);
    let deletions = owners.map(|owner| Transaction::new(owner).mutate(Mutation::Delete(Key::app(owner, "fill"))));
    commit(deletions.collect())
}

/// What another function might put in front of a name, to try to reach the note of `conformance`.
const PREFIXES: [&str; 7] =
    ["", "conformance:", "conformance:shard:0:", "../conformance/", "%3A", "app:conformance:shard:0:", "*"];

/// How many items of another function are found.
async fn peek() -> usize {
    let queries = PREFIXES.map(|prefix| Query::Presence(Key::app(NOTES, format!("{prefix}{NOTE}"))));
    let found = Edge.read(queries.to_vec()).await.unwrap_or_default();
    found.into_iter().filter(|value| *value != Value::Presence(false)).count()
}

/// Keeps a note of its own under the name of the other, and answers how it reads.
async fn keep() -> Option<String> {
    let key = Key::app(NOTES, NOTE);
    let set = Mutation::Set(key.clone(), b"mine".to_vec(), None);
    Edge.commit(vec![Transaction::new(NOTES).mutate(set)]).await.ok()?;
    match Edge.read(vec![Query::Bytes(key)]).await.ok()?.pop() {
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}
