//! Runs the conformance suite of the store from within a function: `GET /v1/conformance/<case>/<fresh>` runs one case on the
//! imports. A case that fails traps, and the host logs what was expected.
//!
//! Functions have no access to live events and feeds; cases that need them must not be requested.
#![cfg(target_family = "wasm")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roost_core::each_store_case;
use roost_core::feed::Position;
use roost_core::ids::UserId;
use roost_core::key::Space;
use roost_core::port::{
    Bus, Feeds, KeyValue, Outcome, PubSub, Publication, Query, Replay, StoreError, Subscriber, Transaction, Value,
};
use roost_core::testing::block_on;
use roost_core::testing::conformance::key_value as suite;
use roost_function::{Access, Answer, Edge, Grants, PathParameter, Reply, Request, Route};

const CASE: PathParameter<String> = PathParameter::new("case");
const FRESH: PathParameter<u64> = PathParameter::new("fresh");

roost_function::function! {
    routes: &[Route::get("/v1/conformance/{case}/{fresh}", Access::Public, run_case)],
    grants: Grants { read: &Space::ALL, write: &Space::ALL, publish: true, ..Grants::NONE },
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
    async fn positions(&self, _: &[UserId]) -> Result<Vec<Position>, StoreError> {
        not_available()
    }

    async fn replay(&self, _: UserId, _: &Position) -> Result<Replay, StoreError> {
        not_available()
    }
}
