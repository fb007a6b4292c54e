//! Deployments that must be refused, and what remains after a refusal. The components are made byte by byte.

use std::time::Duration;

use super::*;
use crate::config::{FunctionConfig, RecordsUrl, SqliteLocation};
use crate::records::RecordStore;
use crate::store::Store;

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut section = vec![id, u8::try_from(content.len()).unwrap()];
    section.extend_from_slice(content);
    section
}

fn name(text: &str) -> Vec<u8> {
    let mut name = vec![0, u8::try_from(text.len()).unwrap()];
    name.extend_from_slice(text.as_bytes());
    name
}

/// A component that imports an empty instance, and exports it again.
fn component(import: &str, export: Option<&str>) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    bytes.extend(section(7, &[1, 0x42, 0]));
    bytes.extend(section(10, &[&[1], &name(import)[..], &[5, 0]].concat()));
    if let Some(export) = export {
        bytes.extend(section(11, &[&[1], &name(export)[..], &[5, 0, 0]].concat()));
    }
    bytes
}

fn config() -> FunctionConfig {
    FunctionConfig {
        memory_bytes_max: 1 << 20,
        deadline: Duration::from_millis(100),
        concurrency_max: 1,
        queue_max: 0,
        reply_bytes_max: 1024,
        reuse: false,
        reuse_calls_max: 1,
        reuse_age: Duration::from_secs(1),
        grants: None,
    }
}

async fn functions(cache: Option<&std::path::Path>) -> Functions {
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
    let world = HostWorld { store: Store::memory(), records };
    let options =
        Options { defaults: config(), named: Default::default(), cache_dir: cache.map(std::path::Path::to_owned) };
    Functions::new(Engine::new().unwrap(), world, options).unwrap()
}

async fn refuse(bytes: Vec<u8>) -> DeployFailure {
    let functions = functions(None).await;
    let error = functions.deploy("probe.wasm", bytes).await.unwrap_err();
    assert!(error.to_string().starts_with("probe.wasm: it "), "{error}");
    assert!(functions.list().is_empty());
    error.failure
}

#[tokio::test]
async fn a_core_module_is_refused_with_a_hint_how_to_build_it() {
    let failure = refuse(b"\0asm\x01\0\0\0".to_vec()).await;
    assert_eq!(failure.to_string(), "it is a core module, not a component: build it with `roost build`");
}

#[tokio::test]
async fn bytes_that_do_not_validate_are_refused() {
    let failure = refuse([HEADER, &[99, 1, 0]].concat()).await;
    assert!(matches!(failure, DeployFailure::Compile(_)), "{failure}");
}

#[tokio::test]
async fn an_import_outside_the_contract_is_refused_and_named() {
    let failure = refuse(component("acme:outside/sockets@1.0.0", None)).await;
    let expected = "it imports acme:outside/sockets@1.0.0, but a function may import only roost:edge/{clock,key-value,";
    assert!(failure.to_string().starts_with(expected), "{failure}");
}

#[tokio::test]
async fn another_version_of_the_contract_is_refused_and_both_are_named() {
    let expected = "it was built for roost:edge@9.0.0, but this host supports roost:edge@0.1.0; build it with the sdk \
                    of this version";
    let failure = refuse(component("roost:edge/types@9.0.0", None)).await;
    assert_eq!(failure.to_string(), expected);
    let failure = refuse(component("roost:edge/types@0.1.0", Some("roost:edge/handler@9.0.0"))).await;
    assert_eq!(failure.to_string(), expected);
}

#[tokio::test]
async fn a_component_without_a_handler_is_refused() {
    assert_eq!(refuse(HEADER.to_vec()).await, DeployFailure::NoHandler);
    assert_eq!(refuse(component("roost:edge/types@0.1.0", None)).await, DeployFailure::NoHandler);
}

#[tokio::test]
async fn a_handler_with_other_types_is_refused() {
    let failure = refuse(component("roost:edge/types@0.1.0", Some("roost:edge/handler@0.1.0"))).await;
    assert!(matches!(failure, DeployFailure::Link(_)), "{failure}");
}

#[tokio::test]
async fn every_component_that_is_refused_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.wasm"), HEADER).unwrap();
    std::fs::write(folder.path().join("a.wasm"), b"text").unwrap();
    std::fs::write(folder.path().join("readme.txt"), b"text").unwrap();
    let errors = functions(None).await.load_dir(folder.path()).await.unwrap_err();
    let errors: Vec<_> = errors.into_iter().map(|error| (error.source_name, error.failure)).collect();
    assert_eq!(errors, [("a.wasm".into(), DeployFailure::NotWasm), ("b.wasm".into(), DeployFailure::NoHandler)]);
    let missing = functions(None).await.load_dir(&folder.path().join("missing")).await.unwrap_err();
    assert!(matches!(missing[0].failure, DeployFailure::Unreadable(_)));
}

#[tokio::test]
async fn a_damaged_cache_entry_is_compiled_again() {
    let cache = tempfile::tempdir().unwrap();
    let functions = functions(Some(cache.path())).await;
    let entry = || std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    // It is refused because it has no handler, but only after it was compiled and cached.
    assert_eq!(functions.deploy("probe.wasm", HEADER.to_vec()).await.unwrap_err().failure, DeployFailure::NoHandler);
    let intact = std::fs::read(entry()).unwrap();
    for damaged in [&intact[..intact.len() - 1], b"", &[intact.as_slice(), b"x"].concat()] {
        std::fs::write(entry(), damaged).unwrap();
        assert_eq!(
            functions.deploy("probe.wasm", HEADER.to_vec()).await.unwrap_err().failure,
            DeployFailure::NoHandler
        );
        assert_eq!(std::fs::read(entry()).unwrap(), intact, "the entry was not replaced");
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_registry_without_functions_finds_nothing() {
    let functions = functions(None).await;
    assert_eq!(functions.route("GET", "/v1/presence"), RouteLookup::NotFound);
    assert_eq!(functions.message("typing"), None);
    assert!(!functions.remove("typing").await);
    assert_eq!(*functions.changes().borrow(), 0);
}
