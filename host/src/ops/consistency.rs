//! Verifying the live state part by part, natively: what the admin listener and the command line ask for, and the
//! world that the core's consistency check runs in.
//!
//! A part is small, so that nobody waits long for an answer and whoever asks decides the pace.

use std::time::Duration;

use metrics::{Label, counter};
use roost_core::consistency::{self, Kind, Report, Subjects};
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

use crate::records::RecordStore;
use crate::server::problem::{ApiError, ErrorCode};
use crate::store::Store;

/// Subjects of a part when nobody says how many.
pub const PART_DEFAULT: u32 = 100;

/// Which part to verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Users' counters, or conversations' last messages.
    pub of: Kind,
    /// These, up to 500; without them a page of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Vec<Uuid>>,
    /// The page after this one: an earlier part's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    /// The page's length, 1 to 500; without it 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Mend what is found.
    #[serde(default)]
    pub repair: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What was looked at and found.
    pub report: Report,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Uuid>,
}

/// Verifies the part, and counts what it finds as `roost_drift_total`.
pub async fn carry_out(world: &World, order: &Order) -> Result<Part, Error> {
    let (subjects, next) = subjects(world, order).await?;
    let report = match order.repair {
        _ if subjects.is_empty() => Report::default(),
        true => consistency::repair(world, &subjects).await?,
        false => consistency::verify(world, &subjects).await?,
    };
    for finding in &report.drift {
        let repaired = if finding.repaired { "true" } else { "false" };
        counter!("roost_drift_total", "what" => finding.what.name(), "repaired" => repaired).increment(1);
    }
    Ok(Part { report, next })
}

async fn subjects(world: &World, order: &Order) -> Result<(Subjects, Option<Uuid>), Error> {
    match &order.named {
        Some(named) if named.len() > LIST_MAX => {
            Err(Error::Invalid(format!("{} named at once, allowed are {LIST_MAX}", named.len())))
        }
        Some(named) => Ok((Subjects::named(order.of, named), None)),
        None => Subjects::page(world, order.of, order.after, order.limit.unwrap_or(PART_DEFAULT)).await,
    }
}

/// For the operator, who may be told everything.
pub fn fault(error: &Error) -> ApiError {
    let status = match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooLarge => 400,
        ErrorKind::Unavailable => 503,
        _ => 500,
    };
    let fault = ApiError { status, code: error.code().into(), ..ApiError::new(ErrorCode::Internal, error.to_string()) };
    let after = error.retry_after_ms().map(|span| Duration::from_millis(span.into()));
    ApiError { title: "The state could not be compared", retry: error.retry(), retry_after: after, ..fault }
}

/// The store and the records as the core's use cases see them, outside of any function.
#[derive(Clone)]
pub struct World {
    /// The live state, and its clock.
    pub store: Store,
    /// The system of record.
    pub records: RecordStore,
}

impl KeyValue for World {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.store.commit(transactions).await
    }
}

impl PubSub for World {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.store.publish(publications).await
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn wait(&self, milliseconds: u32) {
        tokio::time::sleep(Duration::from_millis(milliseconds.min(1_000).into())).await;
    }
}

impl Telemetry for World {
    /// As if a function named `audit` had counted it.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64) {
        let own = Label::new("function", "audit");
        let labels = labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned()));
        let labels: Vec<Label> = std::iter::once(own).chain(labels).collect();
        counter!(format!("roost_function_{name}_total"), labels).increment(amount);
    }
}

impl Directory for World {
    async fn users(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        self.records.users(after, limit).await
    }

    async fn conversation_ids(&self, after: Option<ConversationId>, limit: u32) -> Answer<Vec<ConversationId>> {
        self.records.conversation_ids(after, limit).await
    }
}

/// Implements [`Records`] by handing every operation on to [`World::records`].
macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for World {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                self.records.$method($($argument),*).await
            })*
        }
    };
}

roost_core::records_operations!(delegate);
