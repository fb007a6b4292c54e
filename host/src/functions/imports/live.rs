//! `key-value`, `pub-sub` and `clock`: the live state and its time.

use std::time::Duration;

use roost_core::limits::CALL_ITEMS_MAX;
use roost_core::port::{
    KeyValue, PubSub, Publication, Query, StoreError, Transaction, validate_commit, validate_event, validate_read,
};

use super::super::bindings::{clock, key_value, pub_sub};
use super::super::convert::{Reading, list};
use super::super::state::State;

/// The longest wait a guest gets at once.
const WAIT_MS_MAX: u32 = 1_000;

type Answer<T> = wasmtime::Result<Result<T, key_value::Error>>;

impl State {
    fn may_read(&self, queries: &[Query]) -> Result<(), StoreError> {
        let grants = &self.identity.grants;
        grants.check_read(queries).map_err(StoreError::Denied)?;
        validate_read(queries)
    }

    async fn read_allowed(&self, reading: Reading) -> Result<Vec<key_value::Value>, StoreError> {
        let (queries, parts) = reading.split();
        self.may_read(&queries)?;
        Ok(Reading::answer(parts, self.identity.world.store.read(queries).await?))
    }

    fn may_commit(&self, transactions: &[Transaction]) -> Result<(), StoreError> {
        let grants = &self.identity.grants;
        grants.check_commit(transactions).map_err(StoreError::Denied)?;
        validate_commit(transactions)
    }

    fn may_publish(&self, publications: &[Publication]) -> Result<(), StoreError> {
        let grants = &self.identity.grants;
        grants.check_publish().map_err(StoreError::Denied)?;
        if publications.len() > CALL_ITEMS_MAX {
            return Err(StoreError::TooLarge(format!(
                "{} publications a call, allowed are {CALL_ITEMS_MAX}",
                publications.len()
            )));
        }
        publications.iter().try_for_each(|publication| validate_event(&publication.event).map(|_| ()))
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
        let transactions = list(transactions);
        let answer = match self.may_commit(&transactions) {
            Ok(()) => self.identity.world.store.commit(transactions).await,
            Err(error) => Err(error),
        };
        Ok(answer.map(list).map_err(Into::into))
    }
}

impl pub_sub::Host for State {
    async fn publish(&mut self, publications: Vec<pub_sub::Publication>) -> Answer<()> {
        self.serving("pub-sub.publish")?;
        let publications = list(publications);
        let answer = match self.may_publish(&publications) {
            Ok(()) => self.identity.world.store.publish(publications).await,
            Err(error) => Err(error),
        };
        Ok(answer.map_err(Into::into))
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
