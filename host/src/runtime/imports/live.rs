//! `key-value`, `pub-sub` and `clock`: the live state and its time. Grants are held here, bounds by every store.

use std::time::Duration;

use roost_core::port::{KeyValue, Outcome, PubSub, Publication, StoreError, Transaction};

use super::super::bindings::{clock, key_value, pub_sub};
use super::super::conversions::{Reading, list};
use super::super::state::State;

/// The longest wait a guest gets at once.
const WAIT_MS_MAX: u32 = 1_000;

type Answer<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl State {
    async fn read_allowed(&self, reading: Reading) -> Result<Vec<key_value::Value>, StoreError> {
        let (queries, parts) = reading.split();
        self.identity.grants.check_read(&queries).map_err(StoreError::Denied)?;
        Ok(Reading::answer(parts, self.identity.world.store.read(queries).await?))
    }

    async fn commit_allowed(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.identity.grants.check_commit(&transactions).map_err(StoreError::Denied)?;
        self.identity.world.store.commit(transactions).await
    }

    async fn publish_allowed(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.identity.grants.check_publish().map_err(StoreError::Denied)?;
        self.identity.world.store.publish(publications).await
    }
}

impl key_value::Host for State {
    async fn read(&mut self, queries: Vec<key_value::Query>) -> Answer<Vec<key_value::Value>> {
        self.serving("key-value.read")?;
        let answer = match Reading::of(queries) {
            Ok(reading) => self.read_allowed(reading).await,
            Err(error) => Err(error),
        };
        Ok(answer.map_err(Into::into))
    }

    async fn commit(&mut self, transactions: Vec<key_value::Transaction>) -> Answer<Vec<key_value::Outcome>> {
        self.serving("key-value.commit")?;
        let answer = self.commit_allowed(list(transactions)).await;
        Ok(answer.map(list).map_err(Into::into))
    }
}

impl pub_sub::Host for State {
    async fn publish(&mut self, publications: Vec<pub_sub::Publication>) -> Answer<()> {
        self.serving("pub-sub.publish")?;
        Ok(self.publish_allowed(list(publications)).await.map_err(Into::into))
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.serving("clock.now")?;
        Ok(self.identity.world.store.now().0)
    }

    async fn wait(&mut self, milliseconds: u32) -> wasmtime::Result<()> {
        self.serving("clock.wait")?;
        let span = Duration::from_millis(u64::from(milliseconds.min(WAIT_MS_MAX)));
        tokio::time::sleep(span).await;
        Ok(())
    }
}
