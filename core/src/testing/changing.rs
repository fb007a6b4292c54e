//! Records that something else changes while a use case is in the middle of its work, and that may lose one answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{FakeRecords, FakeStore, FakeWorld, TestWorld};
use crate::port::{Answer, Operation, Records, RecordsError};

type Change = Box<dyn FnOnce(&FakeRecords) + Send>;

/// Fake records that are changed once: right after they have carried out one operation.
pub(crate) struct ChangingRecords {
    records: FakeRecords,
    operation: Operation,
    /// Whether they are changed now. Asked after each of these operations until then.
    is_due: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether the answer to the operation is lost.
    loses_answer: bool,
    change: Mutex<Option<Change>>,
}

impl ChangingRecords {
    /// Returns whether the answer is lost.
    fn answered(&self, operation: Operation) -> bool {
        if operation != self.operation || !(self.is_due)() {
            return false;
        }
        let change = self.change.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(change) = change else { return false };
        change(&self.records);
        self.loses_answer
    }
}

impl FakeWorld {
    /// The same world, with records that are changed right after so many answers to this operation.
    pub(crate) fn changed_after(
        &self,
        (operation, answers): (Operation, usize),
        change: impl FnOnce(&FakeRecords) + Send + 'static,
    ) -> TestWorld<FakeStore, ChangingRecords> {
        let left = AtomicUsize::new(answers);
        self.with_records(ChangingRecords {
            records: (*self.records).clone(),
            operation,
            is_due: Box::new(move || left.fetch_sub(1, Ordering::SeqCst) == 1),
            loses_answer: false,
            change: Mutex::new(Some(Box::new(change))),
        })
    }

    /// The same world, with records that are changed by the first of these operations after an event with this name was
    /// published, and that lose the answer to it.
    pub(crate) fn lost_after(
        &self,
        (event, operation): (&'static str, Operation),
        change: impl FnOnce(&FakeRecords) + Send + 'static,
    ) -> TestWorld<FakeStore, ChangingRecords> {
        let store = Arc::clone(&self.store);
        self.with_records(ChangingRecords {
            records: (*self.records).clone(),
            operation,
            is_due: Box::new(move || store.published().iter().any(|(_, published)| &*published.name == event)),
            loses_answer: true,
            change: Mutex::new(Some(Box::new(change))),
        })
    }
}

macro_rules! delegate {
    ($($(#[$doc:meta])* $operation:ident $name:literal
        $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Records for ChangingRecords {
            $(async fn $method(&self, $($argument: $type),*) -> Answer<$answer> {
                let answer = self.records.$method($($argument),*).await;
                let is_lost = self.answered(Operation::$operation);
                if is_lost { Err(RecordsError::Unavailable { retry_after_ms: 1 }) } else { answer }
            })*
        }
    };
}

crate::records_operations!(delegate);
