//! The ports: everything that use cases may call, and what each call guarantees.
//!
//! Futures are `Send`, so that the same use case runs in a guest, where every import returns immediately, on tokio, and
//! in the simulation, which may switch tasks at every call.

mod delivery;
mod item;
mod key_value;
mod number;
mod records;

pub use delivery::{Bus, Delivery, Feeds, Publication, Replay, Subscriber};
pub use item::Item;
pub use key_value::{
    AddressedEvent, AppBound, Check, Event, ITEM_BYTES, KeyValue, Mutation, Outcome, PublishedResult, Query,
    SCORE_BYTES, ScreenedCall, StoreError, Text, Transaction, Value, app_function, validate_event, validate_publish,
    validate_read,
};
pub use number::parse_number;
pub use records::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, ContactAudience, Conversation, ConversationPage,
    ConversationQuery, Counter, Created, DirectRequest, Directory, Document, DocumentKey, DocumentPut, DocumentScope,
    Draft, Edit, Erased, HistoryPage, HistoryQuery, LastMessage, Member, MemberChange, MembersPage, MembersQuery,
    Membership, Message, MessagesQuery, NOBODY, NewConversation, Operation, Pending, PendingCursor, PendingId,
    PendingItem, PendingPage, PendingQuery, Postponement, ReadMark, ReadPosition, Records, RecordsError, Relation,
    UnreadRequest, UnreadSnapshot, bounds as records_bounds,
};

use std::future::Future;

use crate::time::Timestamp;

/// Publishes events without changing state.
pub trait PubSub: Send + Sync {
    /// Publishes the events of each user in order. After an error, some of them may have been published.
    fn publish(&self, publications: Vec<Publication>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The clock, synchronised with the store's clock.
pub trait Clock: Send + Sync {
    /// The present time. It may step back; events are ordered by sequence number, never by time.
    fn now(&self) -> Timestamp;

    /// Returns after so many milliseconds (at most 1,000), so that the caller can read again what another caller holds.
    fn wait(&self, milliseconds: u32) -> impl Future<Output = ()> + Send;
}

/// Tells the operator what happens, such as cache hits, misses and repairs. It never fails.
pub trait Telemetry: Send + Sync {
    /// Adds to `roost_function_<name>_total`. The values of labels come from small fixed sets.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64);

    /// Writes a line to the operator's log: what is wrong, and what to do about it. Without a log, nothing happens.
    fn warn(&self, message: &str, fields: &[(&str, &str)]) {
        let _ = (message, fields);
    }
}

/// All ports that a use case needs, in one value.
pub trait World: KeyValue + PubSub + Records + Clock + Telemetry {}

impl<T: KeyValue + PubSub + Records + Clock + Telemetry> World for T {}
