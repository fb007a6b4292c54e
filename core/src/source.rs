//! Who answered a question: the store, or the records while the store is away.
//!
//! A use case asks the store first and gives up at the first failed attempt; what the records can answer as well, they
//! answer then. Only reads come here: what changes the store waits for it.

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::port::Telemetry;

/// Who answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The live state, filled from the records where something was missing.
    #[default]
    #[serde(skip_serializing)]
    Store,
    /// The system of record, because the store could not be asked.
    Records,
}

impl Source {
    /// On the wire only the exception is named.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
    const fn is_store(&self) -> bool {
        matches!(self, Self::Store)
    }
}

/// An answer and who gave it. Serialises as the answer, an object, with `"source":"records"` if it was not the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Sourced<T> {
    /// The answer.
    #[serde(flatten)]
    pub value: T,
    /// `records` if the store could not be asked and the system of record answered. Absent otherwise.
    #[serde(skip_serializing_if = "Source::is_store")]
    pub source: Source,
}

impl<T> Sourced<T> {
    /// The answer in another form, by the same source.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: form(self.value), source: self.source }
    }
}

/// The store's answer or, if it is away, that of the records, which is counted as `degraded` under `what`.
pub(crate) async fn or_records<W: Telemetry, T: Send>(
    world: &W,
    what: &'static str,
    answer: Result<T, Error>,
    records: impl Future<Output = Result<T, Error>> + Send,
) -> Result<Sourced<T>, Error> {
    match answer {
        Err(error) if error.store_is_away() => {
            let value = records.await?;
            world.count("degraded", &[("what", what)], 1);
            Ok(Sourced { value, source: Source::Records })
        }
        answer => answer.map(|value| Sourced { value, source: Source::Store }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exception_is_named_on_the_wire() {
        #[derive(Serialize)]
        struct Answer {
            unread: u64,
        }
        let told = |source| serde_json::to_string(&Sourced { value: Answer { unread: 2 }, source }).unwrap();
        assert_eq!(told(Source::Store), r#"{"unread":2}"#);
        assert_eq!(told(Source::Records), r#"{"unread":2,"source":"records"}"#);
    }
}
