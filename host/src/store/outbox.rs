//! Transactions with addressed events on a store that knows none: they go through the outbox of the core.

use std::future::Future;

use roost_core::outbox::{self, OutboxStore};
use roost_core::port::{KeyValue, Outcome, Query, StoreError, Transaction, Value};
use roost_core::time::Timestamp;
use uuid::Uuid;

/// A store that carries out transactions without addressed events.
pub(super) trait PlainStore: KeyValue {
    /// The present time on the store's clock.
    fn time(&self) -> Timestamp;

    /// Carries out transactions as `commit` does. None of them has addressed events.
    fn commit_plain(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Result<Vec<Outcome>, StoreError>> + Send;
}

/// Carries out transactions with and without addressed events.
pub(super) async fn commit<S: PlainStore>(
    store: &S,
    transactions: Vec<Transaction>,
) -> Result<Vec<Outcome>, StoreError> {
    if transactions.iter().all(|transaction| transaction.addressed.is_empty()) {
        return store.commit_plain(transactions).await;
    }
    // Boxed, because this future is large and most commits do not need it.
    Box::pin(outbox::commit(&BelowOutbox(store), transactions.into_iter().map(Into::into).collect())).await
}

/// The store as its outbox uses it.
struct BelowOutbox<'s, S>(&'s S);

impl<S: PlainStore> KeyValue for BelowOutbox<'_, S> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.0.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit_plain(transactions).await
    }
}

impl<S: PlainStore> OutboxStore for BelowOutbox<'_, S> {
    fn now(&self) -> Timestamp {
        self.0.time()
    }

    fn new_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}
