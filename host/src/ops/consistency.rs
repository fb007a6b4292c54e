//! The consistency check of the live state, page by page: what the admin listener and the command line can ask for, and
//! the ports through which the check of the core runs in the host, outside of any function.
//!
//! A page is small, so that an answer comes soon and the client controls the load.

use std::time::Duration;

use roost_core::consistency::{self, Report, SubjectKind, Subjects};
use roost_core::error::{Error, ErrorKind};
use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::LIST_MAX;
use roost_core::port::{
    Answer, Clock, Directory, KeyValue, Outcome, PubSub, Publication, Query, Records, StoreError, Telemetry,
    Transaction, Value,
};
use roost_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ops::metrics;
use crate::runtime::HostWorld;
use crate::server::problem::{ApiError, ErrorCode};

/// The length of a page if the request does not name one.
const PAGE_LIMIT_DEFAULT: u32 = 100;
/// The value of the label `function` for what the check counts.
const COUNTED_AS: &str = "audit";

/// What to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The counters of users, the last messages of conversations, or the announcements that keep failing.
    pub of: SubjectKind,
    /// These users or conversations, up to 500; without it, a page of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Vec<Uuid>>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    /// The length of the page, 1 to 500; without it 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Whether differences are repaired.
    #[serde(default)]
    pub repair: bool,
}

/// The result of one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPage {
    /// What was compared and found.
    pub report: Report,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Uuid>,
}

/// Compares one page.
pub async fn check(world: &HostWorld, request: &CheckRequest) -> Result<CheckPage, Error> {
    let (subjects, next) = subjects(world, request).await?;
    let report = check_subjects(world, &subjects, request.repair).await?;
    Ok(CheckPage { report, next })
}

/// Compares these subjects, and repairs them if `repair` is set. Counts the differences as `roost_drift_total`.
pub(super) async fn check_subjects(world: &HostWorld, subjects: &Subjects, repair: bool) -> Result<Report, Error> {
    let report = match repair {
        _ if subjects.is_empty() => Report::default(),
        true => consistency::repair(world, subjects).await?,
        false => consistency::verify(world, subjects).await?,
    };
    for finding in &report.divergences {
        let repaired = if finding.repaired { "true" } else { "false" };
        metrics::DRIFT.of([finding.kind.name(), repaired]).inc();
    }
    Ok(report)
}

async fn subjects(world: &HostWorld, request: &CheckRequest) -> Result<(Subjects, Option<Uuid>), Error> {
    match &request.named {
        Some(named) if named.len() > LIST_MAX => Err(Error::Invalid(format!(
            "`named` has {} entries, but at most {LIST_MAX} are allowed; send several requests",
            named.len()
        ))),
        Some(named) => Ok((Subjects::named(request.of, named), None)),
        None => Subjects::page(world, request.of, request.after, request.limit.unwrap_or(PAGE_LIMIT_DEFAULT)).await,
    }
}

/// The error as a problem document. Operators may see all of its text.
pub fn problem(error: &Error) -> ApiError {
    let status = match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooLarge => 400,
        ErrorKind::Unavailable => 503,
        _ => 500,
    };
    let detail = if error.kind() == ErrorKind::Internal { error.to_string() } else { error.public_message() };
    let problem = ApiError { status, code: error.code().into(), ..ApiError::new(ErrorCode::Internal, detail) };
    let after = error.retry_after_ms().map(|span| Duration::from_millis(span.into()));
    ApiError { title: "The state could not be compared", retry: error.retry(), retry_after: after, ..problem }
}

impl KeyValue for HostWorld {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.store.commit(transactions).await
    }
}

impl PubSub for HostWorld {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.store.publish(publications).await
    }
}

impl Clock for HostWorld {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn wait(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(milliseconds.min(1_000).into())).await;
    }
}

impl Telemetry for HostWorld {
    /// Counts as if a function with the name `audit` did.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        metrics::function_counter(COUNTED_AS, name, &labels).inc_by(amount);
    }

    fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        tracing::warn!(?fields, "{message}");
    }
}

impl Directory for HostWorld {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        self.records.users(after, limit).await
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        self.records.conversation_ids(after, limit).await
    }
}

/// Implements [`Records`] by handing every operation on to [`HostWorld::records`].
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for HostWorld {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.records.$method($($argument),*).await
            })*
        }
    };
}

roost_core::records_operations!(delegate);
