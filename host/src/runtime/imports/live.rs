//! Implements `key-value`, `pub-sub` and `clock`: the live state and its time. Grants and what the call may use are
//! checked here; every store checks the bounds of a call itself.

use std::time::Duration;

use roost_core::port::{AppBound, KeyValue, Outcome, Publication, StoreError, Transaction, Value};

use super::super::bindings::{clock, key_value, pub_sub};
use super::super::conversions::{KeysOf, ReadRequest, list, share_events};
use super::super::quota::{APP_BYTES_KEY, Resource};
use super::super::state::InstanceState;

/// The longest wait that a guest gets in one call of `wait`.
const WAIT_MS_MAX: u32 = 1_000;

type ImportResult<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl InstanceState {
    async fn read_granted(&mut self, request: ReadRequest) -> Result<Vec<key_value::Value>, StoreError> {
        let (queries, groups) = request.split();
        self.identity.grants.check_read(&queries).map_err(StoreError::Denied)?;
        self.take_live(Resource::StoreOperations, queries.len())?;
        self.store_round_trips += 1;
        let values = self.identity.world.store.read(queries).await?;
        self.take_live(Resource::StoreReadBytes, values.iter().map(Value::bytes).sum())?;
        Ok(ReadRequest::answer(groups, values))
    }

    async fn commit_granted(&mut self, mut transactions: Vec<Transaction>) -> Result<Vec<Outcome>, StoreError> {
        let bound = Some(AppBound(self.identity.app_bytes_max));
        transactions.iter_mut().for_each(|transaction| transaction.app_bound = bound);
        self.identity.grants.check_commit(&transactions).map_err(StoreError::Denied)?;
        let events = transactions.iter().flat_map(Transaction::events);
        self.identity.check_event_names(events).map_err(StoreError::Denied)?;
        self.recipients.check_transactions(&self.identity.name, &transactions).map_err(StoreError::Denied)?;
        self.take_live(Resource::StoreOperations, transactions.len())?;
        self.take_live(Resource::Publications, transactions.iter().map(Transaction::deliveries).sum())?;
        self.take_live(Resource::StoreWrittenBytes, transactions.iter().map(Transaction::bytes).sum())?;
        self.store_round_trips += 1;
        self.identity.world.activity.note(&self.identity.world.store, &transactions).await;
        let outcomes = self.publisher().commit(transactions).await?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(StoreError::QuotaExceeded(_)))) {
            self.note_refusal(APP_BYTES_KEY);
        }
        Ok(outcomes)
    }

    async fn publish_granted(&mut self, publications: Vec<Publication>) -> Result<(), StoreError> {
        self.identity.grants.check_publish().map_err(StoreError::Denied)?;
        let events = publications.iter().map(|publication| &publication.event);
        self.identity.check_event_names(events).map_err(StoreError::Denied)?;
        self.recipients.check_publications(&self.identity.name, &publications).map_err(StoreError::Denied)?;
        self.take_live(Resource::Publications, publications.len())?;
        self.take_live(Resource::StoreWrittenBytes, publications.iter().map(|each| each.event.bytes()).sum())?;
        self.store_round_trips += 1;
        self.publisher().publish(publications).await
    }

    fn take_live(&mut self, resource: Resource, amount: usize) -> Result<(), StoreError> {
        self.take(resource, amount).map_err(StoreError::QuotaExceeded)
    }
}

impl key_value::Host for InstanceState {
    async fn read(&mut self, queries: Vec<key_value::Query>) -> ImportResult<Vec<key_value::Value>> {
        self.refuse_in_describe("key-value.read")?;
        let answer = match ReadRequest::of(queries, KeysOf(&self.identity.name)) {
            Ok(request) => self.read_granted(request).await,
            Err(error) => Err(error),
        };
        Ok(answer.map_err(Into::into))
    }

    async fn commit(&mut self, transactions: Vec<key_value::Transaction>) -> ImportResult<Vec<key_value::Outcome>> {
        self.refuse_in_describe("key-value.commit")?;
        let keys = KeysOf(&self.identity.name);
        let mut transactions: Vec<Transaction> =
            transactions.into_iter().map(|transaction| keys.transaction(transaction)).collect();
        share_events(&mut transactions);
        let answer = self.commit_granted(transactions).await;
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
        let wait = self.identity.world.store.wait(span);
        match &self.place {
            // Functions wait for what other calls do.
            Some(place) => place.pause(wait).await,
            None => wait.await,
        }
        Ok(())
    }
}
