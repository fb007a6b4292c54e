//! Loads the built-in functions into the test's own process, on a store and records that the caller chooses.

use roost::config::{Config, GrantsConfig, Sources};
use roost::runtime::{Cohort, Engine, Functions, HostWorld, HttpRequest, Options, Request, RouteLookup, Target};

use crate::components;

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
