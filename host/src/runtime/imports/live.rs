//! Implements `key-value`, `pub-sub` and `clock`: the live state and its time. Grants are checked here; every store checks
//! the bounds itself.

use std::time::Duration;

use roost_core::port::{KeyValue, Outcome, PubSub, Publication, StoreError, Transaction};

use super::super::bindings::{clock, key_value, pub_sub};
use super::super::conversions::{ReadRequest, list};
use super::super::state::InstanceState;

/// The longest wait that a guest gets in one call of `wait`.
const WAIT_MS_MAX: u32 = 1_000;

type ImportResult<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl InstanceState {
    async fn read_granted(&self, request: ReadRequest) -> Result<Vec<key_value::Value>, StoreError> {
        let (queries, groups) = request.split();
        self.identity.grants.check_read(&queries).map_err(StoreError::Denied)?;
        Ok(ReadRequest::answer(groups, self.identity.world.store.read(queries).await?))
    }

    async fn commit_granted(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        self.identity.grants.check_commit(&transactions).map_err(StoreError::Denied)?;
        self.identity.world.store.commit(transactions).await
    }

    async fn publish_granted(&self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.identity.grants.check_publish().map_err(StoreError::Denied)?;
        self.identity.world.store.publish(publications).await
    }
}

impl key_value::Host for InstanceState {
    async fn read(&mut self, queries: Vec<key_value::Query>) -> ImportResult<Vec<key_value::Value>> {
        self.refuse_in_describe("key-value.read")?;
        let answer = match ReadRequest::of(queries) {
            Ok(request) => self.read_granted(request).await,
            Err(error) => Err(error),
        };
        Ok(answer.map_err(Into::into))
    }

    async fn commit(&mut self, transactions: Vec<key_value::Transaction>) -> ImportResult<Vec<key_value::Outcome>> {
        self.refuse_in_describe("key-value.commit")?;
        let answer = self.commit_granted(list(transactions)).await;
        Ok(answer.map(list).map_err(Into::into))
    }
}

impl pub_sub::Host for InstanceState {
    async fn publish(&mut self, publications: Vec<pub_sub::Publication>) -> ImportResult<()> {
        self.refuse_in_describe("pub-sub.publish")?;
        Ok(self.publish_granted(list(publications)).await.map_err(Into::into))
    }
}

impl clock::Host for InstanceState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.refuse_in_describe("clock.now")?;
        Ok(self.identity.world.store.now().0)
    }

    async fn wait(&mut self, milliseconds: u32) -> wasmtime::Result<()> {
        self.refuse_in_describe("clock.wait")?;
        let span = Duration::from_millis(u64::from(milliseconds.min(WAIT_MS_MAX)));
        self.identity.world.store.wait(span).await;
        Ok(())
    }
}
