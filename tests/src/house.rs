//! The built-in functions in this process, on a world of the caller's choice.

use roost::config::Sources;
use roost::runtime::{Engine, Functions, HostWorld, HttpRequest, Options, Request, RouteLookup, Target};

use crate::components;

/// All of them, fresh for each call or reused.
pub async fn functions(engine: Engine, world: HostWorld, reuse: bool) -> Functions {
    let mut config = Sources::default().load().expect("the defaults are valid");
    for function in config.functions.values_mut() {
        function.reuse = reuse;
    }
    let cache = components().with_file_name("compiled-for-tests");
    let options = Options { defaults: config.function_defaults, named: config.functions, cache_dir: Some(cache) };
    let functions = Functions::new(engine, world, options).expect("the contract links");
    functions.load_dir(&components()).await.expect("every function is served");
    assert!(functions.list().iter().all(|function| function.limits.reuse == reuse));
    functions
}

/// Whom this HTTP request goes to, and what they are asked.
pub fn http(
    functions: &Functions,
    (method, path): (&str, &str),
    query: &[(&str, &str)],
    body: String,
) -> (Target, Request) {
    let RouteLookup::Found(found) = functions.route(method, path) else {
        panic!("{method} {path} has no route");
    };
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = HttpRequest { route: found.index, parameters: found.parameters, query, body: body.into() };
    (found.target, Request::Http(request))
}
