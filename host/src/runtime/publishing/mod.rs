//! What functions publish, on its way into the store: finds the functions that are called for each event, and lets the
//! outbox carry out the change, the events and the calls as one step.

mod calls;
mod changes;
mod outbox;
mod plain;

use roost_core::outbox::OutboxRequest;
use roost_core::port::{KeyValue, Outcome, PubSub, Publication, StoreError, Transaction, validate_publish};

use self::calls::CommitCalls;
pub(crate) use self::outbox::HostOutbox;
use super::state::HostWorld;

/// Carries out what one function publishes in one call.
pub(super) struct Publisher<'w> {
    pub(super) world: &'w HostWorld,
    pub(super) function: &'w str,
    /// How many publications led to the call that the function answers now.
    pub(super) depth: u32,
}

impl Publisher<'_> {
    /// Carries out transactions, with their events and the calls that these cause.
    pub(super) async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let is_addressed = transactions.iter().any(|transaction| !transaction.addressed.is_empty());
        let calls = CommitCalls::of(self, &transactions);
        if !is_addressed && calls.is_empty() {
            return self.world.store.commit(transactions).await;
        }
        let request = |transaction| OutboxRequest { triggers: calls.of_transaction(&transaction), transaction };
        let requests = transactions.into_iter().map(request).collect();
        // Boxed, because this future is large and most commits do not need it.
        Box::pin(roost_core::outbox::commit(&self.world.outbox(), requests)).await
    }

    /// Publishes events without a change of state.
    pub(super) async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        let is_subscribed = |publication: &Publication| !calls::subscribers(self, &publication.event).is_empty();
        if self.world.subscriptions.is_empty() || !publications.iter().any(is_subscribed) {
            return self.world.store.publish(publications).await;
        }
        validate_publish(&publications)?;
        // One after the other, so that each user receives the events in order.
        for batch in plain::batches(publications) {
            let outcomes = self.commit(vec![batch]).await?;
            if let Some(Outcome::Failed(error)) = outcomes.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }
}
