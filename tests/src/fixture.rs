//! Functions in the test's own process: the built-in ones, the guest that runs the cases of the conformance suites, or
//! none yet.

use std::time::Duration;

use roost::config::{Config, GrantsConfig, RecordsUrl, Sources, SqliteLocation};
use roost::records::RecordStore;
use roost::runtime::{
    Caller, Cohort, Engine, Functions, HostWorld, HttpRequest, Invocation, Options, Request, RouteLookup, Target,
};
use roost::store::Store;

use crate::{components, guests};

/// Loads all built-in functions. `reuse` decides whether their instances are reused or fresh for each call.
pub async fn functions(engine: Engine, world: HostWorld, reuse: bool) -> Functions {
    let mut config = Sources::default().load().expect("the defaults are valid");
    for function in config.functions.values_mut() {
        function.reuse = reuse;
    }
    let cache = components().with_file_name("compiled-for-tests");
    let options = Options { cache_dir: Some(cache), ..Options::of_config(&config) };
    let functions = Functions::new(engine, world, options).expect("the contract links");
    functions.load_dir(&components()).await.expect("every function is served");
    assert!(functions.list().iter().all(|function| function.limits.reuse == reuse));
    functions
}

/// No function yet, on a store in memory and empty records.
pub async fn no_functions(change: impl FnOnce(&mut Options)) -> Functions {
    let mut options = Options::of_config(&Sources::default().load().expect("the defaults are valid"));
    change(&mut options);
    let world = HostWorld::new(Store::memory(), empty_records().await);
    Functions::new(Engine::new().expect("an engine"), world, options).expect("the contract links")
}

/// Records without any content.
pub async fn empty_records() -> RecordStore {
    RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.expect("a database in memory")
}

/// The guest whose routes run the cases of the conformance suites.
pub async fn conformance_guest(engine: Engine, world: HostWorld) -> Functions {
    let mut config = Sources::default().load().expect("the defaults are valid");
    config.function_defaults.memory_bytes_max = 64 << 20;
    config.function_defaults.deadline = Duration::from_secs(60);
    allow_everything(&mut config, "conformance");
    let cache = guests().with_file_name("compiled-for-tests");
    let options = Options { cache_dir: Some(cache), ..Options::of_config(&config) };
    let functions = Functions::new(engine, world, options).expect("the contract links");
    functions.deploy_file(&guests().join("conformance.wasm")).await.expect("the guest is served");
    functions
}

/// What the conformance guest says of the case at this path.
pub async fn case_in_guest(functions: &Functions, path: &str) -> String {
    let (target, request) = http(functions, ("GET", path), &[], String::new());
    let invocation = Invocation { caller: Caller::Anonymous, trace: path.into(), request };
    match functions.call(&target, invocation).await {
        Ok(reply) => reply.body,
        Err(error) => error.to_string(),
    }
}

/// The function that serves this HTTP request, and the request as the function receives it.
pub fn http(
    functions: &Functions,
    (method, path): (&str, &str),
    query: &[(&str, &str)],
    body: String,
) -> (Target, Request) {
    let RouteLookup::Found(found) = functions.route(method, path, Cohort::STABLE) else {
        panic!("{method} {path} has no route");
    };
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = HttpRequest { route: found.index, parameters: found.parameters, query, body: body.into() };
    (found.target, Request::Http(request))
}

/// Allows a function that does not come with Roost everything that it asks for.
pub fn allow_everything(config: &mut Config, function: &str) {
    let mut settings = config.function(function).clone();
    settings.grants = Some(GrantsConfig { all: true, ..GrantsConfig::default() });
    config.functions.insert(function.to_owned(), settings);
}
