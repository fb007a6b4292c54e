//! The ports: all that the use cases may ask of the world, and what they may rely on.
//!
//! Futures are `Send`, so that the same use case runs in a guest (where every import answers at once), on
//! tokio, and in the simulator that may switch tasks at every call.

mod delivery;
mod item;
mod key_value;
mod number;
mod records;

pub use delivery::{Bus, Delivery, Feeds, Publication, Replay, Subscriber};
pub use item::Item;
pub use key_value::{
    Check, Event, KeyValue, Mutation, Outcome, Query, StoreError, Text, Transaction, Value, validate_commit,
    validate_event, validate_publish, validate_read,
};
pub use number::parse_number;
pub use records::{
    Answer, Change, ChangeKind, ChangeRange, Changed, Confirmation, ContactAudience, Conversation, ConversationPage,
    ConversationQuery, Counter, Created, Directory, Draft, Edit, HistoryPage, HistoryQuery, LastMessage, MemberChange,
    Membership, Message, NewConversation, Operation, Pending, ReadMark, Records, RecordsError, UnreadRequest,
    UnreadSnapshot, bounds as records_bounds,
};

use std::future::Future;

use crate::time::Timestamp;

/// Telling users something without changing state.
pub trait PubSub: Send + Sync {
    /// Publishes in order for each user. After an error some may have gone out and some not.
    fn publish(&self, publications: Vec<Publication>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Time, in step with the store's clock.
pub trait Clock: Send + Sync {
    /// The present moment. May step back; order is by sequence, never by time.
    fn now(&self) -> Timestamp;

    /// Returns after so many milliseconds (at most 1,000), to look again at what another caller holds.
    fn wait(&self, milliseconds: u32) -> impl Future<Output = ()> + Send;
}

/// Counts for the operator: cache hits, misses, repairs. Never fails.
pub trait Telemetry: Send + Sync {
    /// Adds to `roost_function_<name>_total`. Label values come from small fixed sets.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], amount: u64);
}

/// Everything a use case needs, in one value.
pub trait World: KeyValue + PubSub + Records + Clock + Telemetry {}

impl<T: KeyValue + PubSub + Records + Clock + Telemetry> World for T {}
