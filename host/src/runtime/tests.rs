//! Deployments that must be refused, and what remains after a refusal. The components are made byte by byte.

use std::time::Duration;

use super::*;
use crate::config::{FunctionConfig, RecordsUrl, SigningKeys, SqliteLocation};
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
        calls_per_second_max: 1_000,
        store_operations_max: 1_000,
        store_read_bytes_max: 1 << 20,
        store_written_bytes_max: 1 << 20,
        records_operations_max: 1_000,
        publications_max: 1_000,
        log_bytes_max: 1 << 16,
        recorded_calls_per_second_max: 10,
        app_bytes_max: 1 << 20,
        documents_bytes_max: 1 << 20,
        reuse: false,
        reuse_calls_max: 1,
        reuse_age: Duration::from_secs(1),
        grants: None,
    }
}

async fn functions(cache: Option<&std::path::Path>) -> Functions {
    functions_with(options(cache)).await
}

async fn functions_with(options: Options) -> Functions {
    let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
    let world = HostWorld::new(Store::memory(), records);
    Functions::new(Engine::new().unwrap(), world, options).unwrap()
}

fn options(cache: Option<&std::path::Path>) -> Options {
    Options {
        defaults: config(),
        named: Default::default(),
        cache_dir: cache.map(std::path::Path::to_owned),
        signing_keys: SigningKeys::default(),
        own_sources: None,
    }
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

/// Deploys a component that is refused because it has no handler, but only after it was compiled and cached.
async fn compile(functions: &Functions) {
    let refused = functions.deploy("probe.wasm", HEADER.to_vec()).await.unwrap_err();
    assert_eq!(refused.failure, DeployFailure::NoHandler);
}

fn only_entry(cache: &std::path::Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries.next().expect("nothing was cached");
    assert_eq!(entries.next(), None);
    entry
}

#[tokio::test]
async fn a_damaged_cache_entry_is_compiled_again() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("compiled");
    let functions = functions(Some(&cache)).await;
    compile(&functions).await;
    let intact = std::fs::read(only_entry(&cache)).unwrap();
    let tampered = |index: usize| {
        let mut entry = intact.clone();
        entry[index] ^= 1;
        entry
    };
    let wrong = [
        intact[..intact.len() - 1].to_vec(),
        Vec::new(),
        [intact.as_slice(), b"x"].concat(),
        tampered(0),
        tampered(8),
        tampered(40),
        tampered(intact.len() - 1),
    ];
    for damaged in wrong {
        std::fs::write(only_entry(&cache), damaged).unwrap();
        compile(&functions).await;
        assert_eq!(std::fs::read(only_entry(&cache)).unwrap(), intact, "the entry was not replaced");
    }
}

#[tokio::test]
async fn a_cache_entry_of_another_host_is_compiled_again() {
    let parent = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| parent.path().join(name));
    compile(&functions(Some(&one)).await).await;
    let functions = functions(Some(&other)).await;
    compile(&functions).await;
    let (foreign, own) = (std::fs::read(only_entry(&one)).unwrap(), std::fs::read(only_entry(&other)).unwrap());
    assert!(foreign != own && foreign[40..] == own[40..], "both entries differ in the tag alone");
    std::fs::write(only_entry(&other), &foreign).unwrap();
    compile(&functions).await;
    assert_eq!(std::fs::read(only_entry(&other)).unwrap(), own, "the entry of the other host was not replaced");
}

#[tokio::test]
async fn a_cache_entry_under_the_name_of_another_component_is_compiled_again() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("compiled");
    let functions = functions(Some(&cache)).await;
    compile(&functions).await;
    let first = only_entry(&cache);
    let moved = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let another = component("roost:edge/types@0.1.0", None);
    functions.deploy("another.wasm", another.clone()).await.unwrap_err();
    let second = only_entry(&cache);
    let own = std::fs::read(&second).unwrap();
    std::fs::write(&second, &moved).unwrap();
    functions.deploy("another.wasm", another).await.unwrap_err();
    assert!(own != moved && std::fs::read(&second).unwrap() == own, "the moved entry was not replaced");
}

#[tokio::test]
async fn a_cache_that_other_users_can_write_to_is_neither_read_nor_written() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("compiled");
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o770)).unwrap();
    compile(&functions(Some(&cache)).await).await;
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "a key was created");
}

#[tokio::test]
async fn with_signing_keys_only_signed_components_are_compiled() {
    let parent = tempfile::tempdir().unwrap();
    let cache = parent.path().join("compiled");
    let [(secret, public), (stranger, _)] = [signature::generate_keys(), signature::generate_keys()];
    let mut signing_keys = SigningKeys::default();
    assert!(signing_keys.add(public.as_bytes()));
    let functions = functions_with(Options { signing_keys, ..options(Some(&cache)) }).await;
    let sign = |secret: &str| {
        let key = signature::parse_secret_key(secret.as_bytes()).unwrap();
        signature::sign(HEADER, &key).unwrap()
    };
    for (bytes, failure) in [
        (HEADER.to_vec(), DeployFailure::SignatureMissing),
        (sign(&stranger), DeployFailure::SignatureInvalid),
        ([sign(&secret), section(0, b"\x05stamp")].concat(), DeployFailure::SignatureInvalid),
    ] {
        let refused = functions.deploy("probe.wasm", bytes).await.unwrap_err();
        assert_eq!(refused.failure, failure);
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0, "it was compiled");
    }
    let signed = functions.deploy("probe.wasm", sign(&secret)).await.unwrap_err();
    assert_eq!(signed.failure, DeployFailure::NoHandler, "the signature was accepted");
    only_entry(&cache);
}

#[tokio::test]
async fn a_registry_without_functions_finds_nothing() {
    let functions = functions(None).await;
    assert_eq!(functions.route("GET", "/v1/presence", Cohort::STABLE), RouteLookup::NotFound);
    assert_eq!(functions.message("typing", Cohort::STABLE), None);
    assert!(!functions.remove("typing").await);
    assert_eq!(*functions.changes().borrow(), 0);
}
