//! The manifest of a function, and the rules that it must keep.
//!
//! Conflicts between functions are found in `routes`, not here.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use roost_core::key::Space;
use roost_core::limits::{EVENT_NAME_BYTES_MAX, FUNCTION_NAME_BYTES_MAX};
use semver::Version;
use serde::Serialize;

use super::grants::Grants;
use super::host_paths;
use super::socket_description::SocketDescription;

/// How many entries of one kind a manifest may have.
pub(super) const ENTRIES_MAX: usize = 256;
/// For how many types of publications a function may be called.
const PUBLICATIONS_MAX: usize = 64;
/// The largest OpenAPI operation object, in bytes.
const OPERATION_BYTES_MAX: usize = 64 * 1024;
/// The longest path of a route, in bytes.
const PATH_BYTES_MAX: usize = 256;
/// The shortest interval of a schedule.
const EVERY_MS_MIN: u32 = 100;
/// How many shards a schedule may have.
const SHARDS_MAX: u32 = 64;
/// The longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;
/// Frame types that the host itself answers or sends; no function may declare them.
const HOST_MESSAGES: [&str; 7] = ["hello", "ok", "error", "sync", "resync", "server.draining", "token"];

/// The methods a route may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are those of HTTP")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// All methods that a route may have.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The method as it is written in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method with this name; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// A user's token, or a service key that names a user.
    User,
    /// As `User`, or a service key without a user.
    ServiceOrUser,
    /// A service key, with or without a user.
    Service,
    /// Everybody, without credentials.
    Public,
}

/// One HTTP route of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path template, such as `/v1/presence/{user}`.
    pub path: String,
    /// Who may call it.
    pub access: Access,
    /// An OpenAPI operation object.
    pub operation: serde_json::Value,
}

/// An event in the life of a connection that a function can take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A connection was opened.
    Connected,
    /// Connections showed activity since the last heartbeat.
    #[serde(rename = "beat")]
    Heartbeat,
    /// A connection was closed.
    Disconnected,
    /// A client asks for the current state.
    Sync,
}

impl Hook {
    /// The name that operators see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Heartbeat => "beat",
            Self::Disconnected => "disconnected",
            Self::Sync => "sync",
        }
    }
}

/// A tick at a fixed interval, for each shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// The name, which is unique within the function.
    pub name: String,
    /// The interval between two ticks of a shard.
    #[serde(rename = "every_ms", serialize_with = "as_millis")]
    pub every: Duration,
    /// How many shards the work is divided into.
    pub shards: u32,
}

fn as_millis<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// A manifest that keeps every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the function, which is unique within a host.
    pub name: String,
    /// The semantic version.
    pub version: String,
    /// The HTTP routes.
    pub routes: Vec<Route>,
    /// The socket frame types that the function answers.
    pub messages: Vec<String>,
    /// The description of its frames and events.
    pub socket: SocketDescription,
    /// The life-cycle hooks.
    pub hooks: Vec<Hook>,
    /// The ticks that the function asks for.
    pub schedules: Vec<Schedule>,
    /// The types of durable events for whose publication the function is called.
    pub publications: Vec<String>,
    /// The grants that the function asks for.
    pub asks: Grants,
}

/// A route as the function declares it, not yet checked.
#[derive(Clone, Debug)]
pub(super) struct RawRoute {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) access: Access,
    pub(super) operation: String,
}

/// A schedule as the function declares it, not yet checked.
#[derive(Clone, Debug)]
pub(super) struct RawSchedule {
    pub(super) name: String,
    pub(super) every_ms: u32,
    pub(super) shards: u32,
}

/// A manifest as the function declares it, not yet checked.
#[derive(Clone, Debug)]
pub(super) struct RawManifest {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) routes: Vec<RawRoute>,
    pub(super) messages: Vec<String>,
    pub(super) socket: String,
    pub(super) hooks: Vec<Hook>,
    pub(super) schedules: Vec<RawSchedule>,
    pub(super) publications: Vec<String>,
    pub(super) asks: Grants,
}

impl RawManifest {
    /// Checks every rule. The error describes the first rule that is broken.
    pub(super) fn validate(self) -> Result<Manifest, String> {
        check_name(&self.name)?;
        check_version(&self.version)?;
        for (what, count) in
            [("routes", self.routes.len()), ("messages", self.messages.len()), ("schedules", self.schedules.len())]
        {
            if count > ENTRIES_MAX {
                return Err(format!(
                    "it has {count} {what}, but at most {ENTRIES_MAX} are allowed; divide the function"
                ));
            }
        }
        check_messages(&self.messages)?;
        let socket = SocketDescription::parse(&self.socket, &self.messages)?;
        check_publications(&self.publications)?;
        if self.asks.read.has(Space::Host) || self.asks.write.has(Space::Host) {
            return Err("it asks for the key space host, which is the host's own; use the space app".to_owned());
        }
        no_duplicates("hook", self.hooks.iter().map(|hook| hook.as_str().to_owned()))?;
        no_duplicates("schedule", self.schedules.iter().map(|schedule| schedule.name.clone()))?;
        Ok(Manifest {
            routes: self.routes.into_iter().map(route).collect::<Result<_, _>>()?,
            schedules: self.schedules.into_iter().map(schedule).collect::<Result<_, _>>()?,
            name: self.name,
            version: self.version,
            messages: self.messages,
            socket,
            hooks: self.hooks,
            // The list itself is what asks for it.
            asks: Grants { subscribe: !self.publications.is_empty(), ..self.asks },
            publications: self.publications,
        })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let clean = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.is_empty() || name.len() > FUNCTION_NAME_BYTES_MAX || !clean {
        return Err(format!("the name {name:?} is not 1 to 64 bytes of 'a-z', '0-9' and '-', such as last-message"));
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), String> {
    match Version::parse(version) {
        Ok(_) if version.len() <= VERSION_BYTES_MAX => Ok(()),
        Ok(_) => Err(format!(
            "the version {version:?} has {} bytes, but at most {VERSION_BYTES_MAX} are allowed; shorten it",
            version.len()
        )),
        Err(error) => Err(format!("the version {version:?} is no semantic version such as 1.4.0: {error}")),
    }
}

fn check_messages(messages: &[String]) -> Result<(), String> {
    for name in messages {
        if !is_event_name(name) {
            return Err(format!(
                "the message type {name:?} is not 1 to {EVENT_NAME_BYTES_MAX} bytes of 'a-z', '0-9', '.', '_' and '-'"
            ));
        }
        if HOST_MESSAGES.contains(&name.as_str()) {
            return Err(format!("the message type {name} belongs to the host; choose another name"));
        }
    }
    no_duplicates("message type", messages.iter().cloned())
}

fn check_publications(events: &[String]) -> Result<(), String> {
    if events.len() > PUBLICATIONS_MAX {
        return Err(format!(
            "it asks to be called for {} types of publications, but at most {PUBLICATIONS_MAX} are allowed; divide the \
             function",
            events.len()
        ));
    }
    for name in events {
        if !is_event_name(name) {
            return Err(format!(
                "the publication {name:?} is not the type of an event: 1 to {EVENT_NAME_BYTES_MAX} bytes of 'a-z', '0-9', \
                 '.', '_' and '-'"
            ));
        }
        if HOST_MESSAGES.contains(&name.as_str()) {
            return Err(format!("no function publishes {name}, because it belongs to the host; choose another type"));
        }
    }
    no_duplicates("publication", events.iter().cloned())
}

pub(super) fn is_event_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= EVENT_NAME_BYTES_MAX && name.bytes().all(is_plain)
}

fn no_duplicates(what: &str, names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if let Some(twice) = seen.replace(name) {
            return Err(format!("the {what} {twice} is declared twice; declare it once"));
        }
    }
    Ok(())
}

fn route(raw: RawRoute) -> Result<Route, String> {
    let RawRoute { method, path, access, operation } = raw;
    let method = Method::parse(&method).ok_or_else(|| {
        format!(
            "the route {method} {path} has a method that is not allowed; allowed are GET, POST, PUT, PATCH and DELETE"
        )
    })?;
    if !path.starts_with("/v1/") {
        return Err(format!("the path of {method} {path} does not begin with /v1/; put /v1 before it"));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!(
            "the path of {method} {path} has {} bytes, but at most {PATH_BYTES_MAX} are allowed; shorten it",
            path.len()
        ));
    }
    if path.contains("{*") {
        return Err(format!(
            "the path of {method} {path} has a parameter over several segments; use parameters of one segment, such as {{user}}"
        ));
    }
    if host_paths::find(&path).is_some() {
        return Err(format!("the route {method} {path} belongs to the host; choose another path"));
    }
    if operation.len() > OPERATION_BYTES_MAX {
        return Err(format!(
            "the OpenAPI operation of {method} {path} has {} bytes, but at most {OPERATION_BYTES_MAX} are allowed; shorten it",
            operation.len()
        ));
    }
    match serde_json::from_str(&operation) {
        Ok(operation @ serde_json::Value::Object(_)) => Ok(Route { method, path, access, operation }),
        _ => Err(format!(
            "the OpenAPI operation of {method} {path} is not a JSON object; describe it with an object such as {{\"summary\": \"…\"}}"
        )),
    }
}

fn schedule(raw: RawSchedule) -> Result<Schedule, String> {
    let RawSchedule { name, every_ms, shards } = raw;
    if name.is_empty() || name.len() > 64 {
        return Err(format!("the name {name:?} of a schedule is not 1 to 64 bytes long"));
    }
    if every_ms < EVERY_MS_MIN || !(1..=SHARDS_MAX).contains(&shards) {
        return Err(format!(
            "the schedule {name} asks for a tick every {every_ms} ms in {shards} shards; allowed are {EVERY_MS_MIN} ms and more, and 1 to {SHARDS_MAX} shards"
        ));
    }
    Ok(Schedule { name, every: Duration::from_millis(u64::from(every_ms)), shards })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawManifest {
        RawManifest {
            name: "typing".into(),
            version: "1.0.0".into(),
            routes: Vec::new(),
            messages: vec!["typing".into()],
            socket: "{}".into(),
            hooks: vec![Hook::Heartbeat],
            schedules: Vec::new(),
            publications: vec!["message.new".into()],
            asks: Grants::default(),
        }
    }

    fn raw_route(method: &str, path: &str, operation: &str) -> RawRoute {
        RawRoute { method: method.into(), path: path.into(), access: Access::User, operation: operation.into() }
    }

    fn refused(change: impl FnOnce(&mut RawManifest), expected: &str) {
        let mut manifest = raw();
        change(&mut manifest);
        let error = manifest.validate().unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_valid_manifest_is_accepted() {
        let mut manifest = raw();
        manifest.routes = vec![raw_route("GET", "/v1/typing/{user}", "{}")];
        assert_eq!(manifest.validate().unwrap().routes[0].method, Method::Get);
    }

    #[test]
    fn names_and_versions_of_a_wrong_form_are_refused() {
        for name in ["", "Typing", "a b", &"x".repeat(65)] {
            refused(|m| m.name = name.into(), "name");
        }
        for version in ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.0-", "1.0.0+a..b"] {
            refused(|m| m.version = version.into(), "semantic version");
        }
        for version in ["0.1.0", "1.2.3-rc.1", "1.0.0+build-7", "1.0.0-a+b"] {
            assert_eq!(check_version(version), Ok(()));
        }
    }

    #[test]
    fn routes_with_a_wrong_method_path_or_operation_are_refused() {
        for (route, expected) in [
            (raw_route("HEAD", "/v1/a", "{}"), "not allowed"),
            (raw_route("GET", "/a", "{}"), "/v1/"),
            (raw_route("GET", "/v1/{*rest}", "{}"), "several segments"),
            (raw_route("GET", "/v1/socket", "{}"), "belongs to the host"),
            (raw_route("GET", "/v1/a", "[]"), "not a JSON object"),
        ] {
            refused(|m| m.routes = vec![route], expected);
        }
    }

    #[test]
    fn what_is_declared_twice_is_refused() {
        refused(|m| m.messages = vec!["a".into(), "a".into()], "twice");
        refused(|m| m.hooks = vec![Hook::Sync, Hook::Sync], "twice");
    }

    #[test]
    fn the_hosts_own_frame_types_are_refused() {
        refused(|m| m.messages = vec!["hello".into()], "belongs to the host");
    }

    #[test]
    fn publications_are_types_of_events_each_once() {
        refused(|m| m.publications = vec!["Message".into()], "not the type of an event");
        refused(|m| m.publications = vec!["resync".into()], "belongs to the host");
        refused(|m| m.publications = vec!["a".into(), "a".into()], "twice");
        refused(|m| m.publications = (0..65).map(|number| format!("a.{number}")).collect(), "at most 64");
        let mut most = raw();
        most.publications = (0..64).map(|number| format!("a.{number}")).collect();
        assert_eq!(most.validate().unwrap().publications.len(), 64);
    }

    #[test]
    fn the_hosts_own_key_space_is_refused() {
        refused(|m| m.asks.read = m.asks.read.with(Space::Host), "the host's own");
        refused(|m| m.asks.write = m.asks.write.with(Space::Host), "the host's own");
    }

    #[test]
    fn a_schedule_has_bounds() {
        for (every_ms, shards) in [(99, 1), (100, 0), (100, 65)] {
            let schedule = RawSchedule { name: "sweep".into(), every_ms, shards };
            refused(|m| m.schedules = vec![schedule], "tick every");
        }
    }
}
