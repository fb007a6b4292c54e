//! The state of an instance: what it can reach, which function it belongs to, and the call that it serves now.

use std::sync::Arc;
use std::time::Instant;

use roost_core::additions::AdditionPolicy;
use roost_core::event;
use roost_core::ids::UserId;
use roost_core::port::Event;

use super::activity::ActivityLog;
use super::admission::CallPlace;
use super::call::{Caller, Request};
use super::call_log::{CallFigures, CallRecorder};
use super::call_recipients::CallRecipients;
use super::grants::Grants;
use super::limits::MemoryLimit;
use super::metrics::FunctionCounters;
use super::publishing::{HostOutbox, Publisher};
use super::quota::{CallBounds, CallUsage, Resource};
use super::subscriptions::Subscriptions;
use crate::config::BUILT_IN;
use crate::records::RecordStore;
use crate::store::Store;

/// The store and the records: everything that functions reach through their imports. Also who is called for what they
/// publish.
#[derive(Clone)]
pub struct HostWorld {
    /// The store of the live state, and its clock.
    pub store: Store,
    /// The system of record.
    pub records: RecordStore,
    /// The functions that are called for publications.
    pub subscriptions: Subscriptions,
    /// Which users are active, if idle ones are to be removed from the store.
    pub activity: ActivityLog,
    /// Whom users may put into conversations.
    additions: AdditionPolicy,
}

impl HostWorld {
    /// A store and records, and no function yet that is called for publications.
    pub fn new(store: Store, records: RecordStore) -> Self {
        let (activity, additions) = (ActivityLog::default(), AdditionPolicy::default());
        Self { store, records, subscriptions: Subscriptions::default(), activity, additions }
    }

    /// Notes the activity of users in this log.
    #[must_use]
    pub(crate) fn with_activity(self, activity: ActivityLog) -> Self {
        Self { activity, ..self }
    }

    /// Restricts whom users may put into conversations.
    #[must_use]
    pub(crate) const fn with_additions(mut self, additions: AdditionPolicy) -> Self {
        self.additions = additions;
        self
    }

    /// Whom users may put into conversations.
    pub(super) const fn additions(&self) -> AdditionPolicy {
        self.additions
    }

    /// The store with its outbox.
    pub(crate) const fn outbox(&self) -> HostOutbox<'_> {
        HostOutbox(self)
    }

    /// An empty world in memory.
    #[cfg(test)]
    pub(super) async fn for_tests() -> Self {
        use crate::config::{RecordsUrl, SqliteLocation};
        let records = RecordStore::open(&RecordsUrl::Sqlite(SqliteLocation::Memory)).await.unwrap();
        Self::new(Store::memory(), records)
    }
}

/// What all instances of one revision share.
pub(super) struct FunctionIdentity {
    /// The name in the manifest; until the manifest is known, the name of the file.
    pub(super) name: Arc<str>,
    /// The first letters of the digest.
    pub(super) revision: String,
    pub(super) world: HostWorld,
    pub(super) grants: Grants,
    pub(super) bounds: CallBounds,
    /// The most bytes that the function keeps in the key space `app`.
    pub(super) app_bytes_max: u64,
    /// The most bytes that the function keeps in documents.
    pub(super) documents_bytes_max: u64,
    pub(super) counters: FunctionCounters,
    pub(super) recorder: CallRecorder,
}

impl FunctionIdentity {
    /// Checks that the function may publish events of these names; the error says which it may not.
    pub(super) fn check_event_names<'e>(&self, mut events: impl Iterator<Item = &'e Event>) -> Result<(), String> {
        if BUILT_IN.contains(&&*self.name) {
            return Ok(());
        }
        events.find(|event| event::is_reserved(&event.name)).map_or(Ok(()), |event| {
            Err(format!(
                "publishing `{}`: names that begin like those of Roost's own events are for the functions that come with \
                 Roost; choose a name such as `votes.changed`",
                event.name
            ))
        })
    }
}

/// The state of one instance. [`InstanceState::begin`] resets what belongs to a call.
pub(super) struct InstanceState {
    pub(super) identity: Arc<FunctionIdentity>,
    pub(super) memory: MemoryLimit,
    /// Whether `describe` runs, during which only telemetry may be used.
    pub(super) describing: bool,
    pub(super) trace: Arc<str>,
    pub(super) deadline: Instant,
    /// The place of the call, which it gives away while it waits for another call.
    pub(super) place: Option<Arc<CallPlace>>,
    /// The user who made the call with their own token. What users may not do is refused then.
    pub(super) user: Option<UserId>,
    /// To whom the call may publish.
    pub(super) recipients: CallRecipients,
    pub(super) usage: CallUsage,
    /// How many publications led to the call.
    pub(super) depth: u32,
    /// Reads, commits and publications that the call has made.
    pub(super) store_round_trips: u32,
    /// The key of the last quota that refused something to the call.
    pub(super) refused_quota: Option<&'static str>,
    /// Log lines of the call so far.
    pub(super) lines: u32,
    /// The last error that the function logged. After a trap it is the text of the panic.
    pub(super) last_error: Option<String>,
}

impl InstanceState {
    pub(super) fn new(
        identity: Arc<FunctionIdentity>,
        memory_bytes_max: usize,
        (trace, deadline): (Arc<str>, Instant),
    ) -> Self {
        Self {
            identity,
            memory: MemoryLimit::new(memory_bytes_max),
            describing: false,
            trace,
            deadline,
            user: None,
            recipients: CallRecipients::default(),
            place: None,
            usage: CallUsage::default(),
            depth: 0,
            store_round_trips: 0,
            refused_quota: None,
            lines: 0,
            last_error: None,
        }
    }

    /// Resets what belongs to one call.
    pub(super) fn begin(&mut self, trace: Arc<str>, deadline: Instant, (caller, request): (Caller, &Request)) {
        self.trace = trace;
        self.user = match caller {
            Caller::User(user) => Some(user),
            Caller::ServiceFor(_) | Caller::Service | Caller::Anonymous | Caller::Host => None,
        };
        self.recipients = CallRecipients::of(self.identity.grants.publish, caller, request);
        self.deadline = deadline;
        self.usage = CallUsage::default();
        self.depth = request.depth();
        self.store_round_trips = 0;
        self.refused_quota = None;
        self.lines = 0;
        self.last_error = None;
    }

    /// Takes from what the call may use; the error says what is allowed.
    pub(super) fn take(&mut self, resource: Resource, amount: usize) -> Result<(), String> {
        let taken = self.usage.take(&self.identity.bounds, resource, u64::try_from(amount).unwrap_or(u64::MAX));
        taken.map_err(|exceeded| {
            self.note_refusal(exceeded.resource.key());
            exceeded.text(&self.identity.name)
        })
    }

    /// Carries out what the function publishes in this call.
    pub(super) fn publisher(&self) -> Publisher<'_> {
        Publisher { world: &self.identity.world, function: &self.identity.name, depth: self.depth }
    }

    /// Counts that the call was refused something because of the quota with this key.
    pub(super) fn note_refusal(&mut self, key: &'static str) {
        self.refused_quota = Some(key);
        self.identity.counters.count_refusal(key);
    }

    /// What the call has used so far.
    pub(super) fn figures(&self) -> CallFigures {
        CallFigures {
            store_round_trips: self.store_round_trips,
            store_operations: self.usage.used(Resource::StoreOperations),
            records_operations: self.usage.used(Resource::RecordsOperations),
            memory_bytes: self.memory.used(),
            quota: self.refused_quota,
        }
    }

    /// Ends a `describe` that uses an import other than telemetry.
    pub(super) fn refuse_in_describe(&self, import: &'static str) -> wasmtime::Result<()> {
        if self.describing {
            return Err(wasmtime::Error::new(ImportInDescribe(import)));
        }
        Ok(())
    }
}

/// The function used an import in `describe` that may not be used there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("describe used the import {0}; it may use telemetry only")]
pub(super) struct ImportInDescribe(pub(super) &'static str);
