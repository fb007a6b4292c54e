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
        let request =
            |(index, transaction)| OutboxRequest { triggers: calls.of_transaction(index, &transaction), transaction };
        let requests = transactions.into_iter().enumerate().map(request).collect();
        // Boxed, because this future is large and most commits do not need it.
        Box::pin(roost_core::outbox::commit(&self.world.outbox(), requests)).await
    }

    /// Publishes events without a change of state.
    pub(super) async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        let is_subscribed = |publication: &Publication| calls::has_subscribers(self, &publication.event);
        if !publications.iter().any(is_subscribed) {
            return self.world.store.publish(publications).await;
        }
        validate_publish(&publications)?;
        let batches = plain::batches(publications);
        // One call for each event, although its users can be in several batches.
        let calls = CommitCalls::of(self, &batches).of_sequence(&batches);
        // One after the other, so that each user receives the events in order.
        for (transaction, triggers) in batches.into_iter().zip(calls) {
            let triggers = triggers.into_iter().map(Into::into).collect();
            let request = OutboxRequest { transaction, triggers };
            let outcomes = Box::pin(roost_core::outbox::commit(&self.world.outbox(), vec![request])).await?;
            if let Some(Outcome::Failed(error)) = outcomes.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use roost_core::ids::UserId;
    use roost_core::port::Event;
    use roost_core::trigger::{self, Trigger};

    use super::*;

    /// The calls that wait for `bot` after `polls` has published these events, each to one user.
    async fn calls(publications: Vec<Publication>) -> Vec<Trigger> {
        let world = HostWorld::for_tests().await;
        world.subscriptions.set(&[("poll.vote", &["bot"])]);
        Publisher { world: &world, function: "polls", depth: 0 }.publish(publications).await.unwrap();
        let claimed = trigger::claim(&world.store, "bot", (100, 1), world.store.now()).await.unwrap();
        claimed.calls.into_iter().map(|claimed| claimed.trigger).collect()
    }

    fn publication(user: u128, payload: &str) -> Publication {
        let event = Event { name: "poll.vote".into(), payload: payload.into(), durable: true };
        Publication { user: UserId::from_u128(user), event }
    }

    #[tokio::test]
    async fn an_event_for_more_users_than_a_transaction_has_is_one_call_with_all_of_them() {
        let calls = calls((0..1_024).map(|user| publication(user, "1")).collect()).await;
        assert_eq!(calls.iter().map(|call| call.users.len()).collect::<Vec<_>>(), [1_024]);
    }

    #[tokio::test]
    async fn equal_events_that_large_ones_separate_are_one_call() {
        let large = |number: u128| publication(number, &format!("\"{}\"", number.to_string().repeat(100_000)));
        let mut publications: Vec<Publication> = (1..6).map(large).collect();
        publications.insert(0, publication(7, "1"));
        publications.push(publication(8, "1"));
        let calls = calls(publications).await;
        assert_eq!(calls.iter().map(|call| &call.id).collect::<BTreeSet<_>>().len(), 6);
        let small: Vec<&Trigger> = calls.iter().filter(|call| &*call.event.payload == "1").collect();
        let [one] = small[..] else { panic!("one call") };
        assert_eq!(one.users, [7, 8].map(UserId::from_u128));
    }
}
