//! Writes the reasons why a component is refused to `tests/golden/messages/deploy.txt`.

use std::sync::Arc;

use roost_core::key::Space;
use roost_core::port::Operation;
use roost_core::recipients::Recipients;

use super::allowance::{Allowance, RefusedGrants, UnknownGrant, effective};
use super::grants::Grants;
use super::loader::{CacheError, DeployFailure, check_kind};
use super::manifest::{Access, Hook, Manifest, RawManifest, RawRoute, RawSchedule};
use super::routes::{Described, Table};
use super::state::ImportInDescribe;
use crate::golden::Messages;

fn raw() -> RawManifest {
    RawManifest {
        name: "typing".into(),
        version: "1.0.0".into(),
        routes: vec![route("GET", "/v1/typing/{user}")],
        messages: vec!["typing".into()],
        socket: "{}".into(),
        hooks: Vec::new(),
        schedules: Vec::new(),
        publications: Vec::new(),
        asks: Grants::default(),
    }
}

fn route(method: &str, path: &str) -> RawRoute {
    RawRoute { method: method.into(), path: path.into(), access: Access::User, operation: "{}".into() }
}

fn add_manifest(messages: &mut Messages, situation: &str, change: impl FnOnce(&mut RawManifest)) {
    let mut manifest = raw();
    change(&mut manifest);
    messages.add(situation, DeployFailure::Manifest(manifest.validate().unwrap_err()));
}

fn add_components(messages: &mut Messages) {
    messages.group("Components");
    messages.add("A file that cannot be read", DeployFailure::Unreadable("Permission denied (os error 13)".into()));
    messages.add("A component that is too large", check_kind(&vec![0; (32 << 20) + 1]).unwrap_err());
    messages.add("Another file than WebAssembly", check_kind(b"#!/bin/sh").unwrap_err());
    messages.add("A core module", check_kind(b"\0asm\x01\0\0\0").unwrap_err());
    messages.add("A component without a signature where one is required", DeployFailure::SignatureMissing);
    messages.add("A component that was changed, or that another key has signed", DeployFailure::SignatureInvalid);
    let reason = "unexpected end-of-file (at offset 0x8)".to_owned();
    messages.add("A component that is cut off", DeployFailure::Compile(reason));
    let import = "wasi:sockets/tcp@0.2.0".to_owned();
    messages.add("An import that functions do not have", DeployFailure::ForeignImport { import });
    let found = "roost:edge/key-value@0.2.0".to_owned();
    messages.add("Another version of the contract", DeployFailure::OtherContract { found });
    messages.add("A component without the handler", DeployFailure::NoHandler);
    let reason = "type mismatch for function `read`".to_owned();
    messages.add("A type that differs from the contract", DeployFailure::Link(reason));
    messages.add(
        "`describe` that reads the store",
        DeployFailure::ImportInDescribe(ImportInDescribe("key-value.read").to_string()),
    );
    messages.add("`describe` that does not end", DeployFailure::DescribeTimeout);
    let needs = DeployFailure::NeedsMemory { name: "polls".into(), needed: 40 << 20, allowed: 16 << 20 };
    messages.add("A component that needs more memory than it may have", needs);
    messages.add("`describe` that panics", DeployFailure::DescribeFailed("no manifest today".into()));
}

fn add_manifests(messages: &mut Messages) {
    messages.group("Manifests");
    add_manifest(messages, "A name in capitals", |manifest| manifest.name = "Typing".into());
    add_manifest(messages, "A version that is not semantic", |manifest| manifest.version = "1.0".into());
    add_manifest(messages, "A version that is too long", |manifest| {
        manifest.version = format!("1.0.0-{}", "a".repeat(60));
    });
    add_manifest(messages, "Too many routes", |manifest| {
        manifest.routes = (0..257).map(|number| route("GET", &format!("/v1/{number}"))).collect();
    });
    let mut add_route = |situation: &str, route: RawRoute| {
        add_manifest(messages, situation, |manifest| manifest.routes = vec![route]);
    };
    add_route("A method that routes do not have", route("HEAD", "/v1/typing"));
    add_route("A path without /v1", route("GET", "/typing"));
    add_route("A path that is too long", route("GET", &format!("/v1/{}", "a".repeat(300))));
    add_route("A parameter over several segments", route("GET", "/v1/{*rest}"));
    add_route("A path of the host", route("GET", "/v1/socket"));
    add_route("An operation that is not an object", RawRoute { operation: "[]".into(), ..route("GET", "/v1/typing") });
    let operation = format!(r#"{{"summary": "{}"}}"#, "a".repeat(64 * 1024));
    add_route("An operation that is too long", RawRoute { operation, ..route("GET", "/v1/typing") });
    add_manifest(messages, "A message type in capitals", |manifest| manifest.messages = vec!["Typing".into()]);
    add_manifest(messages, "A message type of the host", |manifest| manifest.messages = vec!["hello".into()]);
    add_manifest(messages, "A message type twice", |manifest| manifest.messages.push("typing".into()));
    add_manifest(messages, "A hook twice", |manifest| manifest.hooks = vec![Hook::Heartbeat, Hook::Heartbeat]);
    let schedule = |name: &str, every_ms| RawSchedule { name: name.into(), every_ms, shards: 1 };
    add_manifest(messages, "A schedule without a name", |manifest| manifest.schedules = vec![schedule("", 100)]);
    let publications = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    add_manifest(messages, "A publication that is no type of an event", |manifest| {
        manifest.publications = publications(&["Message new"]);
    });
    add_manifest(messages, "A publication of the host", |manifest| {
        manifest.publications = publications(&["server.draining"]);
    });
    add_manifest(messages, "A publication twice", |manifest| {
        manifest.publications = publications(&["message.new", "message.new"]);
    });
    add_manifest(messages, "Too many publications", |manifest| {
        manifest.publications = (0..65).map(|number| format!("event.{number}")).collect();
    });
    add_manifest(messages, "The host's own key space", |manifest| {
        manifest.asks.read = manifest.asks.read.with(Space::Host);
    });
    add_manifest(messages, "A schedule that is too frequent", |manifest| {
        manifest.schedules = vec![schedule("sweep", 10)];
    });
}

fn add_socket_descriptions(messages: &mut Messages) {
    let mut add = |situation: &str, socket: &str| {
        add_manifest(messages, situation, |manifest| manifest.socket = socket.to_owned());
    };
    add("A description of frames that is not an object", "[]");
    add("A description of frames with an unknown field", r#"{"frames": {}}"#);
    add("A described message that the function does not answer", r#"{"messages": {"poll.vote": {}}}"#);
    add("A described event that is no type of an event", r#"{"events": {"Poll counted": {}}}"#);
    let events: Vec<String> = (0..257).map(|number| format!(r#""poll.{number}":{{}}"#)).collect();
    add("Too many described events", &format!(r#"{{"events":{{{}}}}}"#, events.join(",")));
    add("A description of frames that is too long", &format!(r#"{{"hello":"{}"}}"#, "a".repeat(64 * 1024)));
}

fn add_grants(messages: &mut Messages) {
    messages.group("Grants");
    let refusal = |asked: Grants, allowed: &str| {
        let refused = effective(asked, Allowance::parse(allowed).unwrap()).refused;
        DeployFailure::GrantsRefused(RefusedGrants { function: "polls".to_owned(), asked, refused })
    };
    let records = Grants { records: [Operation::DeleteMessage].into_iter().collect(), ..Grants::default() };
    messages.add("One grant that is not allowed", refusal(records, ""));
    let app = [Space::App].into_iter().collect();
    let asked = Grants { read: app, write: app, publish: Recipients::Anyone, ..records };
    messages.add("Several grants of which one is allowed", refusal(asked, "read.app"));
    messages.add("A name that no grant has", UnknownGrant("app".to_owned()));
}

fn add_conflicts(messages: &mut Messages) {
    messages.group("Conflicts with other functions");
    let manifest = |change: fn(&mut RawManifest)| -> Arc<Manifest> {
        let mut manifest = RawManifest { name: "status".into(), messages: Vec::new(), ..raw() };
        change(&mut manifest);
        Arc::new(manifest.validate().unwrap())
    };
    let typing = Described { manifest: Arc::new(raw().validate().unwrap()), target: 1 };
    for (situation, newcomer) in [
        ("A route of another function", manifest(|manifest| manifest.routes = vec![route("GET", "/v1/typing/{id}")])),
        ("A path that cannot be matched", manifest(|manifest| manifest.routes = vec![route("GET", "/v1/{a}-{b}")])),
        (
            "A message type of another function",
            manifest(|manifest| {
                manifest.routes.clear();
                manifest.messages = vec!["typing".into()];
            }),
        ),
    ] {
        let functions = [typing.clone(), Described { manifest: newcomer, target: 2 }];
        let conflict = Table::of(functions.iter(), Some("status")).err().unwrap();
        messages.add(situation, DeployFailure::from(conflict));
    }
}

fn add_cache_errors(messages: &mut Messages) {
    messages.group("Why the cache of compiled components is not used");
    let folder = || "/var/lib/roost/compiled".into();
    let key = || "/var/lib/roost/compiled.key".into();
    let error = std::io::Error::new(std::io::ErrorKind::ReadOnlyFilesystem, "Read-only file system");
    messages.add("A folder that cannot be written", CacheError::Unusable { path: folder(), error });
    messages.add("A folder of another user", CacheError::ForeignOwner { path: folder(), owner: 1000 });
    messages.add("A folder that others can write to", CacheError::WritableByOthers { path: folder(), mode: 0o775 });
    messages.add("A key that others can read", CacheError::KeyAccessibleToOthers { path: key(), mode: 0o644 });
    messages.add("A key that was cut off", CacheError::KeyDamaged { path: key() });
}

#[test]
fn every_refusal_of_a_component_is_in_the_golden_file() {
    let mut messages = Messages::new("Why a component is refused");
    add_components(&mut messages);
    add_manifests(&mut messages);
    add_socket_descriptions(&mut messages);
    add_grants(&mut messages);
    add_conflicts(&mut messages);
    add_cache_errors(&mut messages);
    messages.check("deploy");
}
