//! Functions in the host: from the bytes of a component to an answered call.
//!
//! `engine` runs WebAssembly, `loader` turns bytes into a revision, `routes` and `registry` hold the live revisions,
//! `instance` makes calls, `imports` implements the interfaces that functions import. Generated types never leave this
//! folder. Nothing here depends on HTTP, on sockets, or on any single function.

mod activity;
mod admission;
mod allowance;
mod bindings;
mod call;
mod call_keys;
mod call_log;
mod call_recipients;
mod cohort;
mod conversions;
pub(crate) mod deployments;
pub mod dispatcher;
mod engine;
mod grants;
pub mod hooks;
pub(crate) mod host_paths;
mod imports;
mod info;
mod instance;
pub(crate) mod keyed_places;
mod limits;
mod loader;
mod manifest;
#[cfg(test)]
mod message_tests;
mod metrics;
mod options;
pub(crate) mod percent;
mod publishing;
mod quota;
mod registry;
mod revision;
mod routes;
pub mod schedule;
mod series;
mod serving;
pub(crate) mod signature;
pub(crate) mod slots;
mod socket_description;
mod state;
mod subscriptions;
mod target;
#[cfg(test)]
mod tests;
pub(crate) mod triggers;

pub use activity::ActivityLog;
pub use allowance::{Allowance, GrantDecision, OwnSources, RefusedGrants, UnknownGrant, effective};
pub use call::{
    CallError, Caller, Connection, Failure, FailureKind, HttpRequest, Invocation, PublishedEvent, Reply, Request,
};
pub(crate) use call_log::{
    CallOutcome, FOLLOWERS_MAX, FunctionLog, FunctionLogs, LineLevel, LogRecord, RecordBatch, RecordKind,
};
pub use cohort::Cohort;
pub use engine::{Allocation, Engine, EngineError, MEMORY_BYTES_MAX};
pub use grants::{Grants, Operations, Spaces};
pub use info::{FunctionInfo, LimitsInfo};
pub(crate) use loader::{COMPONENT_BYTES_MAX, check_kind, digest, replace_file, revision_of, write_atomically};
pub use loader::{DeployError, DeployFailure};
pub use manifest::{Access, Hook, Manifest, Method, Route, Schedule};
pub(crate) use metrics::CallCounts;
pub use options::Options;
pub use registry::{BaseChange, Deployed, Documented, Functions, Placement};
pub use routes::{Conflict, MatchedRoute, Parameter, RouteLookup};
pub use socket_description::{DescribedEvent, DescribedMessage, SocketDescription};
pub use state::HostWorld;
pub use subscriptions::Subscriptions;
pub use target::Target;
