//! Targets for functions: the bytes of a component, and JSON bodies of requests to the built-in functions.

use std::sync::OnceLock;

use roost::config::{RecordsUrl, Sources, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{CallError, Caller, Engine, Functions, HostWorld, Invocation, Options};
use roost::store::Store;
use roost_core::ids::UserId;

use super::{runtime, text};
use crate::fixture;

async fn world() -> HostWorld {
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.expect("records open");
    HostWorld::new(Store::memory(), records)
}

/// The bytes of a component. Random bytes are never a complete function, so every deployment must be refused.
pub(super) fn component(input: &[u8]) {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(|| {
        let config = Sources::default().load().expect("the defaults are valid");
        let options = Options::of_config(&config);
        let engine = Engine::new().expect("an engine");
        Functions::new(engine, runtime().block_on(world()), options).expect("the contract links")
    });
    let refused = runtime().block_on(functions.deploy("fuzz.wasm", input.to_vec())).err();
    assert!(refused.is_some_and(|error| !error.to_string().is_empty()), "the bytes were deployed");
}

/// Routes of the built-in functions that take a JSON body.
const ROUTES: [(&str, &str); 6] = [
    ("POST", "/v1/presence"),
    ("POST", "/v1/presence/query"),
    ("POST", "/v1/conversations"),
    ("POST", "/v1/conversations/00000000-0000-4000-8000-000000000001/messages"),
    ("PATCH", "/v1/conversations/00000000-0000-4000-8000-000000000001/messages/00000000-0000-4000-8000-000000000002"),
    ("POST", "/v1/conversations/00000000-0000-4000-8000-000000000001/read"),
];

/// A JSON body for a built-in function: a byte that chooses the route, then the body. The function may refuse the body,
/// but it must answer.
pub(super) fn function_body(input: &[u8]) {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(|| {
        runtime().block_on(async { fixture::functions(Engine::new().expect("an engine"), world().await, true).await })
    });
    let Some((route, body)) = input.split_first() else { return };
    let route = ROUTES[usize::from(*route) % ROUTES.len()];
    let (target, request) = fixture::http(functions, route, &[], text(body));
    let invocation = Invocation { caller: Caller::User(UserId::from_u128(1)), trace: "fuzz".into(), request };
    match runtime().block_on(functions.call(&target, invocation)) {
        Ok(reply) => assert!((200..300).contains(&reply.status), "{reply:?}"),
        Err(CallError::Failed(failure)) => assert!(!failure.message.is_empty(), "{failure:?}"),
        Err(error) => panic!("{route:?} did not answer: {error}"),
    }
}
