//! A store in which one user cannot be told anything.

use std::sync::Arc;

use crate::ids::UserId;
use crate::key::Owner;
use crate::port::{KeyValue, Outcome, PubSub, Publication, Query, StoreError, Transaction, Value};

/// A store in which the feed of one user is a value of another type, so that transactions that publish to the user
/// fail.
#[derive(Debug)]
pub struct BrokenFeed<S> {
    /// The store itself.
    pub store: Arc<S>,
    /// The user whose feed takes no event.
    pub user: UserId,
}

impl<S: KeyValue> KeyValue for BrokenFeed<S> {
    async fn read(&self, queries: Vec<Query>) -> Result<Vec<Value>, StoreError> {
        self.store.read(queries).await
    }

    async fn commit(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let owner = Owner::User(self.user);
        let is_broken = |transaction: &Transaction| transaction.owner == owner && !transaction.publications.is_empty();
        let broken: Vec<bool> = transactions.iter().map(is_broken).collect();
        let sound = transactions.into_iter().filter(|transaction| !is_broken(transaction)).collect();
        let mut outcomes = self.store.commit(sound).await?.into_iter();
        let failed = || Outcome::Failed(StoreError::WrongType("feed".into()));
        Ok(broken.into_iter().map(|broken| if broken { failed() } else { outcomes.next().unwrap() }).collect())
    }
}

impl<S: PubSub> PubSub for BrokenFeed<S> {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.store.publish(publications).await
    }
}
