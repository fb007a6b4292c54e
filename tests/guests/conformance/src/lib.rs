//! Runs the conformance suites from within a function: `GET /v1/conformance/<case>/<fresh>` runs one case of the store on
//! the imports, `GET /v1/documents/<case>` one of the documents in the records. A case that fails traps, and the host
//! logs what was expected.
//!
//! Functions have no access to live events and feeds, and cannot choose whose documents they use; cases that need that
//! must not be requested.
//!
//! `GET /v1/plain/<case>` runs one case of the plain forms of queries.
//!
//! `/v1/notes` keeps a note in the live state and in a document, so that a test can compare what becomes of both.
#![cfg(target_family = "wasm")]

mod plain;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roost_core::error::Error;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::{Key, Owner, Space};
use roost_core::port::{
    Bus, DocumentKey, Feeds, KeyValue, Mutation, Operation, Outcome, PubSub, Publication, Query, Replay, StoreError,
    Subscriber, Transaction, Value,
};
use roost_core::testing::block_on;
use roost_core::testing::conformance::key_value as suite;
use roost_core::testing::conformance::records::{Subject, documents as documents_suite};
use roost_core::{documents, each_records_case, each_store_case};
use roost_function::{Access, Answer, Edge, Grants, PathParameter, Recipients, Reply, Request, Route, run};
use serde::{Deserialize, Serialize};

const CASE: PathParameter<String> = PathParameter::new("case");
const FRESH: PathParameter<u64> = PathParameter::new("fresh");

roost_function::function! {
    routes: &[
        Route::get("/v1/conformance/{case}/{fresh}", Access::Public, run_case),
        Route::get("/v1/documents/{case}", Access::Public, run_documents_case),
        Route::get("/v1/plain/{case}", Access::Public, plain::run_case),
        Route::post("/v1/notes", Access::Public, keep_note),
        Route::get("/v1/notes", Access::Public, kept_notes),
    ],
    grants: Grants {
        read: &Space::ALL,
        write: &Space::ALL,
        publish: Recipients::Anyone,
        records: &[
            Operation::ReadDocuments,
            Operation::PutDocument,
            Operation::DeleteDocument,
            Operation::DocumentNames,
        ],
    },
}

/// The imports as a store, and owners that no other case uses.
struct Guest {
    store: Imports,
    first: u64,
    used: AtomicU64,
}

struct Imports;

macro_rules! cases {
    ([$name:ident $guest:ident] $($group:ident::$case:ident)*) => {
        match $name.as_str() {
            $(stringify!($case) => block_on(suite::$group::$case(&$guest)),)*
            _ => return Reply::ok(&"no such case"),
        }
    };
}

fn run_case(request: &Request) -> Answer {
    let name: String = request.path(CASE)?;
    let guest = Guest { store: Imports, first: request.path(FRESH)?, used: AtomicU64::new(0) };
    each_store_case!(cases, name, guest);
    Reply::ok(&"it holds")
}

impl suite::Harness for Guest {
    type Store = Imports;

    fn store(&self) -> &Imports {
        &self.store
    }

    fn fresh(&self) -> u128 {
        u128::from(self.first) << 64 | u128::from(self.used.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A function cannot wait for time to pass; cases that need it are not requested.
    async fn advance(&self, _: u64) {}

    fn advance_max_ms(&self) -> u64 {
        0
    }

    async fn wait_for_deliveries(&self) {}
}

impl KeyValue for Imports {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        Edge.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        Edge.commit(transactions).await
    }
}

impl PubSub for Imports {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        Edge.publish(publications).await
    }
}

fn not_available<T>() -> Result<T, StoreError> {
    Err(StoreError::Denied("live events and feeds are not available to functions".into()))
}

impl Bus for Imports {
    async fn join(&self, _: UserId, _: Arc<dyn Subscriber>) -> Result<(), StoreError> {
        not_available()
    }

    async fn leave(&self, _: UserId) {}
}

impl Feeds for Imports {
    async fn follow(&self, _: &[UserId]) -> Result<Vec<Position>, StoreError> {
        not_available()
    }

    async fn positions(&self, _: &[UserId]) -> Result<Vec<Position>, StoreError> {
        not_available()
    }

    async fn replay(&self, _: UserId, _: &Position) -> Result<Replay, StoreError> {
        not_available()
    }
}

fn run_documents_case(request: &Request) -> Answer {
    let name: String = request.path(CASE)?;
    let subject = Subject::new(Edge, |_| Box::pin(async {}));
    macro_rules! run_if_named {
        (documents $case:ident) => {
            if name == stringify!($case) {
                block_on(documents_suite::$case(&subject));
                return Reply::ok(&"it holds");
            }
        };
        ($other:ident $case:ident) => {};
    }
    macro_rules! run_named {
        ($($module:ident::$case:ident),* $(,)?) => { $(run_if_named!($module $case);)* };
    }
    each_records_case!(run_named);
    Reply::ok(&"no such case")
}

/// The texts of a note.
#[derive(Deserialize, Serialize)]
struct Note {
    text: String,
}

/// The note as each place has it.
#[derive(Serialize)]
struct KeptNotes {
    app: Option<String>,
    document: Option<Note>,
    version: Option<u64>,
}

/// The owner and the name of the note: nobody's in particular.
const NOTES: Owner = Owner::Shard(0);
const NOTE: &str = "note";

fn note_key() -> Key {
    Key::app(NOTES, NOTE)
}

fn keep_note(request: &Request) -> Answer {
    let note: Note = request.body()?;
    run(async {
        let set = Mutation::Set(note_key(), note.text.clone().into_bytes(), None);
        Edge.commit(vec![Transaction::new(NOTES).mutate(set)]).await?;
        let json = |_: Option<&str>| serde_json::to_string(&note).map_err(|error| Error::Invalid(error.to_string()));
        documents::update(&Edge, DocumentKey::new(NOTES, NOTE), json).await
    })?;
    kept_notes(request)
}

fn kept_notes(_: &Request) -> Answer {
    let kept = run(async {
        let app = match Edge.read(vec![Query::Bytes(note_key())]).await?.pop() {
            Some(Value::Bytes(bytes)) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        let document = documents::read(&Edge, DocumentKey::new(NOTES, NOTE)).await?;
        let version = document.as_ref().map(|document| document.version);
        let document = document.and_then(|document| serde_json::from_str(&document.json).ok());
        Ok::<_, Error>(KeptNotes { app, document, version })
    })?;
    Reply::ok(&kept)
}
