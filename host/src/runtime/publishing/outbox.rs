//! The store of this host with its outbox: counts and logs what becomes of entries and calls.

use std::sync::atomic::{AtomicU64, Ordering};

use roost_core::outbox::{OutboxEvent, OutboxStore};
use roost_core::port::{KeyValue, Outcome, Query, StoreError, Transaction, Value};
use roost_core::time::Timestamp;
use uuid::Uuid;

use crate::ops::metrics;
use crate::runtime::state::HostWorld;

/// The store and the subscriptions of a host.
pub(crate) struct HostOutbox<'w>(pub(crate) &'w HostWorld);

impl KeyValue for HostOutbox<'_> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.0.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.0.store.commit(transactions).await
    }
}

impl OutboxStore for HostOutbox<'_> {
    fn now(&self) -> Timestamp {
        self.0.store.now()
    }

    fn new_id(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn report(&self, event: &OutboxEvent<'_>) {
        match event {
            OutboxEvent::TriggerQueued(_) => self.0.subscriptions.notify_queued(),
            OutboxEvent::TriggerDropped(trigger) => {
                metrics::TRIGGERS.of([&trigger.function, "queue_full"]).inc();
                log_full_queue(&trigger.function, self.now());
            }
            OutboxEvent::UserSkipped(user, error) => {
                metrics::OUTBOX.of(["user_skipped"]).inc();
                tracing::error!(%user, %error, "a user's feed cannot take an event; the other users receive it");
            }
            OutboxEvent::EntryDropped(owner, id) => {
                metrics::OUTBOX.of(["dropped"]).inc();
                tracing::error!(
                    %owner,
                    %id,
                    "events of a transaction were not delivered to every user, and are given up after many attempts"
                );
            }
        }
    }
}

/// Logs a full queue, at most once a second, because a full queue drops every call.
fn log_full_queue(function: &str, now: Timestamp) {
    static LAST_SECOND: AtomicU64 = AtomicU64::new(0);
    if LAST_SECOND.swap(now.seconds(), Ordering::Relaxed) != now.seconds() {
        tracing::error!(
            function,
            "the queue of calls is full, so the function is not called for some publications; it is too slow, or fails"
        );
    }
}
